"""``llmaas price``: what a text costs, before it is sent."""

from datetime import UTC, datetime
from typing import Annotated

import typer
from llmaas_gateway.charging import Usage, charge, estimate_tokens
from llmaas_gateway.money import format_euros
from llmaas_gateway.prices import PriceError, Unit, load_price_book
from rich.console import Console
from rich.table import Table

from llmaas.paths import PROJECT_ROOT

PRICES = PROJECT_ROOT / "stacks" / "prices.yaml"

app = typer.Typer(add_completion=False)


@app.command()
def price(
    text: Annotated[str, typer.Argument(help="The prompt.")],
    model: Annotated[str, typer.Option(help="Name of the model.")],
    output_tokens: Annotated[int, typer.Option(min=0, help="Tokens that the answer may have.")] = 0,
    at: Annotated[str | None, typer.Option(help="Moment of the call, with offset; now if not given.")] = None,
) -> None:
    """Estimate the cost of a call: a quarter of the prompt's characters as input, and the output that you name."""
    moment = datetime.fromisoformat(at) if at else datetime.now(UTC)
    if moment.tzinfo is None:
        raise typer.BadParameter(f"{at!r} has no offset; write e.g. 2026-08-01T00:00:00+02:00", param_hint="--at")
    usage = Usage({Unit.INPUT: estimate_tokens(text), Unit.OUTPUT: output_tokens})
    try:
        result = charge(load_price_book(PRICES), model, usage, moment)
    except PriceError as error:
        Console(stderr=True).print(f"[red]{error}[/red]")
        raise typer.Exit(2) from None
    table = Table(title=f"Estimate for {model}")
    for name in ("unit", "count", "euros per unit", "price entry"):
        table.add_column(name, justify="right" if name in {"count", "euros per unit"} else "left")
    for line in result.lines:
        table.add_row(line.unit, str(line.count), format_euros(line.nano_eur_per_unit), line.price_id)
    console = Console()
    console.print(table)
    console.print(f"{format_euros(result.nano_eur)} EUR")
