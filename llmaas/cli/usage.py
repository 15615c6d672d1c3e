"""``llmaas usage``: who used what, when and for how much."""

from collections.abc import Sequence
from typing import Annotated, Any, Final

import typer

from llmaas.cli.administration import AsCsv, AsJson, Reached, administration, print_csv, print_json, print_table

app = typer.Typer(add_completion=False)

# Units in the order of a bill; every unit that occurs beyond them follows.
_UNITS: Final = ("input", "cached_input", "system", "output", "reasoning")


@app.command(help=__doc__)
def usage(  # noqa: PLR0913 - each option of the command is an argument
    *,
    tenant: Annotated[str | None, typer.Option(help="name or identifier; all without it")] = None,
    model: Annotated[str | None, typer.Option(help="all without it")] = None,
    start: Annotated[
        str | None, typer.Option("--from", help="first day, or a moment with offset; this month's first without it")
    ] = None,
    end: Annotated[
        str | None, typer.Option("--to", help="last day, included, or a moment with offset; now without it")
    ] = None,
    by: Annotated[str, typer.Option(help="some of tenant,team,key,model,day,month")] = "tenant,model",
    environment: Reached = None,
    as_csv: AsCsv = False,
    as_json: AsJson = False,
) -> None:
    """Sum up calls, tokens and euros."""
    given = {"tenant": tenant, "model": model, "from": start, "to": end, "by": by}
    with administration(environment) as client:
        answer = client.with_gateway().usage({name: value for name, value in given.items() if value is not None})
    if as_json:
        print_json(answer)
        return
    columns, rows = table(answer["groups"], by.split(","))
    (print_csv if as_csv else print_table)(columns, rows)


def table(groups: Sequence[dict[str, Any]], by: Sequence[str]) -> tuple[list[str], list[list[object]]]:
    """Columns and rows: the groups, calls, each unit that occurs, and the exact cost."""
    found = {unit for group in groups for unit in group["units"]}
    units = [unit for unit in _UNITS if unit in found] + sorted(found - set(_UNITS))
    columns = [*by, "calls", *(unit.replace("_", " ") for unit in units), "cost €"]
    rows = [
        [
            *((group.get("name") or group[name]) if name == "tenant" else group[name] for name in by),
            group["calls"],
            *(group["units"].get(unit, 0) for unit in units),
            group["cost_eur"],
        ]
        for group in groups
    ]
    return columns, rows
