"""Whether the hosts that run answer: asked of each one's SSH server, all at once, without logging in."""

import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from lab.hosts import BOOT_SECONDS, process_name
from lab.layout import Layout
from lab.machine import process_age
from lab.processes import ProcessTable
from lab.spec import LabHost, LabSpec

_SSH: Final = 22
# Hosts that work hard take their time.
_SECONDS: Final = 10


def answering_hosts(layout: Layout, spec: LabSpec) -> tuple[int, dict[str, str]]:
    """How many hosts run, and which of them do not answer, and why; one that may be booting is not asked."""
    table = ProcessTable.at(layout.run)
    processes = {host: table.get(process_name(host)) for host in spec.hosts}
    running = {host: process for host, process in processes.items() if process is not None}
    asked = [host for host, process in running.items() if process_age(process.start_ticks) > BOOT_SECONDS]
    with ThreadPoolExecutor(max(1, len(asked))) as pool:
        answers = list(zip(asked, pool.map(_why_silent, asked), strict=True))
    return len(running), {host.name: why for host, why in answers if why}


def _why_silent(host: LabHost) -> str:
    """Why the host's SSH server does not say who it is; empty if it does."""
    try:
        with socket.create_connection((host.address, _SSH), timeout=_SECONDS) as connection:
            said = connection.recv(4)
    except OSError as error:
        return str(error)
    return "" if said == b"SSH-" else f"{said!r} is no answer of an SSH server"
