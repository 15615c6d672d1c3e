"""What lies on a block device, told by the kernel and by what is written on it. Changes nothing."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any

from ansible_collections.llmaas.host.plugins.module_utils.commands import output

NOTHING_MIB = 1
MEBIBYTE = 1 << 20


@dataclass(frozen=True)
class BlockDevice:
    """``signature`` is blkid's type, such as ``ext4`` or ``crypto_LUKS``; ``uuid`` that of the signature."""

    path: str
    kind: str
    size_bytes: int
    signature: str
    partition_table: str
    uuid: str
    children: tuple[tuple[str, str], ...]
    mounted_at: tuple[str, ...]
    blank_start: bool

    @property
    def is_luks(self) -> bool:
        """Whether it holds a LUKS volume."""
        return self.signature == "crypto_LUKS"

    def content(self) -> list[str]:
        """What it holds, in words; empty when it holds nothing."""
        found = [f"it is mounted at {point}" for point in self.mounted_at]
        if self.partition_table:
            found.append(f"it has a partition table ({self.partition_table})")
        found += [f"{name} ({kind}) lies on it" for name, kind in self.children]
        if self.signature:
            found.append(f"it holds {self.signature}{f' {self.uuid}' if self.uuid else ''}")
        if not (found or self.blank_start):
            found.append(f"its first {NOTHING_MIB} MiB are not empty")
        return found


def probe(path: str) -> BlockDevice | None:
    """Look at the device at ``path``; None where there is none."""
    if not os.path.exists(path):
        return None
    columns = "NAME,TYPE,SIZE,MOUNTPOINTS"
    (shown,) = json.loads(output("lsblk", "--json", "--bytes", "--output", columns, path))["blockdevices"]
    # 2: nothing is known to be on it
    fields = dict(
        line.split("=", 1)
        for line in output("blkid", "--probe", "--output", "export", path, accepted=(0, 2)).splitlines()
        if "=" in line
    )
    with open(path, "rb") as stream:
        start = stream.read(NOTHING_MIB * MEBIBYTE)
    return BlockDevice(
        path=path,
        kind=shown["type"],
        size_bytes=int(shown["size"]),
        signature=fields.get("TYPE", ""),
        partition_table=fields.get("PTTYPE", ""),
        uuid=fields.get("UUID", ""),
        children=tuple((child["name"], child["type"]) for child in shown.get("children", [])),
        mounted_at=mount_points(shown),
        blank_start=not any(start),
    )


def mount_points(shown: dict[str, Any]) -> tuple[str, ...]:
    """Where lsblk says that a device itself is mounted."""
    return tuple(point for point in shown.get("mountpoints") or [] if point)


def is_mounted(point: str) -> str:
    """The device that is mounted at ``point``; empty when none is."""
    with open("/proc/self/mounts", encoding="utf-8") as file:
        found = [line.split()[0] for line in file if line.split()[1] == point]
    return found[-1] if found else ""


def swap_areas() -> list[str]:
    """Swap areas in use."""
    with open("/proc/swaps", encoding="utf-8") as file:
        return [line.split()[0] for line in file.read().splitlines()[1:]]


def kept_swaps() -> list[str]:
    """Those that a LUKS volume holds, or the memory itself."""
    return [area for area in swap_areas() if _may_stay(area)]


def plain_swaps() -> list[str]:
    """Those that write memory to a disk in the clear."""
    return [area for area in swap_areas() if not _may_stay(area)]


def _may_stay(area: str) -> bool:
    return area.startswith("/dev/zram") or on_crypt(area)


def on_crypt(area: str) -> bool:
    """Whether a device is an open LUKS volume, or lies on one; a file never counts as encrypted."""
    if not area.startswith("/dev/"):
        return False
    return "crypt" in output("lsblk", "--noheadings", "--inverse", "--output", "TYPE", area).split()
