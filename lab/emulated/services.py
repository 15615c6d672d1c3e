"""What surrounds the emulated hosts: package mirror and clock, in their network and with their environment's keys."""

from typing import Final

from lab.emulated.child import Child
from lab.emulated.network import Network
from lab.layout import Layout
from lab.site.services import CLOCK, WEB, await_answer, sandboxed, site_services
from lab.spec import LabSpec

_STARTED: Final = (WEB, CLOCK)
# A program that gives up root is not told of its starter's end. This process is, and with it all in its namespace end.
TOGETHER: Final = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")


def start_services(layout: Layout, spec: LabSpec, network: Network, environment: str) -> tuple[Child, ...]:
    """Start them and wait until they answer; whoever starts them ends them.

    Raises:
        LabError: one does not answer; those that were started are ended by then.
    """
    started: list[Child] = []
    names = (spec.registry.partition(":")[0], f"site.{spec.domain}")
    try:
        for service in site_services(layout, spec, environment, names):
            if service.name in _STARTED:
                child, log = Child(service.name), layout.logs / f"{service.name}.log"
                started.append(child)
                child.start(network.inside([*TOGETHER, *sandboxed(layout, service)]), log)
                await_answer(service, spec.site_address, log, child.runs, prefix=network.inside([]))
    except BaseException:
        for child in started:
            child.kill()
        raise
    return tuple(started)
