"""Facts of the machine that the lab runs on: read from the kernel, and how fast it is."""

import os
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_ESCAPED: Final = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True)
class Mount:
    """One line of ``mountinfo``."""

    point: Path
    kind: str
    super_options: tuple[str, ...]


def mounts(text: str | None = None) -> tuple[Mount, ...]:
    """All mounts that this process sees, oldest first; ``text`` stands for the kernel's table."""
    if text is None:
        text = Path("/proc/self/mountinfo").read_text(encoding="utf-8")
    found = []
    for line in text.splitlines():
        left, _, right = line.partition(" - ")
        point = _ESCAPED.sub(lambda match: chr(int(match[1], 8)), left.split()[4])
        kind, _, options = right.split(" ", 2)
        found.append(Mount(Path(point.removesuffix("//deleted")), kind, tuple(options.split(","))))
    return tuple(found)


def mount_points_below(folder: Path) -> tuple[Path, ...]:
    """Mount points below ``folder``, the newest first: the order in which they can be taken away.

    The folder itself is not among them: it may be a disk that somebody put there.
    """
    return tuple(mount.point for mount in reversed(mounts()) if folder in mount.point.parents)


def cgroup_hierarchies() -> tuple[Path, ...]:
    """Mount points of all cgroup hierarchies, one for each controller on v1, and the unified one."""
    points: dict[Path, None] = {}
    for mount in mounts():
        if mount.kind in {"cgroup", "cgroup2"}:
            points[mount.point] = None
    return tuple(points)


def unified_cgroups() -> bool:
    """Whether the machine has cgroup v2 alone, as a Debian machine has, and not v1 or the hybrid of both."""
    return Path("/sys/fs/cgroup/cgroup.controllers").exists()


def boot_id() -> str:
    """Changes with every boot: a process number of another boot means nothing."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def process_start(pid: int) -> int | None:
    """Start of process ``pid`` in clock ticks since boot; None if there is none, or only its exit code is left."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # the command's name may hold blanks and parentheses: the fields begin behind the last one
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in {"Z", "X"} else int(fields[19])


def process_age(start_ticks: int) -> float:
    """Seconds since a process started that did so at these clock ticks since boot."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) - start_ticks / os.sysconf("SC_CLK_TCK")


_COPIED: Final = 32 * 2**20


def copy_speed() -> float:
    """How fast one core copies within memory just now, in GB/s: the best of three times for 32 MiB."""
    source, target = bytearray(_COPIED), bytearray(_COPIED)
    best = float("inf")
    for _ in range(3):
        began = time.perf_counter()
        target[:] = source
        best = min(best, time.perf_counter() - began)
    return _COPIED / best / 1e9


def core_speed() -> str:
    """How fast one core is today, in words: the best of five times for a plain loop, and its copies in memory."""
    best = float("inf")
    for _ in range(5):
        began = time.perf_counter()
        for _ in range(10_000_000):
            pass
        best = min(best, time.perf_counter() - began)
    return f"ten million turns of a Python loop in {best * 1000:.0f} ms, copies {copy_speed():.1f} GB/s"
