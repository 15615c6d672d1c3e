"""The parts of images: each is a folder, built once for its key and kept in the cache."""

import hashlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from lab.images.closure import assemble
from lab.images.debian import resolve, unpack
from lab.images.spec import CommandPart, DebianPart, GoPart, ImageError, ImageSpec, Part, ToolsPart
from lab.toolchain import built_program, go_build, go_environment
from lab.toolchain.build import module_key
from lab.toolchain.tools import module_of
from llmaas.files import locked
from llmaas.paths import PROJECT_ROOT, cache_dir

Report = Callable[[str], None]

_KEY_LENGTH: Final = 16
# Changes when the code here lays parts out differently: old parts are then not taken for new ones.
_LAYOUT: Final = "4"
# In a folder of inputs: what is made of them, and what is told of them.
_IGNORED: Final = {"__pycache__", "node_modules", ".venv", "README.md"}


def digest_of(values: Iterable[str]) -> str:
    """One key for a list of texts."""
    digest = hashlib.sha256()
    for value in values:
        digest.update(value.encode() + b"\0")
    return digest.hexdigest()[:_KEY_LENGTH]


def digest_of_files(patterns: Iterable[str]) -> str:
    """One key for the content of files, given as paths or globs from the project's root; a folder is all in it.

    A README in a folder is no input: an image is the same whatever is told of it.

    Raises:
        ImageError: a pattern matches nothing.
    """
    digest = hashlib.sha256()
    for pattern in patterns:
        matches = sorted(PROJECT_ROOT.glob(pattern))
        if not matches:
            raise ImageError(f"the input {pattern!r} matches no file", remedy="correct it in image.toml")
        for path in matches:
            for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
                if file.is_file() and not _IGNORED.intersection(file.relative_to(path).parts):
                    name = file.relative_to(PROJECT_ROOT)
                    executable = os.access(file, os.X_OK)
                    digest.update(f"{name}\0{executable}\0".encode() + file.read_bytes() + b"\0")
    return digest.hexdigest()[:_KEY_LENGTH]


def part_key(part: Part) -> str:
    """What a part is made of; equal keys are equal parts, also of different images."""
    return digest_of([_LAYOUT, part.model_dump_json(), *_outside_inputs(part)])


def _outside_inputs(part: Part) -> list[str]:
    """What decides a part's content beside its description."""
    match part:
        case DebianPart():
            return [file.file_name for file in resolve(part.packages)]
        case ToolsPart():
            return [module_key(module_of(program)) for program in part.programs]
        case GoPart():
            return [digest_of_files([part.source])]
        case CommandPart():
            return [digest_of_files(part.inputs)]


def image_key(image: ImageSpec) -> str:
    """What an image is made of: its folder, its parts and the further inputs that it names."""
    folder = str(image.folder.relative_to(PROJECT_ROOT))
    parts = [f"{name}={part_key(part)}" for name, part in sorted(image.parts.items())]
    return digest_of([_LAYOUT, digest_of_files([folder, *image.inputs]), *parts])


def ensure_part(name: str, part: Part, report: Report) -> Path:
    """The folder of a part, built now if it is missing; an interrupted build leaves nothing that looks finished.

    Raises:
        ImageError: it cannot be built.
    """
    root = cache_dir() / "images" / "parts"
    root.mkdir(parents=True, exist_ok=True)
    folder = root / f"{part.kind}-{part_key(part)}"
    with locked(root / f".{folder.name}.lock"):
        if folder.is_dir():
            return folder
        started = time.monotonic()
        partial = Path(tempfile.mkdtemp(dir=root, prefix=f".{folder.name}."))
        try:
            partial.chmod(0o755)
            _build(name, part, partial)
            partial.rename(folder)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
    report(f"part {name} ({part.kind}) made in {time.monotonic() - started:.0f} s")
    return folder


def _build(name: str, part: Part, target: Path) -> None:
    match part:
        case DebianPart():
            with tempfile.TemporaryDirectory(dir=target.parent, prefix=".unpacked.") as unpacked:
                owners = unpack(part.packages, resolve(part.packages), Path(unpacked))
                assemble(part, Path(unpacked), owners, target)
        case ToolsPart():
            binaries = target / "usr/local/bin"
            binaries.mkdir(parents=True)
            for program in part.programs:
                shutil.copy2(built_program(program), binaries / program)
        case GoPart():
            command = go_build(target / part.output, ".", "-s -w")
            _run(name, command, PROJECT_ROOT / part.source, go_environment())
        case CommandPart():
            _run(name, part.command, PROJECT_ROOT, {**os.environ, "LLMAAS_PART": str(target)})


def _run(name: str, command: Iterable[str], folder: Path, environment: dict[str, str]) -> None:
    log = cache_dir() / "logs" / f"image-part-{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as output:
        result = subprocess.run(
            list(command),
            check=False,
            cwd=folder,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    if result.returncode != 0:
        raise ImageError(f"part {name}: {' '.join(command)} ended with {result.returncode}", log=log)
