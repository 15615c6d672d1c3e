"""The hosts: systemd machines, each with its own disk, address and control groups, started and ended from here."""

import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from lab.cgroups import end_group
from lab.disks import REAL_FOLDERS, prepare_disk, remove_disk, unmount_below
from lab.errors import LabError
from lab.keys import ssh_command
from lab.layout import BRIDGE, Layout
from lab.machine import unified_cgroups
from lab.processes import ProcessTable
from lab.spec import LabHost, LabSpec

# Booting takes the processor: more at once than this is no faster and starves what else runs.
_AT_ONCE: Final = 4
BOOT_SECONDS: Final = 90
_STOP_SECONDS: Final = 12
# A cluster's own programs that get a thirteenth of a busy machine answer too late: all kubelets try again, probes end
# the API server, and it gets no better. A real control host has processors of its own.
_CONTROL_WEIGHT: Final = 12
_SETTLED: Final = "systemctl is-system-running --wait; systemctl --failed --plain --no-legend"
# How hosts that share this machine's kernel are started, whatever network they stand in: with what kubelet, runc and
# nftables need, without the machine's clock.
NSPAWN: Final = (
    "systemd-nspawn",
    "--quiet",
    "--boot",
    "--register=no",
    "--keep-unit",
    "--console=read-only",
    "--resolv-conf=off",
    "--timezone=off",
    "--link-journal=no",
    "--capability=all",
    "--drop-capability=CAP_SYS_TIME",
    "--system-call-filter=@keyring bpf @clock @module",
    "--bind=/dev/kmsg",
)

Report = Callable[[str], None]


def process_name(host: LabHost) -> str:
    """Name of the host's process record and control group."""
    return f"host-{host.name}"


def start_hosts(layout: Layout, hosts: Sequence[LabHost], base: Path, report: Report) -> tuple[str, ...]:
    """Start the hosts that do not run and wait until each answers; the names of those that were started.

    Raises:
        LabError: hosts did not come up; every one is named, with its console log.
    """
    table = ProcessTable.at(layout.run)
    missing = [host for host in hosts if table.get(process_name(host)) is None]
    cancelled = threading.Event()

    def bring_up(host: LabHost) -> LabError | None:
        try:
            if host in missing:
                _start(layout, table, host, base)
            report(f"{host.name}: {_await_host(layout, table, host, cancelled)}")
        except LabError as error:
            report(f"{host.name}: {error.what}")
            return error
        return None

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        try:
            errors = [error for error in pool.map(bring_up, hosts) if error is not None]
        except BaseException:
            # Ctrl-C: the threads would wait for hosts that nobody wants any more
            cancelled.set()
            pool.shutdown(cancel_futures=True)
            raise
    if errors:
        raise LabError("\n".join(error.what for error in errors), remedy=errors[0].remedy, log=errors[0].log)
    return tuple(host.name for host in missing)


def stop_hosts(layout: Layout, hosts: Sequence[LabHost], *, remove_disks: bool = False) -> None:
    """Shut the hosts down, kill what does not end, and forget them; their disks stay unless asked."""
    table = ProcessTable.at(layout.run)
    running = [process for host in hosts if (process := table.get(process_name(host))) is not None]
    for process in running:
        process.send(signal.SIGTERM)
    deadline = time.monotonic() + _STOP_SECONDS
    for process in running:
        process.wait_ended(max(0.1, deadline - time.monotonic()))
    for host in hosts:
        end_group(process_name(host))
        table.forget(process_name(host))
        if remove_disks:
            remove_disk(layout, host.name)


def ssh(layout: Layout, address: str, command: str, seconds: float = 30) -> subprocess.CompletedProcess[str]:
    """Run ``command`` on a host; 255 as exit code means that it was not reached."""
    arguments = [*ssh_command(layout, address), command]
    try:
        return subprocess.run(
            arguments, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=seconds
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(arguments, 255, "", f"no end within {seconds:.0f} s")


def _start(layout: Layout, table: ProcessTable, host: LabHost, base: Path) -> None:
    folder = layout.hosts / host.name
    end_group(process_name(host))
    unmount_below(folder)
    base = prepare_disk(layout, host, base)
    environment = {
        "LLMAAS_OVERLAY_ROOT": str(folder / "root"),
        "LLMAAS_OVERLAY_LOWER": str(base),
        "LLMAAS_OVERLAY_UPPER": str(folder / "upper"),
        "LLMAAS_OVERLAY_WORK": str(folder / "work"),
    }
    if not unified_cgroups():
        environment["SYSTEMD_NSPAWN_UNIFIED_HIERARCHY"] = "0"
    binds = [f"--bind={folder / 'real' / path}:/{path}" for path in REAL_FOLDERS]
    command = [*NSPAWN, f"--network-bridge={BRIDGE}", *binds, f"--machine={host.name}", f"--hostname={host.name}"]
    command.append(f"--directory={folder / 'root'}")
    weight = _CONTROL_WEIGHT if host.control else 1
    table.start(process_name(host), command, folder / "console.log", environment, weight=weight)


def _await_host(layout: Layout, table: ProcessTable, host: LabHost, cancelled: threading.Event) -> str:
    """Wait until the host answers over SSH and its systemd has settled; what state it settled in."""
    console = layout.hosts / host.name / "console.log"
    deadline = time.monotonic() + BOOT_SECONDS
    why = ""
    while time.monotonic() < deadline and not cancelled.is_set():
        if table.get(process_name(host)) is None:
            raise LabError(f"{host.name} ended while it started", log=console, remedy="read its console log")
        left = max(1.0, deadline - time.monotonic())
        answer = ssh(layout, host.address, _SETTLED, left)
        if answer.returncode != 255:
            state, *failed = answer.stdout.splitlines() or ["unknown"]
            units = ", ".join(line.split()[0] for line in failed if line.strip())
            return f"{state} (failed: {units})" if units else state
        why = answer.stderr.strip()
        time.sleep(0.5)
    raise LabError(
        f"{host.name} does not answer at {host.address} after {BOOT_SECONDS} s: {why}",
        log=console,
        remedy="read its console log; to start it afresh: bin/llmaas lab hosts down, then make up",
    )


def host_states(layout: Layout, spec: LabSpec) -> dict[str, bool]:
    """Which hosts run."""
    table = ProcessTable.at(layout.run)
    return {host.name: table.get(process_name(host)) is not None for host in spec.hosts}
