# ruff: noqa: PLC0415 - each command imports what it needs: `env` and `status` must answer at once
"""``llmaas lab``: the whole platform on this machine."""

import os
from pathlib import Path
from typing import Annotated

import typer

from lab.exclusive import announced_lock, exclusive_run
from lab.layout import layout
from lab.spec import LabHost, LabSpec, lab_spec
from llmaas.cli.failures import console, told

app = typer.Typer(no_args_is_help=True, help=__doc__, pretty_exceptions_enable=False)
hosts_app = typer.Typer(no_args_is_help=True, help="The hosts alone, bare as they come.")
site_app = typer.Typer(no_args_is_help=True, help="The site's package mirror, registry and clock alone.")
app.add_typer(hosts_app, name="hosts")
app.add_typer(site_app, name="site")

Names = Annotated[list[str] | None, typer.Argument(help="all if none is named")]


def _spec() -> LabSpec:
    with told():
        return lab_spec()


def _chosen(names: list[str] | None) -> tuple[LabHost, ...]:
    spec = _spec()
    try:
        return tuple(spec.host(name) for name in names) if names else spec.hosts
    except KeyError as error:
        raise typer.BadParameter(str(error.args[0])) from error


@app.command()
def up(
    until: Annotated[str, typer.Option(help="end after this phase")] = "",
) -> None:
    """From nothing to a served API; does only what is missing."""
    from lab.up import bring_up

    here, spec = layout(), _spec()
    with told(), exclusive_run(here, console):
        bring_up(here, spec, console, until)


@app.command()
def down(
    *,
    keep_state: Annotated[bool, typer.Option(help="keep the hosts' disks, secrets and certificates")] = False,
) -> None:
    """End and remove everything that the lab started; built things stay in the cache."""
    from lab.teardown import tear_down

    here = layout()
    with told(), announced_lock(here, console):
        tear_down(here, console.print, keep_state=keep_state)


@app.command()
def env() -> None:
    """Export lines for a shell: eval "$(bin/llmaas lab env)"; without an API yet, those of the tools alone."""
    from lab.environment import client_environment, exports, has_api, tool_environment

    here = layout()
    with told():
        variables = tool_environment(here)
        if has_api(here):
            variables |= client_environment(here)
        else:
            console.print("the lab has no API yet, so nothing of it is set; run: make up", style="yellow")
        print(exports(variables))


@app.command()
def bench(
    *, also: Annotated[Path | None, typer.Option(help="figures of another program, as JSON; they are added")] = None
) -> None:
    """Measure the lab as it runs and write docs/figures.md."""
    from lab.figures import measure, read_figures, write_figures

    here = layout()
    with told(), announced_lock(here, console):
        others = [] if also is None else read_figures(also)
        figures = [*measure(here, here.logs / "bench.log"), *others]
        for figure in figures:
            wanted = f" (wanted: {figure.wanted})" if figure.wanted else ""
            console.print(f"{figure.what:<48} {figure.value}{wanted}", highlight=False, soft_wrap=True)
        console.print(f"written to {write_figures(figures)}", highlight=False)
    if any(figure.met is False for figure in figures):
        raise typer.Exit(1)


@app.command()
def toolchain() -> None:
    """Build the programs that are missing."""
    from lab.toolchain import ensure_toolchain

    with told():
        ensure_toolchain(console.print)


@hosts_app.command("up")
def hosts_up(names: Names = None) -> None:
    """Start the hosts that do not run and wait until each answers."""
    from lab.base import ensure_base
    from lab.hosts import start_hosts
    from lab.kernel import apply_kernel_settings
    from lab.keys import administrator_key, write_known_hosts
    from lab.network import bridge_up
    from lab.teardown import take_over

    spec, chosen, here = _spec(), _chosen(names), layout()
    with told(), announced_lock(here, console):
        take_over(here)
        apply_kernel_settings(here)
        bridge_up(here, spec)
        administrator_key(here)
        write_known_hosts(here, spec)
        start_hosts(here, chosen, ensure_base(here, here.logs / "base.log"), console.print)


@hosts_app.command("down")
def hosts_down(
    names: Names = None,
    *,
    remove_disks: Annotated[bool, typer.Option(help="they start as bare Debian next time")] = False,
) -> None:
    """Shut hosts down; their disks stay."""
    from lab.hosts import stop_hosts

    here = layout()
    with told(), announced_lock(here, console):
        stop_hosts(here, _chosen(names), remove_disks=remove_disks)


@site_app.command("up")
def site_up() -> None:
    """Start the site's programs that do not run, again those whose configuration changed."""
    from lab.base import ensure_base
    from lab.kernel import apply_kernel_settings
    from lab.network import bridge_up
    from lab.site import ensure_site
    from lab.teardown import take_over

    spec, here = _spec(), layout()
    with told(), announced_lock(here, console):
        take_over(here)
        apply_kernel_settings(here)
        bridge_up(here, spec)
        ensure_base(here, here.logs / "base.log")
        ensure_site(here, spec, console.print)


@site_app.command("down")
def site_down() -> None:
    """End the site's programs."""
    from lab.site import stop_site

    here = layout()
    with told(), announced_lock(here, console):
        stop_site(here)


@app.command(context_settings={"ignore_unknown_options": True})
def ssh(name: str, command: Annotated[list[str] | None, typer.Argument()] = None) -> None:
    """Root's shell on a host, or one command there."""
    from lab.keys import ssh_command

    (host,) = _chosen([name])
    arguments = ssh_command(layout(), host.address, batch=bool(command))
    os.execvp(arguments[0], [*arguments, *(command or [])])  # noqa: S606 - ssh takes over the terminal


@app.command()
def status() -> None:
    """What runs; exit code 1 unless all of it does."""
    from lab.hosts import host_states
    from lab.site import site_states

    here = layout()
    states = {**site_states(here), **host_states(here, _spec())}
    for name, running in states.items():
        print(f"{name:<14} {'runs' if running else 'down'}")
    if not all(states.values()):
        raise typer.Exit(1)
