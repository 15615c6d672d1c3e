"""Debian packages as plain files: resolved and fetched by apt with a state of its own, unpacked, never installed.

No maintainer script runs and no package manager ends up in an image. The exact versions that apt resolved are part of
an image's key, so that a security update of a library makes a new image.
"""

import hashlib
import json
import re
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from lab.images.spec import ImageError
from llmaas.files import locked, write_atomically
from llmaas.paths import cache_dir

_LISTS_MAX_AGE_SECONDS: Final = 24 * 3600
# Debian 12 has /bin, /lib and /sbin as links into /usr; packages still carry files under the old names.
MERGED_FOLDERS: Final = {"bin": "usr/bin", "sbin": "usr/sbin", "lib": "usr/lib", "lib64": "usr/lib64"}


@dataclass(frozen=True)
class DebianFile:
    """One package file, as apt resolved it."""

    package: str
    version: str
    architecture: str

    @property
    def file_name(self) -> str:
        """Its name in apt's cache; apt escapes the colon of an epoch."""
        return f"{self.package}_{self.version.replace(':', '%3a')}_{self.architecture}.deb"


def _apt_root() -> Path:
    root = cache_dir() / "images" / "apt"
    for folder in ("state/lists/partial", "cache/archives/partial"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    # An empty status file: apt must resolve every dependency, whatever this machine has installed.
    (root / "status").touch()
    return root


def _apt(*arguments: str) -> str:
    root = _apt_root()
    options = {
        "Dir::State": root / "state",
        "Dir::State::status": root / "status",
        "Dir::Cache": root / "cache",
        "APT::Sandbox::User": "root",
        "APT::Install-Recommends": "false",
        "APT::Keep-Downloaded-Packages": "true",
        "Acquire::Retries": 3,
    }
    flags = [f"-o{name}={value}" for name, value in options.items()]
    result = subprocess.run(["apt-get", "-q", *flags, *arguments], check=False, capture_output=True, text=True)
    if result.returncode != 0:
        raise ImageError(
            f"apt-get {' '.join(arguments)}: {result.stderr.strip()}",
            remedy="the package lists of this machine must name a Debian 12 mirror that has these packages",
        )
    return result.stdout


def _stamp() -> Path:
    """Its time is when the package lists were fetched."""
    return _apt_root() / "refreshed"


def _refresh_lists() -> None:
    if not _stamp().exists() or time.time() - _stamp().stat().st_mtime > _LISTS_MAX_AGE_SECONDS:
        _apt("update")
        _stamp().touch()


@cache
def resolve(packages: tuple[str, ...]) -> tuple[DebianFile, ...]:
    """The package files that these packages need, with all dependencies, in apt's newest versions.

    What apt said is kept until its lists are fetched anew: asking it costs a second each time.

    Raises:
        ImageError: apt knows no such package, or the mirror does not answer.
    """
    root = _apt_root()
    kept = root / "resolved" / f"{hashlib.sha256(' '.join(packages).encode()).hexdigest()[:16]}.json"
    with locked(root / "lock"):
        _refresh_lists()
        if not kept.exists() or kept.stat().st_mtime <= _stamp().stat().st_mtime:
            output = _apt("install", "--simulate", *packages)
            lines = re.findall(r"^Inst (\S+) \((\S+) .*\[(\w+)\]\)", output, re.MULTILINE)
            kept.parent.mkdir(exist_ok=True)
            write_atomically(kept, json.dumps(sorted(lines)))
    return tuple(DebianFile(*line) for line in json.loads(kept.read_text(encoding="utf-8")))


def unpack(packages: Sequence[str], files: Sequence[DebianFile], root: Path) -> dict[str, DebianFile]:
    """Fetch the packages and unpack all files into ``root``; returns which package each path came from.

    Raises:
        ImageError: a download failed, or apt's lists changed since ``files`` were resolved.
    """
    with locked(_apt_root() / "lock"):
        _apt("install", "--download-only", "-y", *packages)
    for old, new in MERGED_FOLDERS.items():
        (root / new).mkdir(parents=True, exist_ok=True)
        (root / old).symlink_to(new)
    owners: dict[str, DebianFile] = {}
    for file in files:
        archive = _apt_root() / "cache" / "archives" / file.file_name
        if not archive.exists():
            raise ImageError(f"apt did not fetch {file.file_name}", remedy="run the build again: the lists changed")
        for member in _unpack_archive(archive, root):
            owners[_merged(member)] = file
    return owners


def _unpack_archive(archive: Path, root: Path) -> list[str]:
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(archive)], stdout=subprocess.PIPE) as contents:
        # Without the option tar would put a folder in the place of the link /lib.
        command = ["tar", "--extract", "--verbose", "--keep-directory-symlink", "--directory", str(root)]
        result = subprocess.run(command, check=False, stdin=contents.stdout, capture_output=True, text=True)
    if result.returncode != 0 or contents.returncode != 0:
        raise ImageError(f"{archive.name} cannot be unpacked: {result.stderr.strip()}", remedy=f"delete {archive}")
    return result.stdout.splitlines()


def _merged(member: str) -> str:
    """A path from a package without ``./``, under the folder that it has on a merged system."""
    path = member.removeprefix("./").rstrip("/")
    first, separator, rest = path.partition("/")
    return f"{MERGED_FOLDERS.get(first, first)}{separator}{rest}"
