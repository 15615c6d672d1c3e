"""Makes and reads X.509 certificates. Pure functions of keys, names and times; the files are ``authority``'s."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final, Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

Usage = Literal["server", "client", "both"]

ROOT_DAYS: Final = 3652  # ten years
ISSUING_DAYS: Final = 731  # two years
LEAF_DAYS: Final = 90

# A clock that runs a little late on one host must not refuse a certificate made a moment ago.
_CLOCK_SKEW: Final = dt.timedelta(minutes=10)
_COMMON_NAME_LENGTH: Final = 64

_PURPOSES: Final[dict[Usage, tuple[ObjectIdentifier, ...]]] = {
    "server": (ExtendedKeyUsageOID.SERVER_AUTH,),
    "client": (ExtendedKeyUsageOID.CLIENT_AUTH,),
    "both": (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH),
}


@dataclass(frozen=True)
class Subject:
    """What a leaf is for: its common name, every name and address it answers to, and in which role."""

    name: str
    dns: frozenset[str]
    addresses: frozenset[IPv4Address | IPv6Address]
    usage: Usage

    @classmethod
    def of(cls, name: str, dns: Sequence[str], addresses: Sequence[str], usage: Usage) -> "Subject":
        """From plain text. Raises ValueError when a part is not what it should be."""
        if usage not in _PURPOSES:
            raise ValueError(f"usage {usage!r}: one of {', '.join(_PURPOSES)}")
        if not dns and not addresses:
            raise ValueError("no dns name and no address: a certificate without a subject alternative name fits nobody")
        if len(name) > _COMMON_NAME_LENGTH:
            raise ValueError(f"name is longer than the {_COMMON_NAME_LENGTH} characters that a common name may have")
        return cls(name, frozenset(dns), frozenset(ip_address(address) for address in addresses), usage)


def new_key() -> ec.EllipticCurvePrivateKey:
    """A fresh ECDSA P-256 key."""
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """``key`` unencrypted, PKCS #8: every server we run reads that."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def certificate_pem(certificate: x509.Certificate) -> bytes:
    """``certificate`` as PEM text."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def make_root(key: ec.EllipticCurvePrivateKey, environment: str, now: dt.datetime) -> x509.Certificate:
    """The root of ``environment``: signs issuing authorities and nothing else."""
    name = _name(f"LLMaaS {environment} root")
    return _authority(key, name, key, name, path_length=1, not_after=now + dt.timedelta(days=ROOT_DAYS), now=now)


def make_issuing(
    key: ec.EllipticCurvePrivateKey,
    root: x509.Certificate,
    root_key: ec.EllipticCurvePrivateKey,
    environment: str,
    now: dt.datetime,
) -> x509.Certificate:
    """The issuing authority: path length 0, so it cannot make another authority."""
    name = _name(f"LLMaaS {environment} issuing")
    not_after = min(now + dt.timedelta(days=ISSUING_DAYS), root.not_valid_after_utc)
    return _authority(key, name, root_key, root.subject, path_length=0, not_after=not_after, now=now)


def make_leaf(
    key: ec.EllipticCurvePrivateKey,
    subject: Subject,
    issuing: x509.Certificate,
    issuing_key: ec.EllipticCurvePrivateKey,
    now: dt.datetime,
) -> x509.Certificate:
    """A certificate for ``subject``, never valid longer than its issuer."""
    not_after = min(now + dt.timedelta(days=LEAF_DAYS), issuing.not_valid_after_utc)
    names: list[x509.GeneralName] = [x509.DNSName(name) for name in sorted(subject.dns)]
    names += [x509.IPAddress(address) for address in sorted(subject.addresses, key=str)]
    builder = _builder(key, _name(subject.name), issuing_key, issuing.subject, now, not_after)
    return (
        builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage(list(_PURPOSES[subject.usage])), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(issuing_key, hashes.SHA256())
    )


def subject_of(certificate: x509.Certificate) -> Subject:
    """What ``certificate`` was made for. Raises ValueError for one that ``make_leaf`` did not make."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        purposes = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound as error:
        raise ValueError(f"the certificate lacks an extension: {error}") from error
    usages = [usage for usage, wanted in _PURPOSES.items() if set(purposes) == set(wanted)]
    common = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    if not usages or not common:
        raise ValueError("the certificate has no common name or purposes of its own")
    return Subject(
        str(common[0].value),
        frozenset(names.get_values_for_type(x509.DNSName)),
        frozenset(
            address
            for address in names.get_values_for_type(x509.IPAddress)
            if isinstance(address, IPv4Address | IPv6Address)
        ),
        usages[0],
    )


def belongs(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> bool:
    """Whether ``key`` is the private half of ``certificate``."""
    return certificate.public_key() == key.public_key()


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _builder(  # noqa: PLR0913, PLR0917 - the six parts that every certificate has
    key: ec.EllipticCurvePrivateKey,
    name: x509.Name,
    signer: ec.EllipticCurvePrivateKey,
    issuer: x509.Name,
    now: dt.datetime,
    not_after: dt.datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(not_after)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )


def _authority(  # noqa: PLR0913 - as above, for authorities
    key: ec.EllipticCurvePrivateKey,
    name: x509.Name,
    signer: ec.EllipticCurvePrivateKey,
    issuer: x509.Name,
    *,
    path_length: int,
    not_after: dt.datetime,
    now: dt.datetime,
) -> x509.Certificate:
    return (
        _builder(key, name, signer, issuer, now, not_after)
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(_key_usage(sign_certificates=True), critical=True)
        .sign(signer, hashes.SHA256())
    )


def _key_usage(*, digital_signature: bool = False, sign_certificates: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        encipher_only=False,
        decipher_only=False,
    )
