"""``llmaas catalogue``: the models that tenants see, on any day, and the promises made about them."""

import json
import sys
from dataclasses import asdict
from datetime import date, datetime
from typing import Annotated, Final, Literal

import typer
from rich.console import Console
from rich.table import Table

from llmaas.cli.options import Environment, refuse_before_subcommand
from llmaas.clock import now
from llmaas.planning.lifecycle import Entry, Promise, api_view, catalogue_on, latest, promises_of
from llmaas.planning.promises import broken_promises, notice_problems, refusals, statement_problems, unrecorded
from llmaas.settings import Platform, SettingsError, load_platform
from llmaas.settings.recorded import append_records, manifest_digests, promises_file, read_records
from llmaas.views.lifecycle import lifecycle_file

app = typer.Typer(add_completion=False, help=__doc__)

# the exit code of a broken promise; 1 is a mistake in the input
REFUSED: Final = 2
_COLUMNS: Final = ("model", "phase", "context", "licence", "LTS", "since", "pinned until", "end of support", "move to")

On = Annotated[
    datetime | None, typer.Option("--on", formats=["%Y-%m-%d"], help="Another day than today, as 2027-03-01.")
]
Form = Annotated[Literal["text", "json", "markdown"], typer.Option("--format", help="text, json or markdown.")]


def _day(on: datetime | None) -> date:
    return on.date() if on is not None else now().date()


def _load(environment: str) -> Platform:
    try:
        return load_platform(environment)
    except SettingsError as error:
        print(error, file=sys.stderr)
        raise typer.Exit(1) from None


def _promises(environment: str) -> list[Promise]:
    try:
        return promises_of(read_records(environment))
    except SettingsError as error:
        print(error, file=sys.stderr)
        raise typer.Exit(REFUSED) from None


@app.callback(invoke_without_command=True)
def show(context: typer.Context, environment: Environment = "lab", on: On = None, form: Form = "text") -> None:
    """Show the catalogue as tenants see it."""
    refuse_before_subcommand(context)
    if context.invoked_subcommand is not None:
        return
    entries = catalogue_on(_load(environment), _day(on))
    if form == "json":
        print(json.dumps([asdict(entry) for entry in entries], indent=2, default=str))
    elif form == "markdown":
        print("| " + " | ".join(_COLUMNS) + " |\n|" + " --- |" * len(_COLUMNS))
        for entry in entries:
            print("| " + " | ".join(_cells(entry)) + " |")
    else:
        table = Table(*_COLUMNS, box=None, pad_edge=False)
        for entry in entries:
            table.add_row(*_cells(entry))
        Console(width=None if sys.stdout.isatty() else 200, highlight=False).print(table)


def _cells(entry: Entry) -> list[str]:
    end = "-" if entry.end_of_support is None else str(entry.end_of_support)
    if entry.days_left is not None:
        end += f" ({entry.days_left} days)"
    return [
        entry.name,
        entry.phase,
        f"{entry.context_tokens:,}",
        entry.licence,
        "yes" if entry.long_term_support else "no",
        str(entry.production_date or "-"),
        str(entry.pinned_until or "-"),
        end,
        entry.replacement or "-",
    ]


@app.command()
def api(
    *,
    environment: Environment = "lab",
    on: On = None,
    every_day: Annotated[
        bool, typer.Option("--every-day", help="All periods, as the gateway's file has them, instead of one day.")
    ] = False,
) -> None:
    """Print what the gateway adds to /v1/models and the headers of models that end, as JSON."""
    platform = _load(environment)
    if every_day:
        print(lifecycle_file(platform), end="")
    else:
        print(json.dumps(api_view(platform, _day(on)), indent=2))


@app.command()
def check(environment: Environment = "lab", on: On = None) -> None:
    """Compare the catalogue with the promises that were recorded; exit code 2 when one is broken."""
    platform = _load(environment)
    promises = _promises(environment)
    problems = refusals(platform, promises, manifest_digests(platform), _day(on))
    if problems:
        print(SettingsError(f"stacks/Pulumi.{environment}.yaml", problems), file=sys.stderr)
        raise typer.Exit(REFUSED)
    print(f"{environment}: {len(promises)} promises, all kept")


@app.command()
def announce(
    model: Annotated[str, typer.Argument(help="The model, as in llmaas:models.")], environment: Environment = "lab"
) -> None:
    """Record what the stack file promises of a model: that it is stable, or when it ends."""
    platform = _load(environment)
    found = next((known for known in platform.models if known.name == model), None)
    if found is None:
        known = ", ".join(sorted(known.name for known in platform.models))
        print(f"{model} is no entry of llmaas:models; known are: {known}", file=sys.stderr)
        raise typer.Exit(1)
    recorded, digests, moment = _promises(environment), manifest_digests(platform), now()
    new = [promise for promise in unrecorded(platform, recorded, digests) if promise.model == model]
    path = f"llmaas:models[{platform.models.index(found)}]"
    today = moment.date()
    wrong = [*statement_problems(platform, today), *broken_promises(platform, recorded, digests, today)]
    known_end = latest(recorded, "end", model)
    for promise in new:
        # a later end than the recorded one needs no new notice
        if known_end is None:
            wrong.extend(notice_problems(path, promise, today))
    wrong = [problem for problem in wrong if problem.path == path or problem.path.startswith(f"{path}.")]
    if wrong:
        print(SettingsError(f"stacks/Pulumi.{environment}.yaml", wrong), file=sys.stderr)
        raise typer.Exit(REFUSED)
    append_records(environment, [{"kind": p.kind, "model": model, "terms": dict(p.terms)} for p in new], moment)
    for promise in new:
        print(f"recorded: {promise.kind} of {model}: {json.dumps(promise.terms)}")
    print(f"{len(new)} new in {promises_file(environment).name}; commit it with the stack file")
