"""The disk that emulated hosts start from: Debian with a kernel of its own, made once."""

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lab.base import MIRROR_REMEDY, SUITE, configure_root, packages
from lab.command import run
from lab.layout import Layout

_PACKAGES: Final = Path(__file__).with_name("packages.txt")
_SIZE_MIB: Final = 3072
# Debian's kernel has this disk's driver built in, so it needs no initrd, which an emulated processor unpacks slowly.
ROOT_DEVICE: Final = "/dev/nvme0n1"
_MASKED: Final = (
    "apt-daily-upgrade.timer",
    "apt-daily.timer",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "getty@tty1.service",
    "systemd-pstore.service",
)
_FILES: Final = {
    "etc/fstab": f"{ROOT_DEVICE} / ext4 defaults 0 1\n",
    "etc/apt/sources.list": "",
    "etc/resolv.conf": "",
}


@dataclass(frozen=True)
class Image:
    """What an emulated host is started with; ``disk`` is copied, never written."""

    folder: Path

    @property
    def kernel(self) -> Path:
        """Debian's kernel."""
        return self.folder / "vmlinuz"

    @property
    def disk(self) -> Path:
        """A raw ext4 file system, the root."""
        return self.folder / "root.img"


def image_key() -> str:
    """Changes with everything that goes into the disk."""
    content = json.dumps([SUITE, packages(), packages(_PACKAGES), _MASKED, _FILES, _SIZE_MIB])
    return hashlib.sha256(content.encode()).hexdigest()[:12]


def ensure_image(layout: Layout, log: Path) -> Image:
    """The image of today's key; made from the Debian mirror if it is missing, whole or not at all.

    Raises:
        LabError: a step failed; ``log`` has what it printed.
    """
    folder = layout.cache / f"emulated-{image_key()}"
    if folder.exists():
        return Image(folder)
    for left in layout.cache.glob("emulated-*.part"):
        shutil.rmtree(left)
    part = folder.with_name(folder.name + ".part")
    part.mkdir()
    image = Image(part)
    root = part / "root"
    names = ",".join(sorted({*packages(), *packages(_PACKAGES)}))
    run(["mmdebstrap", "--variant=minbase", f"--include={names}", SUITE, root], log=log, remedy=MIRROR_REMEDY)
    configure_root(root, _FILES, _MASKED, ("systemd-networkd", "ssh"), log)
    shutil.rmtree(root / "var/cache/apt/archives", ignore_errors=True)
    shutil.copy(next((root / "boot").glob("vmlinuz-*")), image.kernel)
    run(["mkfs.ext4", "-q", "-L", "root", "-d", root, image.disk, f"{_SIZE_MIB}M"], log=log)
    shutil.rmtree(root)
    run(["sync", "--file-system", part])
    part.rename(folder)
    return Image(folder)
