"""The Go compiler: the machine's own where it is new enough, else the release named here, from the module mirror."""

import hashlib
import os
import platform
import re
import shutil
import subprocess
import time
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Final
from urllib.request import urlopen

from lab.errors import LabError
from lab.toolchain.tools import MODULES
from llmaas.files import locked
from llmaas.paths import cache_dir

RELEASE: Final = "1.26.8"
# Of the zip file that the Go module mirror keeps of golang.org/toolchain for this release and these machines.
SHA256: Final = "30c2b1bf7dcc88d3eb0a1364e47ddd9128edb3110a30e8a0ef61cd5856b31de7"
_MACHINE: Final = "x86_64"
_VERSION: Final = f"v0.0.1-go{RELEASE}.linux-amd64"
_DEFAULT_PROXY: Final = "https://proxy.golang.org"
_TIMEOUT_SECONDS: Final = 60

# What is built depends on it. CGO off: the same program runs in an image without a C library and on every host.
BUILD_ENVIRONMENT: Final = {"CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false", "GOWORK": "off"}
# How fast it is built depends on it: a compiler is gone before its garbage, up to this much, is worth collecting.
_COMPILER_MEMORY: Final = {"GOGC": "off", "GOMEMLIMIT": "2GiB"}


def _numbers(version: str) -> tuple[int, int, int]:
    found = [int(number) for number in re.findall(r"\d+", version)[:3]]
    major, minor, patch = (*found, 0, 0, 0)[:3]
    return major, minor, patch


def _oldest() -> tuple[int, int, int]:
    texts = [(module.folder / "go.mod").read_text(encoding="utf-8") for module in MODULES]
    return max(_numbers(match[1]) for text in texts if (match := re.search(r"^go (\S+)$", text, re.MULTILINE)))


# The oldest release that every module of the toolchain takes.
WANTED: Final = _oldest()


class ToolchainError(LabError):
    """A program could not be built; the text names the log and the remedy."""


@cache
def installed_go() -> tuple[Path, str] | None:
    """The compiler on ``PATH`` and its version, such as ``go1.26.8``; None if there is none that is new enough."""
    found = shutil.which("go")
    if found is None:
        return None
    # it would fetch another release of itself for a module that asks for one
    environment = {**os.environ, "GOTOOLCHAIN": "local"}
    done = subprocess.run([found, "env", "GOVERSION"], check=False, capture_output=True, text=True, env=environment)
    version = done.stdout.strip()
    if done.returncode != 0 or _numbers(version.removeprefix("go")) < WANTED:
        return None
    return Path(found), version


def go_version() -> str:
    """Of the compiler that is used, fetched or not."""
    installed = installed_go()
    return installed[1] if installed else f"go{RELEASE}"


def go_program(report: Callable[[str], None] = print) -> Path:
    """The compiler; fetched now if it is missing.

    Raises:
        ToolchainError: it cannot be fetched, or what was fetched is not the release.
    """
    installed = installed_go()
    return installed[0] if installed else _fetched(report)


def go_build(output: Path, package: str, linker_flags: str, report: Callable[[str], None] = print) -> list[str]:
    """The command that builds a package of the folder it is run in, with ``go_environment()``.

    Raises:
        ToolchainError: as of the compiler.
    """
    go = str(go_program(report))
    # The linker leaves the debugger's tables out; so the compiler need not make them.
    return [go, "build", "-trimpath", "-gcflags=all=-dwarf=false", "-ldflags", linker_flags, "-o", str(output), package]


def go_environment() -> dict[str, str]:
    """This process's environment with what a build is to have."""
    return {**os.environ, **BUILD_ENVIRONMENT, **_COMPILER_MEMORY}


def _fetched(report: Callable[[str], None]) -> Path:
    folder = cache_dir() / "toolchain" / f"go-{RELEASE}"
    program = folder / "bin" / "go"
    if program.exists():
        return program
    if platform.machine() != _MACHINE:
        raise ToolchainError(
            f"no Go compiler on PATH, and none is named here for {platform.machine()}",
            remedy=f"install Go {RELEASE} and put it on PATH",
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with locked(folder.with_name(f".{folder.name}.lock")):
        if program.exists():
            return program
        began = time.monotonic()
        partial = folder.with_name(f".{folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        archive = partial / "go.zip"
        _download(archive)
        _unpack(archive, partial / "go")
        (partial / "go").rename(folder)
        shutil.rmtree(partial)
        report(f"Go {RELEASE} fetched in {time.monotonic() - began:.0f} s")
    return program


def _download(archive: Path) -> None:
    proxies = re.split(r"[,|]", os.environ.get("GOPROXY", ""))
    proxy = next((proxy for proxy in proxies if proxy.startswith("https://")), _DEFAULT_PROXY)
    url = f"{proxy.rstrip('/')}/golang.org/toolchain/@v/{_VERSION}.zip"
    remedy = f"name a Go module mirror in GOPROXY, or install Go {RELEASE} and put it on PATH"
    try:
        with urlopen(url, timeout=_TIMEOUT_SECONDS) as answer, archive.open("w+b") as output:  # noqa: S310 - https alone
            shutil.copyfileobj(answer, output)
            output.seek(0)
            digest = hashlib.file_digest(output, "sha256").hexdigest()
    except OSError as error:
        raise ToolchainError(f"fetching {url}: {error}", remedy=remedy) from error
    if digest != SHA256:
        raise ToolchainError(f"{url} is not the release: its SHA-256 is {digest}", remedy=remedy)


def _unpack(archive: Path, folder: Path) -> None:
    """Unpack the module's files, whose names begin with the module's, with their modes."""
    with zipfile.ZipFile(archive) as content:
        for member in content.infolist():
            target = folder / member.filename.partition("/toolchain@")[2].partition("/")[2]
            target.parent.mkdir(parents=True, exist_ok=True)
            with content.open(member) as source, target.open("wb") as output:
                shutil.copyfileobj(source, output)
            target.chmod(member.external_attr >> 16 & 0o755)
