"""``llmaas invoice``: what a tenant has to pay for a month, each line with its price entry."""

from collections.abc import Mapping
from typing import Annotated, Any, Final

import typer
from llmaas_gateway.money import format_euros

from llmaas.cli.administration import AsCsv, AsJson, Reached, administration, print_csv, print_json, print_table

app = typer.Typer(add_completion=False)

_COLUMNS: Final = ("model", "unit", "count", "€", "per", "price entry", "valid from", "factor", "amount €")


@app.command(help=__doc__)
def invoice(  # noqa: PLR0913 - each option of the command is an argument
    *,
    tenant: Annotated[str, typer.Option(help="name or identifier")],
    month: Annotated[str, typer.Option(help="such as 2026-11")],
    draft: Annotated[bool, typer.Option("--draft", help="as it would be now, for a month that is not closed")] = False,
    replay: Annotated[bool, typer.Option("--replay", help="charge every record anew; code 1 if that differs")] = False,
    environment: Reached = None,
    as_csv: AsCsv = False,
    as_json: AsJson = False,
) -> None:
    """Issue the invoice of a closed month, or show it again; it never changes after that."""
    if draft and replay:
        raise typer.BadParameter(
            "only a closed month is replayed, and a draft is of one that is not", param_hint="--draft"
        )
    with administration(environment) as client:
        gateway = client.with_gateway()
        if replay:
            _print_replay(gateway.replay_invoice(tenant, month), as_json=as_json)
            return
        answer = gateway.invoice(tenant, month) if draft else gateway.issue_invoice(tenant, month)
    if as_json:
        print_json(answer)
        return
    rows = [_row(line) for line in answer["lines"]]
    if as_csv:
        print_csv(_COLUMNS, rows)
        return
    state = "draft" if answer["draft"] else f"issued {answer['issued_at']}"
    print(f"{answer['name'] or answer['tenant']}, {answer['month']} ({answer['time_zone']}), {state}")
    print_table(_COLUMNS, rows)
    for text, amount in _foot(answer):
        print(f"{text:<44}{amount:>20} €")


def _row(line: Mapping[str, Any]) -> list[object]:
    names = ("model", "unit", "count", "amount_eur", "per", "price_id", "valid_from", "factor", "eur")
    return [line[name] for name in names]


def _foot(answer: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What leads from the lines to the cents; parts that are zero are left out."""
    exact = {
        "single calls rounded to whole nano-euros": answer["rounding_nano_eur"],
        "beyond what was reserved, not charged": -answer["not_charged_nano_eur"],
    }
    foot = [(text, format_euros(amount)) for text, amount in exact.items() if amount]
    foot.append((f"{answer['calls']} calls, exactly", format_euros(answer["total_nano_eur"])))
    foot.append(("total", answer["total_eur"]))
    if answer["paid_from_credit_nano_eur"]:
        foot.append(("paid from credit", format_euros(answer["paid_from_credit_nano_eur"])))
    foot.append(("due", answer["due_eur"]))
    if answer["vat_percent"] is not None:
        foot.append((f"VAT {answer['vat_percent']} %", answer["vat_eur"]))
    return foot


def _print_replay(answer: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(answer)
    else:
        whole, cents = divmod(answer["cents"], 100)
        print(f"{answer['calls']} calls replayed: {whole}.{cents:02d} €, exactly {format_euros(answer['nano_eur'])} €")
        print(f"SHA-256 of the records: {answer['sha256']}")
        for difference in answer["differences"]:
            typer.echo(difference, err=True)
    raise typer.Exit(1 if answer["differences"] else 0)
