"""``llmaas images``: the container images of an environment, built here, pushed to its registry, locked by digest."""

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from lab.errors import LabError
from lab.images.builder import KEY_LABEL
from lab.images.ensure import ensure_images, lock_path, select, write_lock
from lab.images.parts import image_key
from lab.images.registry import Registry
from llmaas.files import write_atomically
from llmaas.paths import state_dir
from llmaas.pki import open_authority
from llmaas.settings import Platform, load_platform

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__, pretty_exceptions_enable=False)

Environment = Annotated[str, typer.Option("-e", "--environment", help="Which stack file.")]
Names = Annotated[list[str] | None, typer.Argument(help="Images by the names of their folders; all if none is named.")]

_MEBIBYTE = 1 << 20


def _registry(platform: Platform) -> Registry:
    """The environment's registry, reached at the site's address and trusted by our own authority."""
    trust = state_dir(platform.environment) / "registry-ca"
    trust.mkdir(mode=0o700, exist_ok=True)
    write_atomically(trust / "ca.crt", open_authority(platform.environment).root.read_bytes())
    port = platform.site.registry.rpartition(":")[2]
    return Registry(address=f"{platform.site.address}:{port}", name=platform.site.registry, certificates=trust)


def _fail(error: LabError) -> typer.Exit:
    console = Console(stderr=True)
    console.print(f"[bold red]failed:[/] {error.what}", highlight=False)
    if error.log:
        console.print(f"log: {error.log}", highlight=False)
    if error.remedy:
        console.print(f"what to do: {error.remedy}", highlight=False)
    return typer.Exit(1)


@app.command()
def build(names: Names = None, environment: Environment = "lab") -> None:
    """Build what changed, push it, write the lock."""
    platform = load_platform(environment)
    try:
        ensure_images(_registry(platform), lock_path(environment, platform.images.lock), names or ())
    except LabError as error:
        raise _fail(error) from error


@app.command()
def lock(environment: Environment = "lab") -> None:
    """Write the lock again from what the registry holds."""
    platform = load_platform(environment)
    try:
        write_lock(_registry(platform), lock_path(environment, platform.images.lock))
    except LabError as error:
        raise _fail(error) from error


@app.command("list")
def show(names: Names = None, environment: Environment = "lab") -> None:
    """What the registry holds, and whether it is made of today's inputs; exit code 2 where it is not."""
    registry = _registry(load_platform(environment))
    table = Table("image", "tag", "MiB to pull", "state")
    stale = False
    try:
        for image in select(names or ()):
            pushed = registry.find(image.path, image.tag)
            current = pushed is not None and pushed.labels.get(KEY_LABEL) == image_key(image)
            stale |= not current
            state = "missing" if pushed is None else "current" if current else "inputs changed"
            size = "" if pushed is None else f"{pushed.size / _MEBIBYTE:.1f}"
            table.add_row(image.path, image.tag, size, state)
    except LabError as error:
        raise _fail(error) from error
    Console().print(table)
    if stale:
        raise typer.Exit(2)
