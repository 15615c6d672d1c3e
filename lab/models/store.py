"""The site's artefact store: a folder for each artefact, its files exactly those of the declared manifest."""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

from lab.errors import LabError
from lab.layout import ENVIRONMENT
from lab.models import tiny_llama
from llmaas.paths import artefact_folder
from llmaas.settings import load_platform
from llmaas.settings.recorded import manifest_file

_MAKERS: dict[str, Callable[[], dict[str, bytes]]] = {"tiny-llama": tiny_llama.files}


def manifest_text(files: dict[str, bytes]) -> str:
    """Lines as `sha256sum` writes them."""
    return "".join(f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in sorted(files))


def ensure_models(report: Callable[[str], None] = print) -> None:
    """Make or import every artefact of the stack file that the store does not hold as declared.

    Raises:
        LabError: an artefact cannot be made here, or what was made is not what its manifest declares.
    """
    platform = load_platform(ENVIRONMENT)
    for artefact in platform.artefacts:
        manifest = manifest_file(platform, artefact.name)
        folder = artefact_folder(artefact.name)
        if not manifest.exists():
            raise LabError(f"artefact {artefact.name}: its manifest {manifest} is missing")
        declared = manifest.read_text(encoding="ascii")
        if folder.is_dir() and manifest_text(_read(folder)) == declared:
            report(f"{artefact.name}: as declared")
            continue
        _make(artefact.name, folder, declared, manifest)
        report(f"{artefact.name}: made")


def _make(name: str, folder: Path, declared: str, manifest: Path) -> None:
    if name not in _MAKERS:
        raise LabError(
            f"artefact {name}: {folder} does not hold the files that {manifest} declares",
            remedy=f"put the weights there: sha256sum --check {manifest} must pass in that folder",
        )
    files = _MAKERS[name]()
    if manifest_text(files) != declared:
        raise LabError(
            f"artefact {name}: what was made differs from {manifest}",
            remedy="if the model was changed on purpose, write its manifest: python -m lab.models.write_manifest",
        )
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    for file, content in files.items():
        (part / file).write_bytes(content)
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)


def _read(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
