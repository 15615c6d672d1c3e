"""The disk that emulated hosts start from: Debian with its own kernel, made once, and a package mirror on it.

Beside it lies the folder of the same packages, for the key servers that share this machine's kernel.
"""

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lab.base import MIRROR_REMEDY, SUITE, configure_root, ensure_base, packages
from lab.command import run
from lab.layout import Layout
from lab.site.packages import download

_HERE: Final = Path(__file__).parent
_SIZE_MIB: Final = 3072
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
SOURCES: Final = "deb [trusted=yes] file:/srv/packages ./\n"
_FILES: Final = {
    "etc/fstab": "/dev/vda / ext4 defaults 0 1\n",
    "etc/apt/sources.list": SOURCES,
    "etc/resolv.conf": "",
    # only what finds the root disk: the emulated processor unpacks every byte of it
    "etc/initramfs-tools/conf.d/emulated": "MODULES=list\nCOMPRESS=gzip\n",
    "etc/initramfs-tools/modules": "virtio_pci\nvirtio_blk\next4\n",
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
    def initrd(self) -> Path:
        """The first file system, with the drivers of the root disk."""
        return self.folder / "initrd.img"

    @property
    def disk(self) -> Path:
        """A raw ext4 file system, the root."""
        return self.folder / "root.img"

    @property
    def mirror(self) -> Path:
        """The packages that hosts may install, as a flat repository."""
        return self.folder / "packages"


def image_key() -> str:
    """Changes with everything that goes into the disk."""
    lists = [packages(_HERE / name) for name in ("packages.txt", "site-packages.txt")]
    content = json.dumps([SUITE, packages(), lists, _MASKED, _FILES, _SIZE_MIB])
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
    download(packages(_HERE / "site-packages.txt"), ensure_base(layout, log), image.mirror, log)
    (image.mirror / "Packages").write_text(run(["apt-ftparchive", "packages", "."], cwd=image.mirror), encoding="utf-8")
    root = part / "root"
    names = ",".join(sorted({*packages(), *packages(_HERE / "packages.txt")}))
    run(["mmdebstrap", "--variant=minbase", f"--include={names}", SUITE, root], log=log, remedy=MIRROR_REMEDY)
    configure_root(root, _FILES, _MASKED, ("systemd-networkd", "ssh"), log)
    run(["chroot", root, "update-initramfs", "-u", "-k", "all"], log=log)
    shutil.rmtree(root / "var/cache/apt/archives", ignore_errors=True)
    shutil.copytree(image.mirror, root / "srv/packages")
    for pattern, path in (("vmlinuz-*", image.kernel), ("initrd.img-*", image.initrd)):
        shutil.copy(next((root / "boot").glob(pattern)), path)
    run(["mkfs.ext4", "-q", "-L", "root", "-d", root, image.disk, f"{_SIZE_MIB}M"], log=log)
    shutil.rmtree(root)
    run(["sync", "--file-system", part])
    part.rename(folder)
    return Image(folder)
