"""The package mirror: what the hosts may install, with all that it needs, signed with a key of the lab."""

import hashlib
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from lab.base import MIRROR_REMEDY, SUITE, base_folder, base_key, packages
from lab.command import run
from lab.layout import Layout
from llmaas.files import write_atomically

_PACKAGES: Final = Path(__file__).with_name("packages.txt")
_SIGNER: Final = "llmaas lab packages"
_INDEX: Final = "dists/{suite}/main/binary-amd64"


def mirror_folder(layout: Layout) -> Path:
    """Where the packages for today's list and today's base disk lie."""
    content = repr((packages(_PACKAGES), base_key(), SUITE))
    return layout.cache / f"packages-{hashlib.sha256(content.encode()).hexdigest()[:12]}"


def ensure_packages(layout: Layout, log: Path) -> Path:
    """Download the packages and what they need beyond the base disk, and index them; whole or not at all."""
    folder = mirror_folder(layout)
    if folder.exists():
        return folder
    for left in layout.cache.glob("packages-*.part"):
        shutil.rmtree(left)
    part = folder.with_name(folder.name + ".part")
    run(["apt-get", "-o", "DPkg::Lock::Timeout=600", "update"], log=log, remedy=MIRROR_REMEDY)
    download(packages(_PACKAGES), base_folder(layout), part / "pool", log)
    index = part / _INDEX.format(suite=SUITE)
    index.mkdir(parents=True)
    write_atomically(index / "Packages", run(["apt-ftparchive", "packages", "pool"], cwd=part))
    run(["xz", "--keep", index / "Packages"])
    run(["sync", "--file-system", part])
    part.rename(folder)
    return folder


def download(names: Sequence[str], base: Path, pool: Path, log: Path) -> None:
    """Fetch packages, and what they need beyond the base disk, into the new folder ``pool``."""
    (pool / "partial").mkdir(parents=True)
    options = {
        # the base disk says what a host has already; packages it has in an older version are fetched as well
        "Dir::State::status": base / "var/lib/dpkg/status",
        "Dir::Cache::archives": pool,
        "APT::Keep-Downloaded-Packages": "true",
        "APT::Install-Recommends": "false",
        "APT::Sandbox::User": "root",
        "Debug::NoLocking": "true",
    }
    arguments = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    run(["apt-get", *arguments, "--yes", "--download-only", "install", *names], log=log, remedy=MIRROR_REMEDY)
    shutil.rmtree(pool / "partial")
    (pool / "lock").unlink(missing_ok=True)


def publish_packages(layout: Layout, log: Path) -> Path:
    """Sign the index with this lab's key; the folder to serve, and the key beside it as ``packages.asc``."""
    source = ensure_packages(layout, log)
    served = _served(layout)
    mark = served / "source"
    if mark.exists() and mark.read_text(encoding="utf-8") == str(source):
        return served
    shutil.rmtree(served, ignore_errors=True)
    shutil.copytree(source / "dists" / SUITE, served / "dists" / SUITE)
    _sign_index(layout, log)
    shutil.copy(layout.site / "packages.asc", served / "packages.asc")
    write_atomically(mark, str(source))
    return served


def add_packages(layout: Layout, files: Sequence[Path], log: Path) -> None:
    """Put packages into the mirror that this lab serves, beside what it has; they are gone with the lab."""
    served = _served(layout)
    added = served / "added"
    added.mkdir(exist_ok=True)
    for file in files:
        shutil.copy(file, added)
    index = served / _INDEX.format(suite=SUITE) / "Packages"
    of_lists = (ensure_packages(layout, log) / _INDEX.format(suite=SUITE) / "Packages").read_text(encoding="utf-8")
    write_atomically(index, of_lists + run(["apt-ftparchive", "packages", "added"], cwd=served))
    run(["xz", "--keep", "--force", index])
    _sign_index(layout, log)


def _served(layout: Layout) -> Path:
    return layout.site / "debian"


def _sign_index(layout: Layout, log: Path) -> None:
    """Write the release file of what is served, signed; the key is made at the first time."""
    home = layout.site / "gnupg"
    home.mkdir(mode=0o700, exist_ok=True)
    gpg = ["gpg", "--homedir", str(home), "--batch", "--yes", "--quiet"]
    try:
        if subprocess.run([*gpg, "--list-secret-keys", _SIGNER], check=False, capture_output=True).returncode:
            run([*gpg, "--passphrase", "", "--quick-generate-key", _SIGNER, "ed25519", "sign", "never"], log=log)
        write_atomically(layout.site / "packages.asc", run([*gpg, "--armor", "--export", _SIGNER]))
        dists = _served(layout) / "dists" / SUITE
        for signed_before in ("Release", "InRelease"):
            (dists / signed_before).unlink(missing_ok=True)
        fields = {"Origin": "llmaas", "Suite": SUITE, "Codename": SUITE, "Architectures": "amd64", "Components": "main"}
        settings = [w for name, value in fields.items() for w in ("-o", f"APT::FTPArchive::Release::{name}={value}")]
        release = run(["apt-ftparchive", *settings, "release", "."], cwd=dists)
        (dists / "Release").write_text(release, encoding="utf-8")
        run([*gpg, "--clearsign", "--output", dists / "InRelease", dists / "Release"], log=log)
    finally:
        # gpg leaves its agent running
        subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=False, capture_output=True)
