"""``llmaas plan``: does the catalogue fit the hosts, where does each replica go, what does each host's loss leave."""

import json
import struct
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from llmaas.cli.options import Environment
from llmaas.files import write_atomically
from llmaas.paths import stack_file
from llmaas.planning.drawing import picture
from llmaas.planning.plan import Line, Plan, make_plan
from llmaas.planning.shape import ShapeError, architecture_of
from llmaas.settings import Platform, SettingsError, load_platform
from llmaas.settings.editing import with_placements
from llmaas.settings.recorded import write_placement

app = typer.Typer(add_completion=False, help=__doc__)

# the exit code of a catalogue that does not fit; 1 is a mistake in the input
DOES_NOT_FIT = 2
_WRITE_HELP = "Record the placement: in the stack file, or beside it for models that it leaves open."


@app.callback(invoke_without_command=True)
def plan(
    context: typer.Context,
    *,
    environment: Environment = "lab",
    as_json: Annotated[bool, typer.Option("--json", help="Print the plan as JSON.")] = False,
    svg: Annotated[Path | None, typer.Option("--svg", help="Draw the fleet into this file.")] = None,
    write: Annotated[bool, typer.Option("--write", help=_WRITE_HELP)] = False,
) -> None:
    """Plan the environment; exit code 2 when the catalogue does not fit the hosts."""
    if context.invoked_subcommand is not None:
        return
    try:
        platform = load_platform(environment)
    except SettingsError as error:
        print(error, file=sys.stderr)
        raise typer.Exit(1) from None
    made = make_plan(platform)
    if as_json:
        print(json.dumps(as_data(made), indent=2))
    else:
        _print(made)
    if not made.fits:
        if svg is not None or write:
            print("nothing is drawn or written: there is no placement", file=sys.stderr)
        raise typer.Exit(DOES_NOT_FIT)
    if svg is not None:
        try:
            svg.write_text(picture(made), encoding="utf-8")
        except OSError as error:
            print(
                f"--svg: {svg} cannot be written ({error.strerror}); give a file in a folder that exists",
                file=sys.stderr,
            )
            raise typer.Exit(1) from None
    if write:
        _write(platform, made)


def as_data(made: Plan) -> dict[str, Any]:
    """The plan as plain data, with what is derived."""
    data = asdict(made)
    data["gpus_owned"], data["gpus_used"] = made.gpus_owned, made.gpus_used
    for row, line in zip(data["lines"], made.lines, strict=True):
        row.update(replicas=line.replicas, gpus=line.gpus, headroom_percent=line.headroom_percent)
    return data


def _print(made: Plan) -> None:
    # in a file or a pipe nothing may be cut off
    console = Console(width=None if sys.stdout.isatty() else 200, highlight=False)
    if not made.fits:
        console.print(f"[bold red]{escape(made.environment)}: the catalogue does not fit its hosts[/]")
        for reason in made.reasons:
            console.print(f"  because {escape(reason)}")
        for change in made.changes:
            console.print(f"  it would fit: {escape(change)}")
        return
    console.print(f"{made.environment}: {made.gpus_used} of {made.gpus_in_words} on {len(made.hosts)} hosts")
    table = Table("model", "phase", "replicas", "GPUs", "hosts", box=None, pad_edge=False)
    for title in ("KV tokens", "at once", "full ctx", "req/s asked", "carried", "one lost", "headroom", "TTFT"):
        table.add_column(title, justify="right")
    for line in made.lines:
        table.add_row(*_cells(line))
    console.print(table)
    console.print("\nWith one host lost:")
    for host in dict.fromkeys([*(made.losses or {}), *made.stores]):
        console.print(f"  {host}: {_told(made, host)}")
    console.print()
    for source in sorted({line.source for line in made.lines if line.source}):
        console.print(f"Source: {escape(source)}")
    for note in made.notes:
        console.print(f"Note: {escape(note)}")
    _print_moves(console, made)


def _told(made: Plan, host: str) -> str:
    """What the loss of a host leaves of each model, and the stores that are lost with it."""
    told = [f"{model} {verdict}" for model, verdict in (made.losses or {}).get(host, {}).items()]
    stores = made.stores.get(host, ())
    if stores:
        stop = "stop, their data is" if len(stores) > 1 else "stops, its data is"
        told.append(f"{', '.join(stores[:-1])}{' and ' if len(stores) > 1 else ''}{stores[-1]} {stop} on no other host")
    return "; ".join(told) or "no model runs there"


def _print_moves(console: Console, made: Plan) -> None:
    if not made.moves:
        console.print("The placement in force is this plan.")
        return
    started = sum(move.change for move in made.moves if move.change > 0)
    proof = "fewest possible" if made.fewest_moves_proven else "not proven fewest"
    console.print(f"From the placement in force: {started} replicas to start ({proof}):")
    for move in made.moves:
        console.print(f"  {move.model} on {move.host}: {move.change:+d}")
    console.print(f"Next: llmaas plan -e {made.environment} --write")


def _cells(line: Line) -> list[str]:
    def number(value: float | None, form: str) -> str:
        return "-" if value is None else format(value, form)

    hosts = ", ".join(host if count == 1 else f"{host} x{count}" for host, count in line.hosts.items())
    return [
        line.model,
        line.phase,
        str(line.replicas),
        str(line.gpus),
        hosts,
        f"{line.kv_tokens:,}",
        number(line.requests_at_profile, ",.0f"),
        number(line.requests_at_full_context, ",.1f"),
        number(line.demanded or None, ",.2f"),
        number(line.carried, ",.2f"),
        number(line.carried_after_loss, ",.2f"),
        number(line.headroom_percent, "+.0f") + ("%" if line.headroom_percent is not None else ""),
        number(line.time_to_first_token_seconds, ".2f") + (" s" if line.time_to_first_token_seconds else ""),
    ]


def _write(platform: Platform, made: Plan) -> None:
    path = stack_file(platform.environment)
    left_open = {model.name for model in platform.models if model.placed_by_plan}
    text = path.read_text(encoding="utf-8")
    changed = with_placements(path.name, text, made.placement)
    written = []
    if changed != text:
        write_atomically(path, changed, mode=path.stat().st_mode & 0o777)
        written.append(path)
    if left_open:
        placement = {name: hosts for name, hosts in made.placement.items() if name in left_open}
        written.append(write_placement(platform.environment, placement))
    for each in written:
        print(f"{each}: placement written; next: pulumi preview -s {platform.environment}", file=sys.stderr)


@app.command()
def shape(folder: Annotated[Path, typer.Argument(help="A folder with config.json and *.safetensors.")]) -> None:
    """Print the architecture of a model, for llmaas:artefacts, from its own files."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        found = architecture_of(config, _tensors(folder))
    except (OSError, ValueError, struct.error) as error:
        kind = "" if isinstance(error, ShapeError) else f"cannot read the model in {folder}: "
        print(f"{kind}{error}", file=sys.stderr)
        raise typer.Exit(1) from None
    print(yaml.safe_dump({"architecture": found.model_dump(mode="json")}, sort_keys=False), end="")


def _tensors(folder: Path) -> Iterator[tuple[str, tuple[int, ...]]]:
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > path.stat().st_size:
                raise ShapeError(f"{path.name} is cut off or no safetensors file; fetch it again")
            header = json.loads(file.read(length))
        for name, tensor in header.items():
            if name != "__metadata__":
                yield tensor["dtype"], tuple(tensor["shape"])
