"""``llmaas lab``: the whole platform on this machine."""

import os
from typing import Annotated

import typer
from rich.console import Console

from lab.base import ensure_base
from lab.environment import client_environment, exports, tool_environment
from lab.errors import LabError
from lab.hosts import host_states, start_hosts, stop_hosts
from lab.kernel import apply_kernel_settings
from lab.keys import administrator_key, ssh_command, write_known_hosts
from lab.layout import layout
from lab.network import bridge_up
from lab.spec import LabHost, lab_spec
from lab.toolchain import ensure_toolchain
from llmaas.files import locked

app = typer.Typer(no_args_is_help=True, help=__doc__, pretty_exceptions_enable=False)
hosts_app = typer.Typer(no_args_is_help=True, help="The hosts alone, bare as they come.")
app.add_typer(hosts_app, name="hosts")

console = Console(stderr=True)


def _chosen(names: list[str] | None) -> tuple[LabHost, ...]:
    spec = lab_spec()
    try:
        return tuple(spec.host(name) for name in names) if names else spec.hosts
    except KeyError as error:
        raise typer.BadParameter(str(error.args[0])) from error


def _fail(error: LabError) -> typer.Exit:
    console.print(f"[bold red]failed:[/] {error.what}", highlight=False)
    if error.log:
        console.print(f"log: {error.log}", highlight=False)
    if error.remedy:
        console.print(f"what to do: {error.remedy}", highlight=False)
    return typer.Exit(1)


@hosts_app.command("up")
def hosts_up(names: Annotated[list[str] | None, typer.Argument(help="all if none is named")] = None) -> None:
    """Start the hosts that do not run and wait until each answers."""
    spec, chosen, here = lab_spec(), _chosen(names), layout()
    with locked(here.lock):
        try:
            apply_kernel_settings(here)
            bridge_up(here, spec)
            administrator_key(here)
            write_known_hosts(here, spec)
            base = ensure_base(here, here.logs / "base.log")
            start_hosts(here, chosen, base, console.print)
        except LabError as error:
            raise _fail(error) from error


@hosts_app.command("down")
def hosts_down(
    names: Annotated[list[str] | None, typer.Argument(help="all if none is named")] = None,
    *,
    remove_disks: Annotated[bool, typer.Option(help="they start as bare Debian next time")] = False,
) -> None:
    """Shut hosts down; their disks stay."""
    here = layout()
    with locked(here.lock):
        stop_hosts(here, _chosen(names), remove_disks=remove_disks)


@app.command()
def up() -> None:
    """From nothing to a served API; goes on where an earlier run stopped."""
    from lab.up import bring_up  # noqa: PLC0415 - what only this command needs takes a second to import

    here = layout()
    with locked(here.lock):
        try:
            bring_up(here, lab_spec(), console)
        except LabError as error:
            raise _fail(error) from error


@app.command()
def env() -> None:
    """Print export lines for a shell: eval "$(bin/llmaas lab env)"."""
    here = layout()
    try:
        print(exports({**tool_environment(here), **client_environment(here, lab_spec())}))
    except LabError as error:
        raise _fail(error) from error


@app.command()
def toolchain() -> None:
    """Build what is missing of the toolchain."""
    try:
        ensure_toolchain()
    except LabError as error:
        raise _fail(error) from error


@app.command(context_settings={"ignore_unknown_options": True})
def ssh(name: str, command: Annotated[list[str] | None, typer.Argument()] = None) -> None:
    """Root's shell on a host, or one command there."""
    (host,) = _chosen([name])
    arguments = ssh_command(layout(), host.address, batch=bool(command))
    os.execvp(arguments[0], [*arguments, *(command or [])])  # noqa: S606 - ssh takes over the terminal


@app.command()
def status() -> None:
    """What runs."""
    states = host_states(layout(), lab_spec())
    for name, running in states.items():
        print(f"{name:<14} {'runs' if running else 'down'}")
    if not all(states.values()):
        raise typer.Exit(1)
