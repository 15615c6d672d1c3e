"""The disk that every host starts from: bare Debian with systemd, sshd and Python, made once from the mirror."""

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Final

from lab.command import run
from lab.layout import Layout

SUITE: Final = "bookworm"
MIRROR_REMEDY: Final = "is the Debian mirror of this machine reachable? try: apt-get update"
_PACKAGES: Final = Path(__file__).with_name("base-packages.txt")

# Units that make no sense on a machine without disk, console or way out, or that would wake thirteen hosts at once.
_MASKED: Final = (
    "apt-daily-upgrade.timer",
    "apt-daily.timer",
    "console-getty.service",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "getty-static.service",
    "getty@tty1.service",
    "proc-sys-fs-binfmt_misc.automount",
    "systemd-networkd-wait-online.service",
    "systemd-pstore.service",
)

# The controllers come up read-only in a machine of nspawn's; on a machine of its own they are not.
_CGROUPS_UNIT: Final = r"""[Unit]
Description=Control groups can be written, as on a machine of its own
DefaultDependencies=no
Before=sysinit.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c '\
  for folder in /sys/fs/cgroup /sys/fs/cgroup/*/; do \
    if mountpoint -q "$folder"; then mount -o remount,bind,rw "$folder"; fi; \
  done'

[Install]
WantedBy=sysinit.target
"""

_FILES: Final = {
    "etc/systemd/system/machine-cgroups.service": _CGROUPS_UNIT,
    # the kernel's log is the machine's: thirteen copies of it say nothing about the host
    "etc/systemd/journald.conf.d/10-machine.conf": "[Journal]\nReadKMsg=no\n",
    "etc/apt/sources.list": "",
    "etc/resolv.conf": "",
}


def packages(path: Path = _PACKAGES) -> tuple[str, ...]:
    """Names in a list of Debian packages: one a line, '#' begins a remark."""
    lines = (line.partition("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    return tuple(line for line in lines if line)


def base_key() -> str:
    """Changes with everything that goes into the disk."""
    content = json.dumps([SUITE, packages(), _MASKED, _FILES, version("llmaas")])
    return hashlib.sha256(content.encode()).hexdigest()[:12]


def configure_root(
    root: Path, files: Mapping[str, str], masked: Iterable[str], enabled: Iterable[str], log: Path
) -> None:
    """Write files, mask and enable units, and take SSH's keys away: every host gets its own."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    for unit in masked:
        run(["systemctl", f"--root={root}", "mask", unit], log=log)
    run(["systemctl", f"--root={root}", "enable", *enabled], log=log)
    for path in (root / "etc/ssh").glob("ssh_host_*"):
        path.unlink()


def base_folder(layout: Layout) -> Path:
    """Where the disk of this key lies, whether it was made or not."""
    return layout.cache / f"base-{base_key()}"


def ensure_base(layout: Layout, log: Path) -> Path:
    """The disk; made from the mirror if it is missing, whole or not at all."""
    folder = base_folder(layout)
    if folder.exists():
        return folder
    # whatever an interrupted run left
    for left in layout.cache.glob("base-*.part"):
        shutil.rmtree(left)
    part = folder.with_name(folder.name + ".part")
    include = ",".join(packages())
    run(["mmdebstrap", "--variant=minbase", f"--include={include}", SUITE, part], log=log, remedy=MIRROR_REMEDY)
    configure_root(part, _FILES, _MASKED, ("machine-cgroups", "systemd-networkd", "ssh"), log)
    (part / "etc/machine-id").write_text("", encoding="ascii")
    # on disk before it has its name: a machine lost a moment later must not leave a disk with holes
    run(["sync", "--file-system", part])
    part.rename(folder)
    return folder
