"""What is mounted, and how it is taken away together with what lies on it."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Callable
from dataclasses import dataclass

from ansible_collections.llmaas.host.plugins.module_utils.commands import output


@dataclass(frozen=True)
class Mount:
    """``device`` is its number as the kernel writes it, such as ``253:0``."""

    point: str
    device: str


def mounts() -> list[Mount]:
    """All that this process sees mounted, the oldest first."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        rows = [line.split(" ") for line in file]
    # the kernel writes blanks and backslashes of a path as octal numbers
    return [Mount(re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), row[4]), row[2]) for row in rows]


def is_below(path: str, folder: str) -> bool:
    """Whether a path lies in a folder and is not the folder itself."""
    return path.startswith(folder.rstrip("/") + "/")


def number_of(device: str) -> str:
    """The number of a block device, as mounts of it have it."""
    found = os.stat(device).st_rdev
    return f"{os.major(found)}:{os.minor(found)}"


def chosen(wanted: Callable[[Mount], bool]) -> list[str]:
    """Mount points, the newest first: the order in which they can be taken away."""
    return [mount.point for mount in reversed(mounts()) if wanted(mount)]


def below(folder: str) -> list[str]:
    """What is mounted in a folder, in the order in which it can be taken away."""
    return chosen(lambda mount: is_below(mount.point, folder))


def of_device(device: str, folder: str) -> list[str]:
    """Every mount of a device, its folders that are mounted elsewhere among them, and what is mounted in ``folder``."""
    number = number_of(device)
    return chosen(lambda mount: mount.device == number or is_below(mount.point, folder))


def unmount(points: list[str]) -> None:
    """Take mounts away, in this order.

    Raises:
        ValueError: one is in use; the text names the processes.
    """
    for point in points:
        try:
            output("umount", point)
        except ValueError as error:
            users = ", ".join(users_of(point)) or "no process that could be found"
            raise ValueError(f"{error}; it is used by {users}; end that and run this again") from error


def users_of(folder: str) -> list[str]:
    """Processes that have a file of a folder open or stand in it, each by name and number."""
    found = []
    for process in glob.glob("/proc/[0-9]*"):
        links = [f"{process}/cwd", f"{process}/root", f"{process}/exe", *glob.glob(f"{process}/fd/*")]
        try:
            targets = [os.readlink(link) for link in links]
            with open(f"{process}/comm", encoding="utf-8", errors="replace") as file:
                name = file.read().strip()
        except OSError:
            # it has ended meanwhile, or is a part of the kernel
            continue
        if any(target == folder or is_below(target, folder) for target in targets):
            found.append(f"{name} ({os.path.basename(process)})")
    return found
