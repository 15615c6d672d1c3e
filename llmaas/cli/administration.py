"""What ``llmaas tenant`` and ``llmaas key`` share: options, errors, and how records are printed."""

import dataclasses
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from llmaas.admin import AdminClient, AdminError, connect

Environment = Annotated[
    str | None, typer.Option("--environment", "-e", help="such as lab; without it LLMAAS_ADMIN_URL and _KEY count")
]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON for other programs")]
Models = Annotated[list[str] | None, typer.Option("--model", help="a granted model, may be repeated; all if none")]
Budget = Annotated[float | None, typer.Option("--budget-eur", min=0.0, help="the most it may spend in euros")]
BudgetPeriod = Annotated[
    str | None, typer.Option(help="when the budget begins anew, such as 30d; never without it", metavar="PERIOD")
]
RequestsPerMinute = Annotated[int | None, typer.Option(min=1, help="the most requests in a minute")]


@contextmanager
def administration(environment: str | None) -> Iterator[AdminClient]:
    """A connected client; errors are printed in plain words and end with code 1."""
    try:
        with connect(environment) as client:
            yield client
    except AdminError as error:
        Console(stderr=True).print(f"llmaas: {error}", style="red", highlight=False, markup=False, soft_wrap=True)
        raise typer.Exit(1) from error


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
    """For people; a missing value is a dash."""
    table = Table(*columns)
    for row in rows:
        table.add_row(*("-" if value in {None, ()} else _text(value) for value in row))
    Console().print(table)


def _text(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return value.strftime("%Y-%m-%d %H:%M") if isinstance(value, datetime) else str(value)


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(type(value).__name__)
