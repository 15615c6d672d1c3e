"""A key server: a systemd host that shares this machine's kernel, in the network of the emulated hosts."""

import os
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from lab.cgroups import cgroup_folders, end_group, systemd_scope
from lab.disks import prepare_disk, remove_disk
from lab.emulated.image import SOURCES, Image
from lab.emulated.network import BRIDGE, Network
from lab.errors import LabError
from lab.layout import Layout
from lab.machine import unified_cgroups
from lab.spec import LabHost
from llmaas.files import write_atomically

_LAUNCH: Final = Path(__file__).parents[1] / "launch.sh"
_TOP: Final = "llmaas-emulated"
_BOOT_SECONDS: Final = 120


@dataclass
class Container:
    """A host without a kernel or disks of its own."""

    layout: Layout
    network: Network
    image: Image
    base: Path
    host: LabHost
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def create(self) -> None:
        """A fresh disk with this host's identity."""
        remove_disk(self.layout, self.host.name)
        prepare_disk(self.layout, self.host, self.base)
        apt = self.layout.hosts / self.host.name / "upper/etc/apt"
        apt.mkdir(parents=True, exist_ok=True)
        write_atomically(apt / "sources.list", SOURCES)

    def start(self) -> float:
        """Start and wait for SSH; the seconds that it took. One that a killed run left is ended first."""
        self.kill()
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
        command = [
            *systemd_scope(self._group),
            *("setpriv", "--pdeathsig", "KILL", str(_LAUNCH), *cgroup_folders(self._group, _TOP), "--"),
            *self.network.inside(self._nspawn(folder)),
        ]
        with (folder / "console.log").open("ab") as console:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, **environment},
                cwd="/",
            )
        while self.ssh("true", 10).returncode != 0:
            if self.process.poll() is not None or time.monotonic() - began > _BOOT_SECONDS:
                raise LabError(f"{self.host.name} does not answer", log=folder / "console.log")
            time.sleep(0.5)
        return time.monotonic() - began

    def ssh(self, command: str, seconds: float = 60) -> subprocess.CompletedProcess[str]:
        """Run ``command`` on the host; 255 as exit code means that it was not reached."""
        return self.network.ssh(self.layout, self.host.address, command, seconds)

    def kill(self) -> None:
        """Take the power away from all that runs in it: what only its supervisor's end would leave at work."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        end_group(self._group, top=_TOP)

    @property
    def _group(self) -> str:
        return f"emulated-{self.host.name}"

    def _nspawn(self, folder: Path) -> list[str]:
        # fmt: off
        return [
            "systemd-nspawn", "--quiet", "--boot", "--register=no", "--keep-unit", "--console=read-only",
            "--resolv-conf=off", "--timezone=off", "--link-journal=no", "--drop-capability=CAP_SYS_TIME",
            f"--network-bridge={BRIDGE}", f"--machine={self.host.name}", f"--hostname={self.host.name}",
            f"--bind-ro={self.image.mirror}:/srv/packages", f"--directory={folder / 'root'}",
        ]
        # fmt: on
