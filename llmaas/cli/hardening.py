"""``llmaas hardening``: how hard hosts and key servers are in OpenSCAP's eyes, and which exceptions hold until when."""

import json
import tempfile
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from llmaas.cli.options import Environment
from llmaas.hardening import ContentError, JudgeError, Score, judge_host
from llmaas.hardening.judge import SshRemote
from llmaas.hardening.record import record_score
from llmaas.settings import Platform, SettingsError, load_platform
from llmaas.settings.hardening import HardeningWaivers, ending_waivers, load_waivers, waiver_problems
from llmaas.verify.connection import write_ssh_configuration

app = typer.Typer(help=__doc__, pretty_exceptions_enable=False)
console = Console(stderr=True)


def today() -> date:
    """The day; tests set their own."""
    return datetime.now(UTC).date()


@app.command()
def score(
    *,
    environment: Environment,
    host: Annotated[list[str] | None, typer.Option(help="only this host or key server; all if none is named")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON for other programs")] = False,
) -> None:
    """Let OpenSCAP judge hosts, one after the other; exit code 1 if a rule is broken that no exception excuses.

    Each judgement goes on record for the evidence.
    """
    platform, waivers = _load(environment)
    known = {each.name: each for each in platform.machines}
    unknown = sorted(set(host or ()) - set(known))
    if unknown:
        raise typer.BadParameter(f"{', '.join(unknown)}: choose of {', '.join(known)}", param_hint="--host")
    scores = []
    with tempfile.TemporaryDirectory() as folder:
        configuration = write_ssh_configuration(platform, Path(folder))
        for name in host or known:
            console.print(f"{name}: OpenSCAP judges", style="dim", highlight=False)
            try:
                found = judge_host(name, SshRemote(name, configuration), waivers.of(environment, known[name]))
            except (JudgeError, ContentError) as error:
                console.print(f"llmaas: {error}", style="red", highlight=False, markup=False)
                raise typer.Exit(2) from error
            record_score(environment, found, datetime.now(UTC))
            scores.append(found)
    if as_json:
        print(json.dumps([each.as_data() for each in scores], indent=2))
    else:
        for each in scores:
            _print(each)
    raise typer.Exit(1 if any(each.failed for each in scores) else 0)


@app.command("waivers")
def list_waivers(*, environment: Environment) -> None:
    """List what is excused, why and until when; exit code 1 if an exception has ended or is wrong."""
    platform, waivers = _load(environment)
    table = Table("control", "deviations", "hosts", "until", "reason", title=f"exceptions in {environment}")
    for entry in waivers.entries:
        covered = [machine.name for machine in platform.machines if entry.covers(environment, machine)]
        if covered:
            where = _in_words(platform, covered)
            table.add_row(entry.control, "\n".join(entry.deviations), where, str(entry.expires), entry.reason)
    Console().print(table)
    for warning in ending_waivers(waivers, today()):
        console.print(str(warning), style="yellow", highlight=False, markup=False, soft_wrap=True)
    problems = waiver_problems(waivers, platform, today())
    for problem in problems:
        console.print(str(problem), style="red", highlight=False, markup=False, soft_wrap=True)
    raise typer.Exit(1 if problems else 0)


def _load(environment: str) -> tuple[Platform, HardeningWaivers]:
    try:
        return load_platform(environment), load_waivers()
    except (SettingsError, OSError) as error:
        console.print(f"llmaas: {error}", style="red", highlight=False, markup=False)
        raise typer.Exit(2) from error


def _in_words(platform: Platform, covered: list[str]) -> str:
    if len(covered) == len(platform.machines):
        return "all"
    return "all hosts" if covered == [host.name for host in platform.hosts] else ", ".join(covered)


def _print(found: Score) -> None:
    output = Console()
    table = Table("profile", "hold", "judged", "percent", title=f"{found.host}: {found.benchmark} ({found.judge})")
    for profile, part in found.as_data()["profiles"].items():
        table.add_row(profile, str(part["passed"]), str(part["judged"]), f"{part['percent']:.1f}")
    output.print(table)
    for rule in found.failed:
        output.print(f"broken: {rule.rule}: {rule.title}", style="red", highlight=False, markup=False, soft_wrap=True)
    for rule in found.waived:
        output.print(f"waived: {rule.rule}: {rule.waiver}", highlight=False, markup=False, soft_wrap=True)
    output.print(", ".join(f"{count} {outcome}" for outcome, count in found.counts().items()), style="dim")
