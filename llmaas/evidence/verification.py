"""Verifies a folder of evidence anywhere: needs the folder, a public key and nothing of the platform."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

from llmaas_gateway.audit.signing import EVIDENCE, KeyFormatError, Signed, Verifier

MANIFEST: Final = "manifest.json"
PUBLIC_KEY: Final = "public-key.pem"
STATEMENT: Final = "evidence"


@dataclass(frozen=True)
class Verified:
    """What was found of a folder.

    Attributes:
        environment: as the manifest says; empty if it cannot be read.
        ended: when its checks had ended, as the manifest says.
        key: the id of the key that signed.
        files: how many the manifest names.
        problems: a line for each file that was altered, is missing or was added, and for the signature.
    """

    environment: str = ""
    ended: str = ""
    key: str = ""
    files: int = 0
    problems: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether the folder is as it was signed."""
        return not self.problems


def verify_folder(folder: Path, keys: Iterable[bytes] = ()) -> Verified:
    """Hold a folder against its manifest, and the manifest against its signature.

    Args:
        folder: as ``llmaas evidence`` wrote it.
        keys: public keys that count, in PEM. Without any the folder's own is taken, which shows that nothing was
            changed since but not who signed.

    Raises:
        KeyFormatError: one of ``keys`` is none.
    """
    pems = list(keys)
    try:
        signed = _read_manifest(folder)
    except ValueError as error:
        return Verified(problems=(f"{MANIFEST}: {error}",))
    problems = []
    try:
        verifier = Verifier.from_pems(pems or [(folder / PUBLIC_KEY).read_bytes()], EVIDENCE)
        if problem := verifier.problem(signed):
            problems.append(f"{MANIFEST}: {problem}")
    except OSError as error:
        problems.append(f"{PUBLIC_KEY}: cannot be read: {error.strerror}; give the key by --key")
    except KeyFormatError as error:
        if pems:
            raise
        problems.append(f"{PUBLIC_KEY}: {error}")
    files: dict[str, str] = signed.statement["files"]
    problems += _differences(folder, files)
    environment, ended = str(signed.statement["environment"]), str(signed.statement["ended"])
    return Verified(environment, ended, signed.key, len(files), tuple(problems))


def _read_manifest(folder: Path) -> Signed:
    path = folder / MANIFEST
    try:
        content: Any = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise ValueError("is missing: the folder is not whole, or is no evidence") from None
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ValueError(f"is no JSON: altered ({error})") from error
    try:
        signed = Signed(content["statement"], content["key"], content["signature"])
        whole = (
            signed.statement["is"] == STATEMENT
            and isinstance(signed.statement["files"], Mapping)
            and {"environment", "ended"} <= signed.statement.keys()
            and isinstance(signed.key, str)
            and isinstance(signed.signature, str)
        )
    except (KeyError, TypeError):
        whole = False
    if not whole:
        raise ValueError("is no manifest of evidence: altered")
    return signed


def _differences(folder: Path, files: Mapping[str, Any]) -> Iterator[str]:
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*")}
    for name, digest in files.items():
        place = PurePosixPath(name)
        if place.is_absolute() or ".." in place.parts:
            yield f"{name}: leads out of the folder: the manifest was altered"
        elif name not in found:
            yield f"{name}: is missing"
        elif found[name].is_symlink() or not found[name].is_file():
            yield f"{name}: altered: is no file any more"
        elif hashlib.sha256(found[name].read_bytes()).hexdigest() != digest:
            yield f"{name}: altered"
    folders = {str(parent) for name in files for parent in PurePosixPath(name).parents}
    for name, path in sorted(found.items()):
        known = name in files or name == MANIFEST or (name in folders and not path.is_symlink())
        if not known:
            yield f"{name}: was added"
