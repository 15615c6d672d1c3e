"""Signatures of the platform over statements: Ed25519 over canonical JSON."""

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from llmaas_gateway.audit.records import canonical

# What is signed for one purpose is good for no other.
AUDIT: Final = b"llmaas-audit-1\n"
EVIDENCE: Final = b"llmaas-evidence-1\n"
ERASURE: Final = b"llmaas-erasure-1\n"
_SEED_BYTES: Final = 32
_SIGNATURE: Final = re.compile(r"[0-9a-f]{128}")


class KeyFormatError(ValueError):
    """A key that cannot be used; the text says what one looks like."""


@dataclass(frozen=True, slots=True)
class Signed:
    """A statement with its signature.

    Attributes:
        statement: what is claimed; ``statement["is"]`` tells what kind of claim.
        key: the id of the key that signed it.
        signature: 64 bytes in hexadecimal.
    """

    statement: Mapping[str, Any]
    key: str
    signature: str

    def content(self) -> dict[str, Any]:
        """As plain data."""
        return {"statement": dict(self.statement), "key": self.key, "signature": self.signature}


def key_id(public: Ed25519PublicKey) -> str:
    """What a key is called: the first half of the SHA-256 of its 32 bytes."""
    return hashlib.sha256(public.public_bytes(Encoding.Raw, PublicFormat.Raw)).hexdigest()[:32]


class Signer:
    """Holds a private key of the platform, for one purpose."""

    def __init__(self, private: Ed25519PrivateKey, purpose: bytes = AUDIT) -> None:
        self._private = private
        self._purpose = purpose
        self.key = key_id(private.public_key())

    @classmethod
    def from_secret(cls, text: str, purpose: bytes = AUDIT) -> "Signer":
        """From 32 random bytes in URL-safe base64, as ``llmaas.secrets`` makes them.

        Raises:
            KeyFormatError: it is something else.
        """
        try:
            seed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            seed = b""
        if len(seed) != _SEED_BYTES:
            raise KeyFormatError("the signing key is not 32 bytes in URL-safe base64 (43 characters)")
        return cls(Ed25519PrivateKey.from_private_bytes(seed), purpose)

    def sign(self, statement: Mapping[str, Any]) -> Signed:
        """The statement, signed."""
        message = self._purpose + canonical(statement).encode()
        return Signed(statement, self.key, self._private.sign(message).hex())

    def public_pem(self) -> str:
        """The public key, for whoever verifies."""
        public = self._private.public_key()
        return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


class Verifier:
    """Knows the public keys that count, for one purpose."""

    def __init__(self, keys: Iterable[Ed25519PublicKey], purpose: bytes = AUDIT) -> None:
        self._keys = {key_id(key): key for key in keys}
        self._purpose = purpose

    @classmethod
    def from_pems(cls, pems: Iterable[str | bytes], purpose: bytes = AUDIT) -> "Verifier":
        """From public keys as ``llmaas audit key`` prints them; several where keys were changed.

        Raises:
            KeyFormatError: one of them is no Ed25519 public key.
        """
        keys = []
        for pem in pems:
            try:
                key = load_pem_public_key(pem.encode() if isinstance(pem, str) else pem)
            except ValueError:
                key = None
            if not isinstance(key, Ed25519PublicKey):
                raise KeyFormatError(
                    "not an Ed25519 public key in PEM; print it with: llmaas audit key, llmaas evidence key"
                )
            keys.append(key)
        return cls(keys, purpose)

    def problem(self, signed: Signed) -> str:
        """What is wrong with a signature; empty if it holds."""
        public = self._keys.get(signed.key)
        if public is None:
            return (
                f"signed with key {signed.key}, which is not among the given ones ({', '.join(self._keys) or 'none'})"
            )
        if not _SIGNATURE.fullmatch(signed.signature):
            return "the signature is not 128 hexadecimal digits: altered"
        try:
            public.verify(bytes.fromhex(signed.signature), self._purpose + canonical(signed.statement).encode())
        except (InvalidSignature, ValueError):
            return "the signature does not fit the statement: one of them was altered"
        return ""
