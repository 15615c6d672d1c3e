"""A key server: a systemd host that shares this machine's kernel, in the network of the emulated hosts."""

import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from lab.disks import prepare_disk, remove_disk
from lab.emulated.child import Child
from lab.emulated.network import BRIDGE, Network
from lab.errors import LabError
from lab.hosts import NSPAWN
from lab.layout import Layout
from lab.machine import unified_cgroups
from lab.spec import LabHost

_BOOT_SECONDS: Final = 120


@dataclass
class Container:
    """A host without a kernel or disks of its own."""

    layout: Layout
    network: Network
    base: Path
    host: LabHost
    child: Child = field(init=False)

    def __post_init__(self) -> None:
        """Its processes bear its name."""
        self.child = Child(self.host.name)

    def create(self) -> None:
        """A fresh disk with this host's identity."""
        remove_disk(self.layout, self.host.name)
        prepare_disk(self.layout, self.host, self.base)

    def start(self) -> float:
        """Start and wait for SSH; the seconds that it took. One that a killed run left is ended first."""
        began = time.monotonic()
        folder = self.layout.hosts / self.host.name
        environment = {
            "LLMAAS_OVERLAY_ROOT": str(folder / "root"),
            "LLMAAS_OVERLAY_LOWER": str(self.base),
            "LLMAAS_OVERLAY_UPPER": str(folder / "upper"),
            "LLMAAS_OVERLAY_WORK": str(folder / "work"),
        }
        if not unified_cgroups():
            environment["SYSTEMD_NSPAWN_UNIFIED_HIERARCHY"] = "0"
        console = folder / "console.log"
        self.child.start(self.network.inside(self._nspawn(folder)), console, environment)
        while self.ssh("true", 10).returncode != 0:
            if not self.child.runs() or time.monotonic() - began > _BOOT_SECONDS:
                raise LabError(f"{self.host.name} does not answer", log=console)
            time.sleep(0.5)
        return time.monotonic() - began

    def ssh(self, command: str, seconds: float = 60) -> subprocess.CompletedProcess[str]:
        """Run ``command`` on the host; 255 as exit code means that it was not reached."""
        return self.network.ssh(self.layout, self.host.address, command, seconds)

    def _nspawn(self, folder: Path) -> list[str]:
        names = (f"--machine={self.host.name}", f"--hostname={self.host.name}")
        return [*NSPAWN, f"--network-bridge={BRIDGE}", *names, f"--directory={folder / 'root'}"]
