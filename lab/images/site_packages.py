"""Python packages of an image, from a lock file with hashes, without what a server never reads.

``python -m lab.images.site_packages LOCK`` fills ``$LLMAAS_PART/opt/site-packages``. The images put that folder on
``PYTHONPATH``: no virtual environment, no scripts, nothing that knows the path at which it was made.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from lab.errors import LabError
from llmaas.paths import PROJECT_ROOT, cache_dir

PYTHON: Final = "python3.11"
# The C library of the images' Debian. An older one would refuse wheels and build them from source, with compilers that
# a fresh machine lacks.
_PLATFORM: Final = "x86_64-manylinux_2_36"
# Only for who compiles or tests against a package; nothing of it is read when it runs.
_UNREAD_SUFFIXES: Final = (".a", ".cu", ".cuh", ".dbg", ".h", ".hpp", ".lib", ".pyi")
_UNREAD_FOLDERS: Final = ("tests", "__pycache__")
_UNREAD_AT_ROOT: Final = ("bin", "include", "share")
_STRIP_ABOVE_BYTES: Final = 256 * 1024
_WORKERS: Final = 2


def part_folder() -> Path:
    """The folder that a ``command`` part has to fill.

    Raises:
        LabError: the program was not started by the image builder.
    """
    try:
        return Path(os.environ["LLMAAS_PART"])
    except KeyError:
        raise LabError("LLMAAS_PART names no folder", remedy="start this by: llmaas images build") from None


def image_python() -> str:
    """A Python of the images' version on this machine; bytecode and generated code are made with it.

    Raises:
        LabError: there is none.
    """
    path = shutil.which(PYTHON, path=f"/usr/bin{os.pathsep}{os.environ.get('PATH', '')}")
    if path is None:
        raise LabError(f"{PYTHON} is not on this machine", remedy="apt-get install python3.11")
    return path


def install(lock: Path, folder: Path) -> None:
    """Install exactly the locked packages, hashes checked, into ``folder``; the network is uv's ordinary index.

    Raises:
        LabError: uv is missing or a package cannot be installed.
    """
    found = sorted(cache_dir().glob("uv-*/bin/uv"))
    uv = str(found[-1]) if found else shutil.which("uv")
    if uv is None:
        raise LabError("uv is missing", remedy="bin/bootstrap")
    target = ["--target", str(folder), "--python", image_python(), "--python-platform", _PLATFORM]
    # --link-mode copy: the files are changed below, and links would change uv's own cache
    exactly = ["--require-hashes", "--no-deps", "--only-binary", ":all:", "--link-mode", "copy"]
    run([uv, "pip", "install", "--quiet", *exactly, *target, "--requirement", str(lock)])


def run(command: Iterable[str], environment: dict[str, str] | None = None, folder: Path | None = None) -> str:
    """Run a program and return what it wrote.

    Raises:
        LabError: it failed; the text is its own.
    """
    words = list(command)
    result = subprocess.run(
        words, check=False, capture_output=True, text=True, cwd=folder, env={**os.environ, **(environment or {})}
    )
    if result.returncode != 0:
        raise LabError(
            f"{' '.join(words[:4])} ended with {result.returncode}: {(result.stderr or result.stdout)[-3000:]}"
        )
    return result.stdout


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


def compile_bytecode(folder: Path, skip: tuple[str, ...] = ()) -> None:
    """Compile all modules but those under ``skip``: a read-only container could not keep the result of doing it later.

    The bytecode is not checked against its source, as nobody can change either in the image.

    Raises:
        LabError: the images' Python is missing.
    """
    pattern = "|".join(re.escape(f"/{name}/") for name in skip) or r"(?!)"
    script = (
        "import compileall, py_compile, re, sys\n"
        "mode = py_compile.PycInvalidationMode.UNCHECKED_HASH\n"
        "compileall.compile_dir(sys.argv[1], maxlevels=50, quiet=2, workers=int(sys.argv[3]), invalidation_mode=mode,\n"
        "    rx=re.compile(sys.argv[2]), stripdir=sys.argv[1], prependdir='/opt/site-packages')\n"
    )
    run([image_python(), "-c", script, str(folder), pattern, str(_WORKERS)])


def make(lock: Path, skip_bytecode: tuple[str, ...] = ()) -> Path:
    """Install, reduce and compile; returns the folder of packages."""
    folder = part_folder() / "opt/site-packages"
    install(lock, folder)
    drop_unread(folder)
    strip_symbols(folder)
    compile_bytecode(folder, skip_bytecode)
    return folder


if __name__ == "__main__":
    make(PROJECT_ROOT / sys.argv[1])
