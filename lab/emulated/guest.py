"""One emulated host: started, reset, switched off, and its data disks pulled and put back, from here."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from lab.command import run
from lab.disks import first_files, identity
from lab.emulated.image import ROOT_DEVICE, Image
from lab.emulated.network import Network
from lab.errors import LabError
from lab.layout import Layout
from lab.spec import LabHost

# Another machine may have an accelerator that starts guests; the one this was measured on has none.
ACCELERATOR: Final = os.environ.get("LLMAAS_EMULATED_ACCELERATOR", "tcg")
BOOT_SECONDS: Final = 600
_STOP_SECONDS: Final = 300
# an emulated processor on a busy machine takes its time: no service of the host is given up for that
_KERNEL: Final = "mitigations=off systemd.default_timeout_start_sec=900 systemd.show_status=1"
_POLL_SECONDS: Final = 1.0


@dataclass(frozen=True)
class DataDisk:
    """A virtio disk; the host finds it as ``/dev/disk/by-id/virtio-<serial>``."""

    serial: str
    size_mib: int

    @property
    def path(self) -> str:
        """Its stable name on the host."""
        return f"/dev/disk/by-id/virtio-{self.serial}"


@dataclass
class Guest:
    """A host of one processor; its disks lie below ``layout.hosts`` and outlive the process."""

    layout: Layout
    network: Network
    image: Image
    host: LabHost
    disks: tuple[DataDisk, ...]
    memory_mib: int = 1024
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def folder(self) -> Path:
        """Everything of this host."""
        return self.layout.hosts / self.host.name

    @property
    def console(self) -> Path:
        """What the host printed since it was made."""
        return self.folder / "console.log"

    def disk_file(self, disk: DataDisk) -> Path:
        """Where the content of a data disk lies."""
        return self.folder / f"{disk.serial}.img"

    def create(self) -> None:
        """Fresh disks: the root from the image with this host's identity, the data disks empty."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(mode=0o700, parents=True)
        root = self.folder / "root.img"
        run(["cp", "--sparse=always", self.image.disk, root])
        address = f"{self.host.address}/{self.host.prefix_length}"
        network = f"[Match]\nName=en* eth*\n\n[Network]\nAddress={address}\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n"
        files = first_files(self.host) | identity(self.layout, self.host)
        files["etc/systemd/network/10-host0.network"] = (network, 0o644)
        _write_into(root, files)
        for disk in self.disks:
            self.new_disk(disk)
        self.network.add_tap(self._tap)

    def new_disk(self, disk: DataDisk) -> None:
        """An empty disk in the place of ``disk``, as when somebody swaps it."""
        path = self.disk_file(disk)
        path.unlink(missing_ok=True)
        with path.open("wb") as stream:
            stream.truncate(disk.size_mib << 20)

    def start(self, without: tuple[DataDisk, ...] = ()) -> float:
        """Switch on, all disks but ``without`` attached, and wait for SSH; the seconds that it took."""
        began = time.monotonic()
        self.switch_on(without)
        self.wait_for_ssh()
        return time.monotonic() - began

    def switch_on(self, without: tuple[DataDisk, ...] = ()) -> None:
        """Switch on and wait for nothing. The host ends with the thread that calls this."""
        if self.process is not None and self.process.poll() is None:
            raise LabError(f"{self.host.name} runs already")
        with self.console.open("ab") as console:
            self.process = subprocess.Popen(
                # ends with whoever started it, however that ends
                ["setpriv", "--pdeathsig", "KILL", *self.network.inside(self._command(without))],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
            )

    def reboot(self) -> float:
        """Restart from within and wait for SSH; the seconds from the reset of the machine."""
        before = self.output("cat /proc/sys/kernel/random/boot_id")
        mark = self.console.stat().st_size
        self.ssh("systemctl --no-block reboot")
        self.wait(lambda: b"Linux version" in self._console_since(mark), "its kernel starting again", _STOP_SECONDS)
        began = time.monotonic()
        self.wait_for_ssh()
        if self.output("cat /proc/sys/kernel/random/boot_id") == before:
            raise LabError(f"{self.host.name} did not restart", log=self.console)
        return time.monotonic() - began

    def power_off(self) -> None:
        """Shut down in order; the disks can be changed afterwards."""
        if self.process is None:
            return
        self.ssh("systemctl --no-block poweroff")
        try:
            self.process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise LabError(f"{self.host.name} did not switch off within {_STOP_SECONDS} s", log=self.console) from None

    def kill(self) -> None:
        """Take the power away."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def ssh(self, command: str, seconds: float = 120) -> subprocess.CompletedProcess[str]:
        """Run ``command`` on the host; 255 as exit code means that it was not reached."""
        return self.network.ssh(self.layout, self.host.address, command, seconds)

    def output(self, command: str, seconds: float = 120) -> str:
        """What ``command`` prints on the host.

        Raises:
            LabError: it ended with an error; the text has what it said.
        """
        done = self.ssh(command, seconds)
        if done.returncode:
            raise LabError(f"{self.host.name}: {command}\nended with {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout.strip()

    def wait_for_ssh(self) -> None:
        """Wait until the host lets the administrator in."""
        self.wait(lambda: self.ssh("true", 20).returncode == 0, "SSH", BOOT_SECONDS)

    def wait(self, ready: Callable[[], bool], what: str, seconds: float) -> float:
        """Wait until ``ready``; the seconds that it took."""
        began = time.monotonic()
        while not ready():
            if self.process is None or self.process.poll() is not None:
                raise LabError(f"{self.host.name} ended while it was waited for {what}", log=self.console)
            if time.monotonic() - began > seconds:
                raise LabError(f"{self.host.name}: no {what} within {seconds:.0f} s", log=self.console)
            time.sleep(_POLL_SECONDS)
        return time.monotonic() - began

    @property
    def _tap(self) -> str:
        return f"tap-{self.host.address.rpartition('.')[2]}"

    def _console_since(self, mark: int) -> bytes:
        with self.console.open("rb") as stream:
            stream.seek(mark)
            return stream.read()

    def _command(self, without: tuple[DataDisk, ...]) -> list[str]:
        disks = []
        for disk in self.disks:
            if disk not in without:
                disks += ["-drive", f"file={self.disk_file(disk)},if=none,id=file-{disk.serial},format=raw"]
                disks += ["-device", f"virtio-blk-pci,drive=file-{disk.serial},serial={disk.serial},id={disk.serial}"]
        # fmt: off
        return [
            "qemu-system-x86_64", "-nodefaults", "-display", "none", "-serial", "stdio", "-machine", "pc",
            "-accel", ACCELERATOR, "-cpu", "max", "-smp", "1", "-m", str(self.memory_mib),
            "-kernel", str(self.image.kernel),
            "-append", f"root={ROOT_DEVICE} rw console=ttyS0 {_KERNEL}",
            "-drive", f"file={self.folder / 'root.img'},if=none,id=root,format=raw",
            "-device", "nvme,drive=root,serial=root",
            *disks,
            "-object", "rng-random,id=rng,filename=/dev/urandom", "-device", "virtio-rng-pci,rng=rng",
            "-netdev", f"tap,id=net,ifname={self._tap},script=no,downscript=no",
            "-device", f"virtio-net-pci,netdev=net,mac=52:54:00:00:00:{int(self._tap[4:]):02x}",
        ]
        # fmt: on


def _write_into(image: Path, files: dict[str, tuple[str, int]]) -> None:
    """Put files into an ext4 file system that is not mounted: path -> content and mode, owned by root."""
    with tempfile.TemporaryDirectory() as folder:
        lines = []
        for number, (name, (text, mode)) in enumerate(files.items()):
            source = Path(folder, str(number))
            source.write_text(text, encoding="utf-8")
            parents = [str(parent) for parent in reversed(Path(name).parents) if str(parent) != "."]
            # one that is there already is said to be, and stays
            lines += [f"mkdir {parent}" for parent in parents if parent == "root/.ssh"]
            lines += [f"rm {name}", f"write {source} {name}", f"set_inode_field {name} mode 0{0o100000 | mode:o}"]
            lines += [f"set_inode_field {name} uid 0", f"set_inode_field {name} gid 0"]
        lines += ["set_inode_field root/.ssh mode 040700"]
        script = Path(folder, "script")
        script.write_text("\n".join(lines) + "\n", encoding="utf-8")
        run(["debugfs", "-w", "-f", script, image])
