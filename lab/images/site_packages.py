"""Python packages of an image, from a lock file with hashes, without what a server never reads.

``python -m lab.images.site_packages LOCK`` fills ``$LLMAAS_PART/opt/site-packages``. The images put that folder on
``PYTHONPATH``: no virtual environment, no scripts, nothing that knows the path at which it was made.
"""

import os
import re
import shutil
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import distributions
from pathlib import Path
from typing import Final

from lab.errors import LabError
from lab.images.python import compile_bytecode, image_python, run
from llmaas.paths import PROJECT_ROOT, cache_dir

# The C library of the images' Debian. An older one would refuse wheels and build them from source, with compilers that
# a fresh machine lacks.
_PLATFORM: Final = "x86_64-manylinux_2_36"
# Only for who compiles or tests against a package; nothing of it is read when it runs.
_UNREAD_SUFFIXES: Final = (".a", ".cu", ".cuh", ".dbg", ".h", ".hpp", ".lib", ".pyi")
_UNREAD_FOLDERS: Final = ("tests", "__pycache__")
_UNREAD_AT_ROOT: Final = ("bin", "include", "share")
_STRIP_ABOVE_BYTES: Final = 256 * 1024
_WORKERS: Final = 2
SITE_PACKAGES: Final = "opt/site-packages"


def part_folder() -> Path:
    """The folder that a ``command`` part has to fill.

    Raises:
        LabError: the program was not started by the image builder.
    """
    try:
        return Path(os.environ["LLMAAS_PART"])
    except KeyError:
        raise LabError("LLMAAS_PART names no folder", remedy="start this by: llmaas images build") from None


def install(lock: Path, folder: Path) -> None:
    """Install exactly the locked packages, hashes checked, into ``folder``; the network is uv's ordinary index.

    Raises:
        LabError: uv is missing, or a package cannot be installed or was left out.
    """
    found = sorted(cache_dir().glob("uv-*/bin/uv"))
    uv = str(found[-1]) if found else shutil.which("uv")
    if uv is None:
        raise LabError("uv is missing", remedy="bin/bootstrap")
    target = ["--target", str(folder), "--python", image_python(), "--python-platform", _PLATFORM]
    # --link-mode copy: the files are changed below, and links would change uv's own cache
    exactly = ["--require-hashes", "--no-deps", "--only-binary", ":all:", "--link-mode", "copy"]
    folder.mkdir(parents=True)
    # From there uv finds no pyproject.toml: what this project leaves out of its own environment is not for an image.
    run([uv, "pip", "install", "--quiet", *exactly, *target, "--requirement", str(lock)], folder=folder)
    left_out = _locked_names(lock) - {_canonical(package.name) for package in distributions(path=[str(folder)])}
    if left_out:
        raise LabError(
            f"uv installed {lock} without {', '.join(sorted(left_out))}",
            remedy="look whether a uv.toml, or a pyproject.toml above LLMAAS_CACHE, excludes it",
        )


def _locked_names(lock: Path) -> set[str]:
    """The packages of a lock file."""
    return {_canonical(name) for name in re.findall(r"^([\w.-]+)==", lock.read_text(encoding="utf-8"), re.MULTILINE)}


def _canonical(name: str) -> str:
    """A package's name as it is compared; https://packaging.python.org/en/latest/specifications/name-normalization/."""
    return re.sub(r"[-_.]+", "-", name).lower()


def drop_unread(folder: Path) -> None:
    """Delete what only compilers and test runs read."""
    for name in _UNREAD_AT_ROOT:
        shutil.rmtree(folder / name, ignore_errors=True)
    for parent, folders, files in os.walk(folder):
        for name in [name for name in folders if name in _UNREAD_FOLDERS]:
            shutil.rmtree(Path(parent) / name)
            folders.remove(name)
        for name in files:
            if name.endswith(_UNREAD_SUFFIXES):
                (Path(parent) / name).unlink()


def libraries(folder: Path) -> Iterator[Path]:
    """Shared libraries and extension modules below ``folder``."""
    for path in sorted(folder.rglob("*")):
        if re.search(r"\.so(\.[0-9.]+)?$", path.name) and path.is_file() and not path.is_symlink():
            yield path


def strip_symbols(folder: Path) -> None:
    """Take debug symbols out of the larger libraries; their exported symbols stay.

    Raises:
        LabError: a library cannot be stripped.
    """
    if shutil.which("strip") is None:
        raise LabError("strip is not on this machine", remedy="apt-get install binutils")
    large = [path for path in libraries(folder) if path.stat().st_size > _STRIP_ABOVE_BYTES]
    # .libs folders hold libraries whose headers the wheel's maker moved: strip would break their alignment
    large = [path for path in large if not path.parent.name.endswith(".libs")]
    with ThreadPoolExecutor(_WORKERS) as pool:
        list(pool.map(lambda path: run(["strip", "--strip-unneeded", str(path)]), large))


def make(lock: Path, skip_bytecode: tuple[str, ...] = ()) -> Path:
    """Install, reduce and compile; returns the folder of packages."""
    folder = part_folder() / SITE_PACKAGES
    install(lock, folder)
    drop_unread(folder)
    strip_symbols(folder)
    compile_bytecode(folder, SITE_PACKAGES, skip_bytecode)
    return folder


if __name__ == "__main__":
    make(PROJECT_ROOT / sys.argv[1])
