"""Disks of the hosts: a layer of each host's own over the base disk that they share."""

import shutil
import subprocess
import uuid
from pathlib import Path
from typing import Final

from lab.keys import host_key
from lab.layout import Layout
from lab.machine import mount_points_below
from lab.spec import LabHost
from llmaas.files import write_atomically

# Folders that must not lie on an overlay: containers have overlays of their own, which do not nest.
REAL_FOLDERS: Final = ("var/lib/containerd", "var/lib/kubelet")


def prepare_disk(layout: Layout, host: LabHost, base: Path) -> Path:
    """Make the host's own layer over ``base`` if it has none; the base disk that its layer lies on.

    A disk that is there stays as it is, over the base it was made for; only who it is and whom it lets in are
    written again, so that a host whose keys were lost and made anew can be reached.
    """
    folder = layout.hosts / host.name
    mark = folder / "base"
    # an interrupted run leaves a disk without this file, a lost machine an empty one, a removed cache one without base
    found = mark.read_text(encoding="utf-8") if mark.exists() else ""
    if not (found and Path(found).is_dir()):
        found = ""
        remove_disk(layout, host.name)
        for path in ("root", "work", *(f"real/{path}" for path in REAL_FOLDERS)):
            (folder / path).mkdir(mode=0o755, parents=True)
        _write(folder / "upper", first_files(host))
    _write(folder / "upper", identity(layout, host))
    (folder / "upper").chmod(0o755)
    for private in ("root", "root/.ssh"):
        (folder / "upper" / private).chmod(0o700)
    if not found:
        write_atomically(mark, str(base))
    return Path(found) if found else base


def first_files(host: LabHost) -> dict[str, tuple[str, int]]:
    """What tells a host its name and address: path -> content and mode."""
    address = f"{host.address}/{host.prefix_length}"
    return {
        # must sort before systemd's own 80-container-host0.network
        "etc/systemd/network/10-host0.network": (
            f"[Match]\nName=host0\n\n[Network]\nAddress={address}\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n",
            0o644,
        ),
        "etc/hostname": (f"{host.name}\n", 0o644),
        "etc/hosts": (f"127.0.0.1 localhost\n{host.address} {host.name}\n", 0o644),
        # not empty: an empty one means first boot, which presets every unit again
        "etc/machine-id": (f"{uuid.uuid4().hex}\n", 0o444),
    }


def identity(layout: Layout, host: LabHost) -> dict[str, tuple[str, int]]:
    """The host's own key and the administrator's."""
    key = host_key(layout, host.name)
    return {
        "etc/ssh/ssh_host_ed25519_key": (key.read_text(encoding="ascii"), 0o600),
        "etc/ssh/ssh_host_ed25519_key.pub": (key.with_suffix(".pub").read_text(encoding="ascii"), 0o644),
        "root/.ssh/authorized_keys": ((layout.ssh / "id_ed25519.pub").read_text(encoding="ascii"), 0o600),
    }


def _write(upper: Path, files: dict[str, tuple[str, int]]) -> None:
    for name, (text, mode) in files.items():
        path = upper / name
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            write_atomically(path, text, mode)


def remove_disk(layout: Layout, name: str) -> None:
    """Remove a host's folder, whatever is still mounted below it first."""
    folder = layout.hosts / name
    unmount_below(folder)
    if folder.exists():
        shutil.rmtree(folder)


def unmount_below(folder: Path) -> None:
    """Take away every mount below ``folder``, lazily: a busy one goes when its last user does."""
    for point in mount_points_below(folder):
        subprocess.run(["umount", "--lazy", str(point)], check=False, capture_output=True)
