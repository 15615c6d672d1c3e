"""Which device an open volume lies on, told by the kernel. Changes nothing."""

from __future__ import annotations

import glob
import os

from ansible_collections.llmaas.host.plugins.module_utils.mounts import number_of

BLOCK = "/sys/block"


def disks_below(name: str) -> dict[str, str] | None:
    """What the volume that is open under ``name`` lies on: the kernel's name of each device, and its number.

    The number is as the kernel writes it, such as ``8:16``, and empty for a disk that is no longer there. None where
    nothing is open under that name.
    """
    for folder in glob.glob(f"{BLOCK}/dm-*"):
        if _line(f"{folder}/dm/name") == name:
            below = f"{folder}/slaves"
            return {disk: _line(f"{below}/{disk}/dev") for disk in sorted(os.listdir(below))}
    return None


def lies_on(name: str, path: str) -> bool:
    """Whether a volume is open under ``name``, and on the device at ``path`` alone."""
    below = disks_below(name)
    # the name alone says nothing: after a disk was replaced it still leads to the old one
    return bool(below) and os.path.exists(path) and set(below.values()) == {number_of(path)}


def taken_by(name: str, path: str) -> str:
    """Which other device than that at ``path`` is open under ``name``, and what to do; empty where none is."""
    below = disks_below(name)
    if below is None or lies_on(name, path):
        return ""
    gone = "a disk that is no longer there"
    told = [f"/dev/{disk}" if number else f"{disk}, {gone}" for disk, number in below.items()]
    return (
        f"/dev/mapper/{name} is not on {path}: it is still open on {', '.join(told) or gone}; stop what uses it,"
        f" unmount it and run: cryptsetup close {name} (or take the old disk out and restart the host)"
    )


def _line(path: str) -> str:
    try:
        with open(path, encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        # of a disk that was pulled nothing but its name is left
        return ""
