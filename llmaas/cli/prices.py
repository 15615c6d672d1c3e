"""``llmaas prices``: the price book against what was recorded of it."""

from datetime import UTC, datetime

import typer
from llmaas_gateway import chain
from llmaas_gateway.price_file import load_price_book
from llmaas_gateway.price_record import differences, record_prices
from llmaas_gateway.prices import PriceBook, PriceError
from rich.console import Console

from llmaas.cli.price import PRICES

RECORD = PRICES.with_name("prices.recorded.jsonl")

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__)
_errors = Console(stderr=True)


def _book() -> PriceBook:
    try:
        return load_price_book(PRICES)
    except PriceError as error:
        _errors.print(f"[red]{error}[/red]")
        raise typer.Exit(2) from None


@app.command()
def check() -> None:
    """Compare the book with its record: a recorded entry that was edited or removed is an error."""
    book = _book()
    try:
        problems = differences(book, chain.read(RECORD), datetime.now(UTC))
    except chain.ChainError as error:
        problems = [str(error)]
    for problem in problems:
        _errors.print(f"[red]{problem}[/red]")
    if problems:
        raise typer.Exit(1)
    print(f"{len(book.prices)} prices, all as recorded in {RECORD.name}")


@app.command()
def record() -> None:
    """Record what is new, edited or withdrawn; from the moment it is in force an entry cannot be edited any more."""
    try:
        new = record_prices(_book(), RECORD, datetime.now(UTC))
    except (chain.ChainError, PriceError) as error:
        _errors.print(f"[red]{error}[/red]", soft_wrap=True)
        raise typer.Exit(1) from None
    for line in new:
        print(f"recorded {line}")
    print(f"{len(new)} new. Commit {RECORD.name} with the book.")
