"""The lab's own site: its programs outlive the command that started them, and are recorded."""

import signal
from collections.abc import Callable
from typing import Final

from lab.cgroups import end_group
from lab.layout import ENVIRONMENT, Layout
from lab.processes import ProcessTable
from lab.site.services import CLOCK, REGISTRY, WEB, await_answer, sandboxed, site_services
from lab.spec import LabSpec
from llmaas.files import write_atomically
from llmaas.settings import load_platform
from llmaas.views.site import site_names

_NAMES: Final = (WEB, REGISTRY, CLOCK)


def ensure_site(layout: Layout, spec: LabSpec, report: Callable[[str], None]) -> None:
    """Start what does not run, and again what is started with something else by now.

    Raises:
        LabError: a program does not answer; the text names it and its log.
    """
    table = ProcessTable.at(layout.run)
    for service in site_services(layout, spec, ENVIRONMENT, site_names(load_platform(ENVIRONMENT))):
        name = service.name
        mark, log = layout.run / f"{name}.key", layout.logs / f"{name}.log"
        if table.get(name) and mark.exists() and mark.read_text(encoding="ascii") == service.key():
            report(f"{name}: runs")
            continue
        _stop(layout, table, name)
        process = table.start(name, sandboxed(layout, service), log)
        await_answer(service, spec.site_address, log, process.alive)
        write_atomically(mark, service.key())
        report(f"{name}: started, port {service.port}")


def stop_site(layout: Layout) -> None:
    """End the site's programs."""
    table = ProcessTable.at(layout.run)
    for name in _NAMES:
        _stop(layout, table, name)


def site_states(layout: Layout) -> dict[str, bool]:
    """Which of the site's programs run."""
    table = ProcessTable.at(layout.run)
    return {name: table.get(name) is not None for name in _NAMES}


def _stop(layout: Layout, table: ProcessTable, name: str) -> None:
    process = table.get(name)
    if process is not None:
        process.send(signal.SIGTERM)
        process.wait_ended(5)
    end_group(name)
    table.forget(name)
    (layout.run / f"{name}.key").unlink(missing_ok=True)
