"""``llmaas images``: the container images of an environment, built here, pushed to its registry, locked by digest."""

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from lab.images.builder import KEY_LABEL
from lab.images.ensure import ensure_images, lock_path, select, write_lock
from lab.images.parts import image_key
from lab.images.registry import registry_of
from llmaas.cli.failures import told
from llmaas.cli.options import Environment
from llmaas.settings import load_platform
from llmaas.settings.gpu_sets import mirrored_images

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__, pretty_exceptions_enable=False)

Names = Annotated[list[str] | None, typer.Argument(help="Images by the names of their folders; all if none is named.")]

_MEBIBYTE = 1 << 20


@app.command()
def build(names: Names = None, environment: Environment = "lab") -> None:
    """Build what changed, push it, write the lock."""
    with told():
        platform = load_platform(environment)
        lock_file = lock_path(environment, platform.images.lock)
        ensure_images(registry_of(platform), lock_file, names or (), mirrored=mirrored_images(platform))


@app.command()
def lock(environment: Environment = "lab") -> None:
    """Write the lock again from what the registry holds."""
    with told():
        platform = load_platform(environment)
        lock_file = lock_path(environment, platform.images.lock)
        write_lock(registry_of(platform), lock_file, mirrored=mirrored_images(platform))


@app.command("list")
def show(names: Names = None, environment: Environment = "lab") -> None:
    """What the registry holds, and whether it is made of today's inputs; exit code 2 where it is not."""
    table = Table("image", "tag", "MiB to pull", "state")
    stale = False
    with told():
        platform = load_platform(environment)
        registry = registry_of(platform)
        for image in select(names or (), mirrored_images(platform)):
            pushed = registry.find(image.path, image.tag)
            current = pushed is not None and pushed.labels.get(KEY_LABEL) == image_key(image)
            stale |= not current
            state = "missing" if pushed is None else "current" if current else "inputs changed"
            size = "" if pushed is None else f"{pushed.size / _MEBIBYTE:.1f}"
            table.add_row(image.path, image.tag, size, state)
    Console().print(table)
    if stale:
        raise typer.Exit(2)
