"""``llmaas verify``: is the environment what its stack file says?"""

from dataclasses import replace
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.table import Table

from llmaas.cli.options import Environment
from llmaas.settings import SettingsError, load_platform
from llmaas.verify import NOT_REACHED, Check, Verdict, run_checks
from llmaas.verify.runner import FOLDERS

# The folder and the name of its checks; they are part of the whole run too.
CANARY: Final = (("api",), "canary")

app = typer.Typer(help=__doc__, pretty_exceptions_enable=False)
console = Console(stderr=True)


@app.callback(invoke_without_command=True)
def verify(
    *,
    environment: Environment,
    folder: Annotated[list[str] | None, typer.Option(help="host or api; both if none is named")] = None,
    only: Annotated[str | None, typer.Option(help="checks whose names match, as pytest -k does")] = None,
    canary: Annotated[
        bool, typer.Option("--canary", help="send a marker through every kind of call, then search all stores for it")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON for other programs")] = False,
) -> None:
    """Try hosts, cluster and API of a live environment; exit code 0 only if every check that can run there passed."""
    if canary and (folder or only):
        raise typer.BadParameter("is a selection of its own; leave --folder and --only away", param_hint="--canary")
    unknown = sorted(set(folder or ()) - set(FOLDERS))
    if unknown:
        raise typer.BadParameter(f"{', '.join(unknown)}: choose of {', '.join(FOLDERS)}", param_hint="--folder")
    try:
        load_platform(environment)
    except (SettingsError, OSError) as error:
        console.print(f"llmaas: {error}", style="red", highlight=False, markup=False)
        raise typer.Exit(2) from error
    verdict = run_checks(environment, _show, *(CANARY if canary else (folder or FOLDERS, only)))
    if as_json:
        print(verdict.as_json())
    else:
        _print(verdict)
    raise typer.Exit(0 if verdict.holds else 1)


def _show(check: Check) -> None:
    if check.outcome == "passed" or check.cannot_run:
        return
    line = f"{check.outcome}: {check.area}: {check.invariant} [{check.subject}]"
    console.print(line, style="red", highlight=False, markup=False, soft_wrap=True)


def _print(verdict: Verdict) -> None:
    asked = replace(verdict, checks=tuple(check for check in verdict.checks if not check.left_out))
    table = Table("area", "passed", "failed", "not run", "seconds", title=f"environment {verdict.environment}")
    for area in dict.fromkeys(check.area for check in asked.checks):
        found = Verdict(verdict.environment, tuple(check for check in asked.checks if check.area == area))
        counts = [str(found.count(outcome)) for outcome in ("passed", "failed", "not run")]
        seconds = f"{sum(check.seconds for check in found.checks):.1f}"
        fine = found.holds or all(check.cannot_run for check in found.checks)
        table.add_row(area, *counts, seconds, style=None if fine else "red")
    output = Console()
    output.print(table)
    for check in asked.checks:
        if check.outcome != "passed" and check.begun and not check.cannot_run:
            head = f"{check.outcome}: {check.area}: {check.invariant} [{check.subject}]"
            output.print(head, style="red", highlight=False, markup=False, soft_wrap=True)
            output.print(f"    {check.reason}", highlight=False, markup=False, soft_wrap=True)
    _print_what_cannot_run(output, verdict)
    if verdict.problem:
        output.print(verdict.problem, style="red", highlight=False, markup=False, soft_wrap=True)
    missed = sum(not check.begun for check in asked.checks)
    if missed:
        output.print(f"not run: {missed} checks: {NOT_REACHED}", style="red", highlight=False)
    left_out = len(verdict.checks) - len(asked.checks)
    for name, text in verdict.figures.items():
        output.print(f"{name}: {text}", highlight=False, markup=False, soft_wrap=True)
    says = "for what was asked, it is" if left_out else "it is"
    words = f"holds: {says} what its stack file says" if verdict.holds else "DOES NOT HOLD"
    counts = [f"{asked.count(outcome)} {outcome}" for outcome in ("passed", "failed", "not run")]
    counts += [f"{left_out} left out"] if left_out else []
    output.print(f"verdict: {words} ({', '.join(counts)})", style="bold", highlight=False, soft_wrap=True)


def _print_what_cannot_run(output: Console, verdict: Verdict) -> None:
    """Checks that the stack file rules out, those of one kind together."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for check in verdict.checks:
        if check.cannot_run:
            found.setdefault((check.area, check.invariant, check.reason), []).append(check.subject)
    for (area, invariant, reason), subjects in found.items():
        where = f" on {len(subjects)} hosts" if len(subjects) > 1 else f" [{subjects[0]}]" if subjects[0] else ""
        head = f"not run: {area}: {invariant}{where}: {reason.removeprefix('Skipped: ')}"
        output.print(head, style="yellow", highlight=False, markup=False, soft_wrap=True)
