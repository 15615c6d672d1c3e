"""``llmaas doctor``: can this machine carry the lab? Looks only, changes nothing."""

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console

from lab.doctor import Level, diagnose
from lab.errors import LabError
from lab.layout import layout
from lab.spec import lab_spec

app = typer.Typer(help=__doc__, pretty_exceptions_enable=False)
_COLOURS = {Level.OK: "green", Level.NOTE: "yellow", Level.FAIL: "red"}


@app.command()
def doctor(*, as_json: Annotated[bool, typer.Option("--json", help="for programs")] = False) -> None:
    """Print every finding with what to do; exit code 1 if one of them prevents the lab."""
    try:
        spec = lab_spec()
    except LabError:
        # told among the findings
        spec = None
    findings = diagnose(layout(), spec)
    if as_json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        console = Console()
        for finding in findings:
            colour = _COLOURS[finding.level]
            line = f"[{colour}]{finding.level.value:<5}[/] {finding.subject:<26} {finding.text}"
            console.print(line, highlight=False, soft_wrap=True)
            if finding.level is Level.FAIL:
                console.print(f"      {finding.remedy}", highlight=False, soft_wrap=True)
    if any(finding.level is Level.FAIL for finding in findings):
        raise typer.Exit(1)
