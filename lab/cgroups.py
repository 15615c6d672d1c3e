"""Control groups of the lab: one folder for each host and service, below one name in every hierarchy.

Each host sees its own folder as the root of all groups, as a machine of its own would, and whatever it ever
starts stays below it: that is how ``down`` finds every process, also when no record of it is left.
"""

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Final

from lab.layout import CGROUP
from lab.machine import cgroup_hierarchies, unified_cgroups

# a dash would mean a slice within a slice to systemd
_SLICE: Final = f"{CGROUP.replace('-', '_')}.slice"
# What a group has unless told otherwise, in v2 and in v1.
_USUAL_WEIGHT: Final = 100
_USUAL_SHARES: Final = 1024


def _own_groups() -> dict[str, str]:
    """Controller list (empty for the unified hierarchy) -> the group of this process in it."""
    lines = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    return {controllers: group for _, controllers, group in (line.split(":", 2) for line in lines)}


def _systemd_runs() -> bool:
    return Path("/run/systemd/system").exists()


def systemd_scope(name: str, weight: int = 1) -> list[str]:
    """What to put before a command so that systemd hands it a group of its own; empty where systemd does not run.

    ``weight`` as in ``cgroup_folders``.
    """
    if not _systemd_runs():
        return []
    # a number of its own: the scope of a run that was killed may still be there
    unit = f"--unit={CGROUP}-{name}.{os.getpid()}.{time.monotonic_ns()}"
    properties = ["-pDelegate=yes", f"-pCPUWeight={weight * _USUAL_WEIGHT}"]
    return ["systemd-run", "--quiet", "--scope", "--collect", unit, f"--slice={_SLICE}", *properties, "--"]


def cgroup_folders(name: str, top: str = CGROUP, weight: int = 1) -> list[str]:
    """Make the group ``name`` below ``top`` in every hierarchy; the folders to join. Empty where systemd does it.

    The groups are made below the one that this process is in: a limit that holds for it holds for the lab too. Where
    processors are short, a group gets ``weight`` times what another one gets.
    """
    if _systemd_runs():
        return []
    own = _own_groups()
    folders = []
    for hierarchy in cgroup_hierarchies():
        parent = hierarchy / _own_group(hierarchy, own).partition(f"/{top}")[0].lstrip("/") / top
        parent.mkdir(exist_ok=True)
        if (parent / "cpuset.cpus").exists() and (parent / "cgroup.clone_children").exists():
            _fill_cpuset(parent)
        if unified_cgroups():
            _hand_down_controllers(parent)
        folder = parent / name
        folder.mkdir(exist_ok=True)
        _weigh(folder, weight)
        folders.append(str(folder))
    return folders


def _weigh(folder: Path, weight: int) -> None:
    """Set the weight of a group in the hierarchy that has the processors; each version has a file of its own."""
    for name, usual in (("cpu.weight", _USUAL_WEIGHT), ("cpu.shares", _USUAL_SHARES)):
        if (folder / name).exists():
            (folder / name).write_text(str(weight * usual), encoding="ascii")


def _own_group(hierarchy: Path, own: dict[str, str]) -> str:
    """The group of this process in ``hierarchy``."""
    if (hierarchy / "cgroup.controllers").exists():
        # v2 alone: a group that holds processes cannot hand controllers down, so the lab starts at the top
        return "/" if unified_cgroups() else own.get("", "/")
    wanted = set(hierarchy.name.split(","))
    return next((group for names, group in own.items() if wanted & set(names.removeprefix("name=").split(","))), "/")


def _hand_down_controllers(folder: Path) -> None:
    """Let the groups below ``folder`` use every controller that the machine offers (v2)."""
    for group in (folder.parent, folder):
        for controller in (group / "cgroup.controllers").read_text(encoding="ascii").split():
            # a controller that the machine keeps for itself is no reason not to start
            with contextlib.suppress(OSError):
                (group / "cgroup.subtree_control").write_text(f"+{controller}", encoding="ascii")


def _fill_cpuset(folder: Path) -> None:
    """Give a v1 cpuset its parent's processors, and let every group below be filled the same way."""
    (folder / "cgroup.clone_children").write_text("1", encoding="ascii")
    for name in ("cpuset.cpus", "cpuset.mems"):
        (folder / name).write_text((folder.parent / name).read_text(encoding="ascii"), encoding="ascii")


def lab_groups(top: str = CGROUP) -> tuple[Path, ...]:
    """The lab's own folders in all hierarchies, whoever made them; ``top`` names those of another site."""
    found: list[Path] = []
    for hierarchy in cgroup_hierarchies():
        for folder, children, _ in os.walk(hierarchy):
            ours = [child for child in children if child in {top, _SLICE}]
            found.extend(Path(folder) / child for child in ours)
            children[:] = [child for child in children if child not in ours]
    return tuple(found)


def processes_in(group: Path) -> set[int]:
    """Numbers of all processes in ``group`` and below, but for this one."""
    return _members(group) - {os.getpid()}


def lab_processes() -> set[int]:
    """Numbers of all processes of the lab, but for this one."""
    return set().union(*(processes_in(group) for group in lab_groups()))


def lab_runs_at(state: str) -> bool:
    """Whether a lab runs on this machine whose state may be in that folder; one that is gone is nobody's."""
    return Path(state).is_dir() and bool(lab_processes())


def _members(group: Path) -> set[int]:
    pids: set[int] = set()
    for path in _with_all_below(group):
        with contextlib.suppress(OSError):
            pids.update(int(line) for line in (path / "cgroup.procs").read_text(encoding="ascii").split())
    # a process of another namespace shows as 0
    return pids - {0}


def _with_all_below(group: Path) -> list[Path]:
    """The group and those below it, each before its own; groups may vanish meanwhile, as their processes end."""
    return [Path(folder) for folder, _, _ in os.walk(group)]


def end_group(name: str, seconds: float = 10, top: str = CGROUP) -> set[int]:
    """Kill every other process of the group ``name`` and remove its folders; the processes that would not end."""
    scope = f"{CGROUP}-{name}."
    below = (group / child for group in lab_groups(top) for child in next(os.walk(group), ("", [], []))[1])
    return _end(tuple(folder for folder in below if folder.name == name or folder.name.startswith(scope)), seconds)


def end_all_groups(seconds: float = 20) -> set[int]:
    """Kill every other process of the lab and remove all its groups; the processes that would not end."""
    left = _end(lab_groups(), seconds)
    if _systemd_runs() and not left and not any(os.getpid() in _members(group) for group in lab_groups()):
        # the slice, empty now, would stay until the next start of the machine
        subprocess.run(["systemctl", "stop", _SLICE], check=False, capture_output=True)
    return left


def _end(groups: tuple[Path, ...], seconds: float) -> set[int]:
    deadline = time.monotonic() + seconds
    for group in groups:
        # where systemd runs, this run has a scope of its own in the lab's slice
        if (group / "cgroup.kill").exists() and os.getpid() not in _members(group):
            # ends all of them at once: none can start another in between; a group that is gone by now needs none
            with contextlib.suppress(OSError):
                (group / "cgroup.kill").write_text("1", encoding="ascii")
    while True:
        left = set().union(*(processes_in(group) for group in groups))
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if not left or time.monotonic() > deadline:
            break
        time.sleep(0.1)
    for group in groups:
        for folder in reversed(_with_all_below(group)):
            # one that holds this process stays
            with contextlib.suppress(OSError):
                folder.rmdir()
    return left
