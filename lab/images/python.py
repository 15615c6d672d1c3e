"""The Python of the images: a program of that version on this machine, and bytecode made with it."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from lab.errors import LabError

PYTHON: Final = "python3.11"
STANDARD_LIBRARY: Final = f"usr/lib/{PYTHON}"
_WORKERS: Final = 2


def image_python() -> str:
    """A Python of the images' version on this machine; bytecode and generated code are made with it.

    Raises:
        LabError: there is none.
    """
    path = shutil.which(PYTHON, path=f"/usr/bin{os.pathsep}{os.environ.get('PATH', '')}")
    if path is None:
        raise LabError(f"{PYTHON} is not on this machine", remedy="apt-get install python3.11")
    return path


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


def compile_bytecode(folder: Path, place: str, skip: tuple[str, ...] = ()) -> None:
    """Compile all modules but those under ``skip``; ``place`` is where an image has the folder, from its root.

    A read-only container could not keep the result of doing it later.

    The bytecode is not checked against its source, as nobody can change either in the image.

    Raises:
        LabError: the images' Python is missing.
    """
    pattern = "|".join(re.escape(f"/{name}/") for name in skip) or r"(?!)"
    script = (
        "import compileall, py_compile, re, sys\n"
        "mode = py_compile.PycInvalidationMode.UNCHECKED_HASH\n"
        "compileall.compile_dir(sys.argv[1], maxlevels=50, quiet=2, workers=int(sys.argv[3]), invalidation_mode=mode,\n"
        "    rx=re.compile(sys.argv[2]), stripdir=sys.argv[1], prependdir=sys.argv[4])\n"
    )
    run([image_python(), "-c", script, str(folder), pattern, str(_WORKERS), f"/{place}"])
