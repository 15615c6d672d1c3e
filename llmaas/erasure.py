"""Certificates of erasure: what was erased on a host that leaves, signed; the public key alone verifies them."""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from llmaas_gateway.audit.signing import ERASURE, Signed, Signer, Verifier

from llmaas.files import write_atomically
from llmaas.materials import EVIDENCE_KEY
from llmaas.secrets import SecretStore

KIND: Final = "erasure of a host's data devices"
SIGNATURE_PARTS: Final = frozenset({"statement", "key", "signature"})
NOT_TRIED: Final = "not tried"


class CertificateError(ValueError):
    """A file is no certificate of erasure; the text says why."""


def issue(  # noqa: PLR0913 - what a certificate is made of
    environment: str,
    host: str,
    *,
    erasures: Sequence[Mapping[str, Any]],
    node: str,
    by: str,
    records: Path,
    moment: datetime,
) -> Path:
    """Sign what was erased and write it beside the host's records; the certificate's path.

    Copies of headers and recovery keys that still lie in ``records`` are removed first: with both, and a copy of the
    disk, the data could be read again. The certificate names them, so that copies in the safe are destroyed too.

    Raises:
        CertificateError: what would be signed does not show an erasure.
    """
    copies = sorted(path for path in records.glob("*.age*") if path.is_file())
    statement = {
        "is": KIND,
        "version": 1,
        "environment": environment,
        "host": host,
        "at": moment.astimezone(UTC).isoformat(timespec="seconds"),
        "by": by,
        "node": node,
        "devices": [dict(each) for each in erasures],
        "copies_removed": [path.name for path in copies],
        "to_destroy": [
            f"copies of the header and recovery keys of LUKS {each['luks_uuid']}, wherever they were handed out"
            for each in erasures
        ],
    }
    found = list(shortcomings(statement))
    if found:
        raise CertificateError("; ".join(found))
    signed = Signer.from_secret(SecretStore.open(environment).text(EVIDENCE_KEY), ERASURE).sign(statement)
    for path in copies:
        path.unlink()
    target = records / f"erasure-{moment.astimezone(UTC):%Y%m%dT%H%M%SZ}.json"
    write_atomically(target, json.dumps(signed.content(), indent=2, sort_keys=True) + "\n")
    for each in erasures:
        _note(records / f"{each['purpose']}.json")
    return target


def _note(record: Path) -> None:
    """The volume's record says that it is no more."""
    if record.exists():
        content = json.loads(record.read_text(encoding="utf-8"))
        write_atomically(record, json.dumps({**content, "status": "erased"}, indent=2) + "\n")


def problems(text: str, verifier: Verifier) -> list[str]:
    """Everything that is wrong with a certificate; empty if it holds.

    Raises:
        CertificateError: it is no certificate at all.
    """
    try:
        content: Any = json.loads(text)
    except ValueError as error:
        raise CertificateError(f"no JSON: {error}") from None
    if not isinstance(content, dict) or set(content) != SIGNATURE_PARTS or not isinstance(content["statement"], dict):
        raise CertificateError(f"a certificate has exactly {', '.join(sorted(SIGNATURE_PARTS))}")
    statement = content["statement"]
    wrong = verifier.problem(Signed(statement, str(content["key"]), str(content["signature"])))
    return [*([wrong] if wrong else []), *shortcomings(statement)]


def shortcomings(statement: Mapping[str, Any]) -> Iterator[str]:
    """What a statement must say and does not: every device without slots and bindings, and opened by no key."""
    if statement.get("is") != KIND:
        yield f"it is about {statement.get('is')!r} and not about {KIND!r}"
    for name in ("environment", "host", "at", "by"):
        if not statement.get(name):
            yield f"{name} is missing"
    devices = statement.get("devices")
    if not isinstance(devices, list) or not devices:
        yield "it names no device"
        return
    for index, device in enumerate(devices):
        try:
            yield from (f"devices[{index}] ({device['path']}): {text}" for text in _not_erased(device))
        except (KeyError, TypeError) as error:
            yield f"devices[{index}] is not whole: {error!r}"


def _not_erased(device: Mapping[str, Any]) -> Iterator[str]:
    for name in ("key_slots", "bindings"):
        if device[name]["after"] != 0:
            yield f"{device[name]['after']} {name} are left"
    digests = device["header_sha256"]
    # where an interrupted run had erased all slots, there was nothing left to change
    if device["key_slots"]["before"] and digests["before"] == digests["after"]:
        yield "its header is the same as before"
    if not device["luks_uuid"]:
        yield "its LUKS UUID is missing"
    tried = [entry for entry in device["attempts"] if entry["after"] != NOT_TRIED]
    if not tried:
        yield "nobody tried to open it"
    for entry in tried:
        if entry["after"] == "opened":
            yield f"{entry['with']} still opens it"
