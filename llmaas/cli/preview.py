"""``llmaas preview``: what ``pulumi preview`` would refuse, without a cluster, each question with its verdict."""

import json
import sys
from datetime import UTC, datetime
from typing import Annotated, Final

import typer
from rich.console import Console

from llmaas.cli.options import Environment
from llmaas.clock import now
from llmaas.materials import MaterialError
from llmaas.preview.report import Report, preview
from llmaas.preview.verdicts import Verdict
from llmaas.settings import SettingsError, load_platform

app = typer.Typer(add_completion=False, help=__doc__, pretty_exceptions_enable=False)

# the exit code of a refusal; 1 is a preview that could not run
REFUSED: Final = 2


@app.callback(invoke_without_command=True)
def main(
    *,
    environment: Environment = "lab",
    on: Annotated[
        datetime | None, typer.Option("--on", formats=["%Y-%m-%d"], help="Another day than today, as 2027-03-01.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for other programs.")] = False,
) -> None:
    """Judge an environment before anything moves; exit code 0 holds, 2 refused, 1 could not run."""
    moment = on.replace(hour=12, tzinfo=UTC) if on is not None else now()
    try:
        report = preview(load_platform(environment), moment)
    except (SettingsError, MaterialError) as error:
        print(error, file=sys.stderr)
        raise typer.Exit(1) from None
    if as_json:
        print(json.dumps(report.as_data(), indent=2))
    else:
        _print(report)
    if not report.holds:
        raise typer.Exit(REFUSED)


def _print(report: Report) -> None:
    console = Console(width=None if sys.stdout.isatty() else 200, highlight=False, markup=False, soft_wrap=True)
    for verdict in report.verdicts:
        _print_verdict(console, verdict)
    for note in report.notes:
        console.print(f"note: {note}", style="dim")
    for warning in report.warnings:
        console.print(f"warning: {warning}", style="yellow")
    refused = sum(len(verdict.refusals) for verdict in report.verdicts)
    if report.holds:
        console.print(
            f"{report.environment}: holds; next: pulumi preview -s {report.environment} --policy-pack policies",
            style="bold green",
        )
    else:
        reasons = "reason" if refused == 1 else "reasons"
        console.print(f"{report.environment}: refused for {refused} {reasons}", style="bold red")


def _print_verdict(console: Console, verdict: Verdict) -> None:
    word, colour = ("holds", "green") if verdict.holds else ("refused", "red")
    console.print(f"{verdict.subject:<9} {word:<8} {verdict.summary}", style=colour)
    for refusal in verdict.refusals:
        console.print(f"  {refusal}")
