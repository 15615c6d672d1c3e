"""Writes evidence as a folder: all of it or nothing, the signed manifest last."""

import json
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from llmaas_gateway.audit.signing import ERASURE, Signer, Verifier

from llmaas.erasure import CertificateError, problems
from llmaas.evidence.assembly import MAP_COPY, Evidence
from llmaas.evidence.oscal import assessment_results
from llmaas.evidence.report import fleet_picture, html_report, pdf_report
from llmaas.evidence.verification import MANIFEST, PUBLIC_KEY, STATEMENT
from llmaas.verify.inputs import digest_of
from llmaas.views.zone_drawing import zone_picture

CERTIFICATES: Final = "certificates"


class FolderError(ValueError):
    """A folder that cannot be written; the text says why and what to do."""


def check_target(folder: Path) -> None:
    """Refuse a place where nothing can be written, before minutes are spent on checks.

    Raises:
        FolderError: it is there already, or the folder that it should stand in is not.
    """
    if folder.exists() or folder.is_symlink():
        raise FolderError(f"--output: {folder} is there already; evidence is never written over, choose another name")
    if not folder.parent.is_dir():
        raise FolderError(f"--output: {folder.parent} is no folder; make it, or choose another")


def read_certificates(folder: Path | None, public_keys: Sequence[str | bytes]) -> dict[str, bytes]:
    """The certificates of erasure below a folder, by what they are called within the evidence.

    Nothing else that lies there is taken: a host's folder has copies of headers and keys too.

    Raises:
        FolderError: there are none, or one holds under none of ``public_keys``.
        KeyFormatError: one of them is no public key.
    """
    if folder is None:
        return {}
    if not folder.is_dir():
        raise FolderError(f"--certificates: {folder} is no folder")
    paths = sorted(path for path in folder.rglob("erasure-*.json") if path.is_file())
    if not paths:
        raise FolderError(f"--certificates: {folder} holds no certificate of erasure (erasure-*.json)")
    verifier = Verifier.from_pems(public_keys, ERASURE)
    found, wrong = {}, []
    for path in paths:
        content = path.read_bytes()
        try:
            wrong += [f"{path}: {problem}" for problem in problems(content.decode(errors="replace"), verifier)]
        except CertificateError as error:
            wrong.append(f"{path}: {error}")
        found[f"{CERTIFICATES}/{path.relative_to(folder).as_posix()}"] = content
    if wrong:
        hint = "if the key was replaced since, give the old public key with --certificate-key"
        raise FolderError(f"--certificates: {'; '.join(wrong)}; {hint}")
    return found


def write_folder(
    evidence: Evidence,
    target: Path,
    signer: Signer,
    *,
    certificates: Mapping[str, bytes],
    on_part: Callable[[str], None],
) -> None:
    """Write everything below ``target``, which must not be there; ``on_part`` is told what is being written.

    Raises:
        FolderError: the folder cannot be made.
        OscalError: the results are no valid OSCAL.
    """
    check_target(target)
    try:
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    except OSError as error:
        raise FolderError(f"--output: {target.parent}: {error.strerror}; choose another folder") from error
    try:
        for name, content in _contents(evidence, certificates, on_part).items():
            path = temporary / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        (temporary / PUBLIC_KEY).write_text(signer.public_pem(), encoding="utf-8")
        on_part(MANIFEST)
        (temporary / MANIFEST).write_text(_manifest(evidence, temporary, signer), encoding="utf-8")
        temporary.chmod(0o755)
        temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _contents(
    evidence: Evidence, certificates: Mapping[str, bytes], on_part: Callable[[str], None]
) -> dict[str, bytes]:
    on_part("assessment-results.json")
    oscal = assessment_results(evidence)
    on_part("report.html")
    html = html_report(evidence)
    on_part("report.pdf")
    files = {
        "assessment-results.json": oscal.encode(),
        "record.json": (evidence.verdict.as_json() + "\n").encode(),
        "inputs.json": _inputs(evidence).encode(),
        "report.html": html.encode(),
        "report.pdf": pdf_report(html, evidence),
        "zones.svg": zone_picture(evidence.platform).encode(),
        MAP_COPY: evidence.map_file.read_bytes(),
        **certificates,
    }
    fleet = fleet_picture(evidence.platform)
    if fleet:
        files["fleet.svg"] = fleet.encode()
    return files


def _inputs(evidence: Evidence) -> str:
    content = {
        "environment": evidence.platform.environment,
        "commit": evidence.source.commit,
        "changed_since_commit": evidence.source.changed,
        "files": dict(evidence.inputs),
        "records_were_made_against_others": list(evidence.differences),
    }
    return json.dumps(content, indent=2) + "\n"


def _manifest(evidence: Evidence, folder: Path, signer: Signer) -> str:
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    statement = {
        "is": STATEMENT,
        "environment": evidence.platform.environment,
        "ended": evidence.verdict.ended,
        "files": {name: digest_of(folder / name) for name in names},
    }
    return json.dumps(signer.sign(statement).content(), ensure_ascii=False, indent=2) + "\n"
