"""The authority of an environment on disk: made once, kept in force, and the leaves it issued.

Layout of ``<state>/pki``::

    offline/root.key      signs issuing authorities only; production moves it to a safe
    root.crt  issuing.crt  issuing.key  chain.pem (issuing, then root)
    leaves/<name>/{tls.crt (leaf, then issuing), tls.key, ca.crt (root)}
"""

import datetime as dt
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from llmaas.files import locked, write_atomically
from llmaas.paths import state_dir
from llmaas.pki import certificates as x
from llmaas.pki.certificates import Subject, Usage

__all__ = ["Authority", "Leaf", "PkiError", "Usage", "open_authority"]

_NAME: Final = re.compile(r"[a-z0-9]+([.-][a-z0-9]+)*")
# A leaf is renewed when a month of its ninety days is left; the issuing authority while it still outlives every leaf,
# with a month in which the root's key may be fetched.
_RENEW_LEAF: Final = dt.timedelta(days=30)
_LEAF_LIFE: Final = dt.timedelta(days=x.LEAF_DAYS)
_RENEW_ISSUING: Final = _LEAF_LIFE + dt.timedelta(days=30)


class PkiError(RuntimeError):
    """A certificate cannot be issued; the text says which and what to do."""


@dataclass(frozen=True)
class Leaf:
    """Where a leaf lies: ``certificate`` carries the issuing authority behind it, ``ca`` is the root."""

    name: str
    certificate: Path
    key: Path
    ca: Path

    def parsed(self) -> x509.Certificate:
        """The leaf itself, read from its file."""
        return x509.load_pem_x509_certificate(self.certificate.read_bytes())

    def subject(self) -> Subject:
        """What the leaf is for, read from its file."""
        return x.subject_of(self.parsed())


@dataclass(frozen=True)
class Authority:
    """The issuing authority of one environment, in ``folder``."""

    environment: str
    folder: Path

    @property
    def root(self) -> Path:
        """The certificate that clients trust."""
        return self.folder / "root.crt"

    @property
    def issues_until(self) -> dt.datetime:
        """Until when a new leaf gets its whole lifetime; after that none is issued."""
        return _read_certificate(self.folder / "issuing.crt").not_valid_after_utc - _LEAF_LIFE

    @property
    def notice(self) -> str:
        """That the issuing authority nears its end and the root's key is needed; empty while it is far from it."""
        until = self.issues_until
        if until + _LEAF_LIFE - _now() > _RENEW_ISSUING:
            return ""
        key = self.folder / "offline" / "root.key"
        return (
            f"the issuing authority of {self.environment} ends on {until + _LEAF_LIFE:%Y-%m-%d} and issues certificates"
            f" until {until:%Y-%m-%d}; put the root's key at {key} and run: llmaas pki ensure -e {self.environment}"
        )

    def ensure_leaf(
        self, name: str, *, dns: Iterable[str] = (), addresses: Iterable[str] = (), usage: Usage = "server"
    ) -> Leaf:
        """A leaf in force for ``name``: the one on disk if it still fits, else a new one with a new key.

        Raises:
            PkiError: the name, a DNS name, an address or the usage is not valid, or there is neither name nor address;
                or a new one would end before its time, with the issuing authority.
        """
        subject = _subject(name, dns, addresses, usage)
        with locked(self.folder / ".lock"):
            leaf = self._leaf(name)
            if not self._fits(leaf, subject):
                self._issue(leaf, subject)
        return leaf

    def would_issue(
        self, name: str, *, dns: Iterable[str] = (), addresses: Iterable[str] = (), usage: Usage = "server"
    ) -> bool:
        """Whether ``ensure_leaf`` would make a new leaf now; changes nothing.

        Raises:
            PkiError: the name, a DNS name, an address or the usage is not valid, or there is neither name nor address.
        """
        return not self._fits(self._leaf(name), _subject(name, dns, addresses, usage))

    def leaf(self, name: str) -> Leaf:
        """The leaf on disk. Raises PkiError, with the remedy, when it was never issued."""
        leaf = self._leaf(name)
        if not (leaf.certificate.exists() and leaf.key.exists() and leaf.ca.exists()):
            raise PkiError(
                f"leaf {name!r} is not in {self.folder / 'leaves'}; run: llmaas pki ensure -e {self.environment}"
            )
        return leaf

    def leaves(self) -> tuple[Leaf, ...]:
        """All leaves on disk, by name."""
        names = sorted(path.parent.name for path in (self.folder / "leaves").glob("*/tls.crt"))
        return tuple(self._leaf(name) for name in names)

    def _leaf(self, name: str) -> Leaf:
        folder = self.folder / "leaves" / name
        return Leaf(name, folder / "tls.crt", folder / "tls.key", folder / "ca.crt")

    def _fits(self, leaf: Leaf, subject: Subject) -> bool:
        """Whether the files of ``leaf`` are whole, ours, for ``subject``, and far from their end."""
        issuing = _read_certificate(self.folder / "issuing.crt")
        try:
            certificate, key = leaf.parsed(), _read_key(leaf.key)
            return (
                x.belongs(certificate, key)
                and x.subject_of(certificate) == subject
                and certificate.not_valid_after_utc - _now() > _RENEW_LEAF
                and leaf.ca.read_bytes() == self.root.read_bytes()
                and _signed_by(certificate, issuing)
            )
        except (OSError, ValueError):
            return False

    def _issue(self, leaf: Leaf, subject: Subject) -> None:
        issuing, issuing_key = _read_certificate(self.folder / "issuing.crt"), _read_key(self.folder / "issuing.key")
        if self.issues_until < _now():
            raise PkiError(f"leaf {leaf.name!r} is not issued: it would end before its time; {self.notice}")
        key = x.new_key()
        certificate = x.make_leaf(key, subject, issuing, issuing_key, _now())
        leaf.key.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        write_atomically(leaf.key, x.key_pem(key), mode=0o600)
        write_atomically(leaf.certificate, x.certificate_pem(certificate) + x.certificate_pem(issuing))
        write_atomically(leaf.ca, self.root.read_bytes())


def open_authority(environment: str) -> Authority:
    """The authority of ``environment``: root and issuing authority are made if missing, the latter renewed in time.

    Where the root's key is not here (production keeps it away) an issuing authority that nears its end goes on, and
    ``notice`` tells it.

    Raises:
        PkiError: the issuing authority is over or not whole, and the root's key is not here.
    """
    folder = state_dir(environment) / "pki"
    (folder / "leaves").mkdir(mode=0o755, parents=True, exist_ok=True)
    (folder / "offline").mkdir(mode=0o700, exist_ok=True)
    with locked(folder / ".lock"):
        _ensure_root(folder, environment)
        _ensure_issuing(folder, environment)
    return Authority(environment, folder)


def _subject(name: str, dns: Iterable[str], addresses: Iterable[str], usage: Usage) -> Subject:
    if not _NAME.fullmatch(name):
        raise PkiError(f"leaf {name!r}: a name is lower-case letters and digits in words joined by '-' or '.'")
    try:
        return Subject.of(name, sorted(dns), sorted(addresses), usage)
    except ValueError as error:
        raise PkiError(f"leaf {name!r}: {error}") from error


def _ensure_root(folder: Path, environment: str) -> None:
    if (folder / "root.crt").exists():
        return
    key = x.new_key()
    write_atomically(folder / "offline" / "root.key", x.key_pem(key), mode=0o600)
    write_atomically(folder / "root.crt", x.certificate_pem(x.make_root(key, environment, _now())))


def _ensure_issuing(folder: Path, environment: str) -> None:
    certificate_path, key_path = folder / "issuing.crt", folder / "issuing.key"
    root = _read_certificate(folder / "root.crt")
    root_key_path = folder / "offline" / "root.key"
    least = _RENEW_ISSUING if root_key_path.exists() else dt.timedelta()
    if _issuing_in_force(certificate_path, key_path, root, least):
        return
    if not root_key_path.exists():
        raise PkiError(
            f"the issuing authority of {environment} must be made anew, which takes the root's key: "
            f"put it at {root_key_path} for the length of this command"
        )
    root_key = _read_key(root_key_path)
    if not x.belongs(root, root_key):
        raise PkiError(f"{root_key_path} is not the key of {folder / 'root.crt'}; put the right one there")
    key = x.new_key()
    issuing = x.make_issuing(key, root, root_key, environment, _now())
    write_atomically(key_path, x.key_pem(key), mode=0o600)
    write_atomically(certificate_path, x.certificate_pem(issuing))
    write_atomically(folder / "chain.pem", x.certificate_pem(issuing) + x.certificate_pem(root))


def _issuing_in_force(certificate_path: Path, key_path: Path, root: x509.Certificate, least: dt.timedelta) -> bool:
    try:
        certificate, key = _read_certificate(certificate_path), _read_key(key_path)
    except (OSError, ValueError):
        return False
    in_time = certificate.not_valid_after_utc - _now() > least
    return in_time and x.belongs(certificate, key) and _signed_by(certificate, root)


def _signed_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except Exception:  # noqa: BLE001 - the library raises several kinds; each means no
        return False
    return True


def _read_certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def _read_key(path: Path) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError(f"{path} holds no elliptic-curve key")  # noqa: TRY004 - a damaged file, not a wrong call
    return key


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
