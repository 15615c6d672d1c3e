"""What the commands of tenants, keys, usage and invoices share: options, errors, and how records are printed."""

import csv
import dataclasses
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Final

import typer
from llmaas_gateway.money import MoneyError, nano_eur
from rich.console import Console
from rich.table import Table

from llmaas.admin import AdminClient, AdminError, connect

# No variable here: that of the environment must not win over an address that somebody gave.
Reached = Annotated[
    str | None,
    typer.Option(
        "--environment",
        "-e",
        help="such as lab; without it LLMAAS_ADMIN_URL and _KEY count, without those LLMAAS_ENVIRONMENT",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON for other programs")]
Models = Annotated[list[str] | None, typer.Option("--model", help="a granted model, may be repeated; all if none")]
Budget = Annotated[str | None, typer.Option("--budget-eur", help="the most it may spend in euros, such as 12.50")]
BudgetPeriod = Annotated[
    str | None,
    typer.Option(
        help="when the budget begins anew: minute, hour, day or month; such as 30d where LiteLLM has no gateway",
        metavar="PERIOD",
    ),
]
AsCsv = Annotated[bool, typer.Option("--csv", help="print CSV for spreadsheets")]
RequestsPerMinute = Annotated[int | None, typer.Option(min=1, help="the most requests in a minute")]

_PIPED_WIDTH: Final = 400


@contextmanager
def administration(environment: str | None) -> Iterator[AdminClient]:
    """A connected client; errors are printed in plain words and end with code 1."""
    try:
        with connect(environment) as client:
            yield client
    except AdminError as error:
        Console(stderr=True).print(f"llmaas: {error}", style="red", highlight=False, markup=False, soft_wrap=True)
        raise typer.Exit(1) from error


def check_amount(text: str | None, option: str) -> None:
    """Refuse what is no exact amount of euros before anything is asked."""
    if text is None:
        return
    try:
        nano_eur(text)
    except MoneyError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None


def check_budget_period(text: str | None, option: str, budget_eur: str | None) -> None:
    """Refuse what is neither a window of the calendar nor a duration, and a period of no budget."""
    if text not in {"minute", "hour", "day", "month"}:
        check_period(text, option)
    if text is not None and budget_eur is None:
        raise typer.BadParameter(f"{text} is the period of which budget? give its amount", param_hint=option)


def check_period(text: str | None, option: str) -> None:
    """Refuse what is no duration before anything is asked."""
    if text is None:
        return
    number, unit = text[:-1], text[-1:]
    if unit not in {"s", "m", "h", "d"} or not number.isdecimal() or int(number) == 0:
        raise typer.BadParameter(f"{text!r} is none of 30s, 30m, 30h, 30d", param_hint=option)


def print_json(value: Any) -> None:
    """For other programs."""
    print(json.dumps(value, default=_plain, ensure_ascii=False))


def plain(record: Any) -> dict[str, Any]:
    """A record as a mapping."""
    return dataclasses.asdict(record)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """For people; a missing value is a dash. Nothing is cut off: what is too long goes on in the next line."""
    table = Table()
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*("-" if value in {None, ()} else _text(value) for value in row))
    # a file or a pipe has no width, and who searches it wants each row in one line
    Console(width=None if sys.stdout.isatty() else _PIPED_WIDTH).print(table)


def print_csv(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """For spreadsheets: the same columns, points as decimal marks."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)


def _text(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return value.strftime("%Y-%m-%d %H:%M") if isinstance(value, datetime) else str(value)


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Decimal):
        return f"{value:f}"
    raise TypeError(type(value).__name__)
