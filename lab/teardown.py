"""Takes the lab away: processes, mounts, links, groups, kernel settings and state, whatever is left of them."""

import contextlib
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

from lab.cgroups import end_all_groups, end_group, lab_runs_at
from lab.disks import unmount_below
from lab.errors import LabError
from lab.kernel import restore_kernel_settings
from lab.layout import BRIDGE, Layout
from lab.machine import mount_points_below
from lab.network import bridge_owner, network_down
from lab.processes import ProcessTable

UP_GROUP = "up"


def take_over(layout: Layout) -> None:
    """Take a dead lab of another state folder off this machine; its disks and secrets stay in that folder.

    Raises:
        LabError: that lab runs.
    """
    owner = bridge_owner()
    if owner is None or owner == str(layout.state):
        return
    if owner and lab_runs_at(owner):
        raise LabError(
            f"the lab that runs on this machine has its state in {owner}",
            remedy=f"end that one first: LLMAAS_STATE={Path(owner).parent} make down",
        )
    end_all_groups()
    if owner:
        other = Layout(state=Path(owner), cache=layout.cache)
        unmount_below(other.state)
        restore_kernel_settings(other)
    network_down()


def clean_stale(layout: Layout) -> None:
    """End what an interrupted run left working: its builds and playbooks would work against the next one."""
    take_over(layout)
    end_group(UP_GROUP)
    table = ProcessTable.at(layout.run)
    if not table.running():
        # a reboot or a killed lab: nothing of it is in use
        end_all_groups()
        unmount_below(layout.state)


def tear_down(layout: Layout, report: Callable[[str], None], *, keep_state: bool = False) -> None:
    """End and remove all of the lab; its cache stays, and with ``keep_state`` the hosts' disks and all secrets too.

    Raises:
        LabError: something would not go; it is named. What could be removed is gone by then.
    """
    take_over(layout)
    table = ProcessTable.at(layout.run)
    running = table.running()
    if keep_state:
        report("shutting the hosts down")
        _shut_down(table)
    report(f"ending {len(running)} recorded processes and all that they started")
    stuck = end_all_groups()
    for process in table.running():
        # not in any group of ours: a machine whose groups we could not make
        process.send(signal.SIGKILL)
        if not process.wait_ended(5):
            stuck.add(process.pid)
    report("removing mounts, links, firewall, and restoring the kernel's settings")
    for folder in _ours(layout):
        unmount_below(folder)
    network_down()
    restore_kernel_settings(layout)
    left = [point for folder in _ours(layout) for point in mount_points_below(folder)]
    if stuck or left or bridge_owner() is not None:
        parts = [f"process {pid}" for pid in sorted(stuck)] + [f"mount {point}" for point in left]
        if bridge_owner() is not None:
            parts.append(f"link {BRIDGE}")
        raise LabError(f"these would not go: {', '.join(parts)}", remedy="run `make down` again; if it stays, reboot")
    if keep_state:
        shutil.rmtree(layout.run)
    else:
        report(f"removing {layout.state}")
        for path in layout.state.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        # a state folder that is a disk of its own cannot go
        with contextlib.suppress(OSError):
            layout.state.rmdir()


def _ours(layout: Layout) -> tuple[Path, ...]:
    """Folders in which every mount is the lab's: its state, half-made disks, and where images are built."""
    return (layout.state, *layout.cache.glob("*.part"), layout.cache / "containers")


def _shut_down(table: ProcessTable, seconds: float = 20) -> None:
    processes = [process for process in table.running() if process.name.startswith("host-")]
    for process in processes:
        process.send(signal.SIGTERM)
    deadline = time.monotonic() + seconds
    for process in processes:
        process.wait_ended(max(0.1, deadline - time.monotonic()))
