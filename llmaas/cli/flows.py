"""``llmaas flows``: every connection that hosts and pods may open, how it is encrypted, and why."""

import json
import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from llmaas.cli.options import Environment
from llmaas.settings import SettingsError, load_platform
from llmaas.views import flow_document as document
from llmaas.views import zones

app = typer.Typer(add_completion=False, help=__doc__)


@app.callback(invoke_without_command=True)
def flows(
    *,
    environment: Environment = "lab",
    source: Annotated[str | None, typer.Option("--from", help="Only what this zone opens.")] = None,
    destination: Annotated[str | None, typer.Option("--to", help="Only what is opened to this zone.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for other programs.")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print a Markdown document.")] = False,
) -> None:
    """Print the flow matrix; exit code 1 for a stack file with mistakes, 2 for a zone that does not exist."""
    if as_json and as_markdown:
        raise typer.BadParameter("choose one of --json and --markdown", param_hint="--json")
    for option, name in (("--from", source), ("--to", destination)):
        _require_zone(option, name)
    try:
        platform = load_platform(environment)
    except SettingsError as error:
        print(error, file=sys.stderr)
        raise typer.Exit(1) from None
    selected = document.select_flows(platform, source, destination)
    beyond = document.select_beyond(source, destination)
    if as_json:
        print(json.dumps(document.as_data(platform, selected, beyond), indent=2))
        return
    if as_markdown:
        print(document.markdown(platform, selected, beyond), end="")
        return
    # in a file or a pipe nothing may be cut off
    console = Console(width=None if sys.stdout.isatty() else 220, highlight=False)
    console.print(f"{platform.environment}: {len(selected)} flows; everything else is dropped")
    _print(console, document.FLOW_COLUMNS, document.flow_rows(selected))
    if beyond:
        console.print(f"\n{document.BEYOND_TEXT}")
        _print(console, document.BEYOND_COLUMNS, document.beyond_rows(beyond))


def _require_zone(option: str, name: str | None) -> None:
    try:
        if name is not None:
            zones.zone(name)
    except ValueError as error:
        print(f"llmaas flows: {option}: {error}", file=sys.stderr)
        raise typer.Exit(2) from None


def _print(console: Console, columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    table = Table(*columns, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(escape(cell) for cell in row))
    console.print(table)
