"""What a deployment needs beside the settings and lies on this machine: image references, certificates, secrets."""

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import yaml
from cryptography.x509 import load_pem_x509_certificates
from llmaas_gateway.price_file import load_price_book
from llmaas_gateway.prices import PriceError, Unit

from llmaas.paths import stack_file, state_dir
from llmaas.pki import Authority, Leaf, open_authority
from llmaas.secrets import SecretStore
from llmaas.settings import AlertReceiver, Platform, SettingsError
from llmaas.settings.gpu_sets import foreign_images, runtime_set
from llmaas.settings.recorded import file_digests, manifest_file
from llmaas.views.leaves import LeafRequest, leaf_requests
from llmaas.views.litellm import TokenPrices
from llmaas.views.topology import TOKENIZER_FILE, served_artefacts, served_models

_BY_DIGEST: Final = re.compile(r"\S+@sha256:[0-9a-f]{64}")
# Signs the audit: 32 random bytes, the seed of an Ed25519 key.
AUDIT_KEY: Final = "audit-signing-key"
# Signs evidence and certificates of erasure. Not the audit's key: that one lies in the cluster, and whoever holds the
# gateway must not sign what is said of it.
EVIDENCE_KEY: Final = "evidence-signing-key"
# The one certificate of package mirror, artefact store and registry.
SITE_LEAF: Final = "site"
# That of the site's Alertmanager, where our authority vouches for it.
RECEIVER_LEAF: Final = "alert-receiver"
# What alerts call the authority that issues all others.
ISSUING_AUTHORITY: Final = "issuing-authority"
# Before the name of a host in the name of its certificate, which the role trust asks for.
_HOST_LEAF: Final = "host-"
WORKLOAD_IMAGES: Final = ("haproxy", "litellm", "postgres", "prometheus", "redis", "vllm")


class MaterialError(RuntimeError):
    """Something that must be made before a deployment is not there; the text names the command that makes it."""


@dataclass(frozen=True)
class LeafFiles:
    """A certificate as it goes into the cluster; ``serial`` tells one issue from the next and is no secret."""

    request: LeafRequest
    certificate: str
    key: str
    ca: str
    serial: str


@dataclass(frozen=True)
class Materials:
    """Everything that the components are given and that is not in the stack file.

    ``prices`` are those in force, as LiteLLM counts them; ``price_book`` is the whole file, which the gateway reads.
    ``certificate_ends`` says by its name when each certificate in use ends, in the cluster or on a host;
    ``certificate_notice`` that the issuing authority nears its end, if it does.
    ``tokenizers`` are digests of ``tokenizer.json`` by artefact, as ``read_tokenizers`` gives them.
    ``receiver_authority`` is what ``read_receiver_authority`` gives.
    """

    images: Mapping[str, str]
    leaves: Mapping[str, LeafFiles]
    certificate_ends: Mapping[str, datetime]
    certificate_notice: str
    postgres_superuser: str
    postgres_litellm: str
    redis: str
    litellm_master_key: str
    litellm_salt_key: str
    cache_salt: str
    audit_key: str
    kubeconfig: str
    version_key: str
    prices: Mapping[str, TokenPrices]
    price_book: str
    tokenizers: Mapping[str, str]
    receiver_authority: str

    def version(self, *values: str) -> str:
        """A mark of secret values that changes with them and tells nothing about them to whoever lacks the key."""
        text = "\0".join(values).encode()
        return hmac.new(self.version_key.encode(), text, hashlib.sha256).hexdigest()[:10]


def load_materials(platform: Platform, moment: datetime) -> Materials:
    """Read what ``llmaas images lock`` and ``llmaas pki ensure`` made; secrets that are missing are made.

    Prices are those in force at ``moment``.

    Raises:
        MaterialError: no lock, an image without digest, no cluster, a price, manifest or authority that is missing.
        PkiError: a certificate that was never issued, or an authority that is over.
    """
    kubeconfig = state_dir(platform.environment) / "kubeconfig"
    if not kubeconfig.exists():
        raise MaterialError(
            f"{kubeconfig} is missing: there is no cluster yet; run: cd ansible && ansible-playbook playbooks/site.yml"
        )
    images, authority = read_lock(platform), open_authority(platform.environment)
    leaves, prices = _read_leaves(platform, authority), read_prices(platform, moment)
    tokenizers, receiver_authority = read_tokenizers(platform), read_receiver_authority(platform)
    # last: where anything else is missing, no secret is made
    store = SecretStore.open(platform.environment)
    return Materials(
        images=images,
        leaves=leaves,
        certificate_ends=_read_ends(platform, authority),
        certificate_notice=authority.notice,
        postgres_superuser=store.text("postgres-superuser"),
        postgres_litellm=store.text("postgres-litellm"),
        redis=store.text("redis"),
        litellm_master_key=store.text("litellm-master-key", prefix="sk-"),
        litellm_salt_key=store.text("litellm-salt-key", prefix="sk-"),
        cache_salt=store.text("cache-salt"),
        audit_key=store.text(AUDIT_KEY),
        kubeconfig=str(kubeconfig),
        version_key=store.text("version-key"),
        prices=prices,
        price_book=price_book_file(platform.environment).read_text(encoding="utf-8"),
        tokenizers=tokenizers,
        receiver_authority=receiver_authority,
    )


def lock_file(platform: Platform) -> Path:
    """The lock file that the stack names; made where images are built or mirrored."""
    return stack_file(platform.environment).parent / platform.images.lock


def price_book_file(environment: str) -> Path:
    """The price book beside the stack file."""
    return stack_file(environment).with_name("prices.yaml")


def read_lock(platform: Platform) -> dict[str, str]:
    """Short name to reference by digest, from the lock file that the stack names."""
    path = lock_file(platform)
    remedy = f"run: llmaas images build -e {platform.environment}"
    if not path.exists():
        raise MaterialError(f"llmaas:images.lock: {path} is missing; {remedy}")
    content: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise MaterialError(f"llmaas:images.lock: {path} is no mapping of names to references; {remedy}")
    chosen = runtime_set(platform)
    mirrored = chosen.images if chosen is not None else {}
    missing = [name for name in WORKLOAD_IMAGES if name not in content and name not in mirrored]
    if missing:
        raise MaterialError(f"llmaas:images.lock: {path} lacks {', '.join(missing)}; {remedy}")
    foreign = list(foreign_images(chosen, content)) if chosen is not None else []
    if foreign:
        raise MaterialError("\n".join(f"llmaas:images.lock: {path}: {name} {text}" for name, text in foreign))
    floating = [name for name, reference in content.items() if not _BY_DIGEST.fullmatch(str(reference))]
    if floating:
        raise MaterialError(f"llmaas:images.lock: {path}: no digest in {', '.join(floating)}; {remedy}")
    return {str(name): str(reference) for name, reference in content.items()}


def issue_certificates(platform: Platform) -> Authority:
    """Make the authority and every certificate that the cluster's parts need; those still in force are kept."""
    authority = open_authority(platform.environment)
    for request in leaf_requests(platform):
        authority.ensure_leaf(request.name, dns=request.dns, addresses=request.addresses, usage=request.usage)
    return authority


def issue_site_certificate(environment: str, names: Iterable[str], address: str) -> Leaf:
    """Make the certificate of the site's own services, which hosts and builds accept from our authority alone.

    One in force is kept.

    Args:
        environment: whose authority issues it.
        names: under which hosts reach the services; may be none.
        address: where all of them answer.

    Raises:
        PkiError: a name is not valid, or the issuing authority must be made anew and the root's key is not here.
    """
    return open_authority(environment).ensure_leaf(SITE_LEAF, dns=names, addresses=[address])


def issue_receiver_certificate(environment: str, receiver: AlertReceiver) -> Leaf:
    """Make the certificate of the site's Alertmanager, for which our own authority vouches; one in force is kept.

    Raises:
        PkiError: the issuing authority must be made anew and the root's key is not here.
    """
    names, addresses = [receiver.host_name], [str(receiver.address)]
    return open_authority(environment).ensure_leaf(RECEIVER_LEAF, dns=names, addresses=addresses)


def read_receiver_authority(platform: Platform) -> str:
    """The authority that vouches for the receiver of alerts, as PEM; empty where it is our own, or nobody is told.

    Raises:
        MaterialError: the file that the stack file names is missing or holds no certificate.
    """
    receiver = platform.alert_receiver
    if receiver is None or receiver.authority is None:
        return ""
    path = stack_file(platform.environment).parent / receiver.authority
    try:
        text = path.read_text(encoding="utf-8")
        load_pem_x509_certificates(text.encode())
    except (OSError, ValueError) as error:
        raise MaterialError(
            f"llmaas:alerts.receiver.authority: {path} holds no certificate ({error}); put there, as PEM, the authority"
            " that issued the Alertmanager's, or leave the key away: then the environment's own vouches for it"
        ) from None
    return text


def _read_leaves(platform: Platform, authority: Authority) -> dict[str, LeafFiles]:
    leaves = {}
    for request in leaf_requests(platform):
        leaf = authority.leaf(request.name)
        certificate = leaf.certificate.read_bytes()
        leaves[request.name] = LeafFiles(
            request=request,
            certificate=certificate.decode(),
            key=leaf.key.read_text(encoding="utf-8"),
            ca=leaf.ca.read_text(encoding="utf-8"),
            serial=hashlib.sha256(certificate).hexdigest()[:12],
        )
    return leaves


def _read_ends(platform: Platform, authority: Authority) -> dict[str, datetime]:
    """When each certificate ends that is in use, those of hosts and of the site too, and when no more are issued."""
    used = {request.name for request in leaf_requests(platform)} | {SITE_LEAF}
    receiver = platform.alert_receiver
    used |= {RECEIVER_LEAF} if receiver and receiver.authority is None else set()
    used |= {f"{_HOST_LEAF}{machine.name}" for machine in platform.machines}
    ends = {leaf.name: leaf.parsed().not_valid_after_utc for leaf in authority.leaves() if leaf.name in used}
    # its own end would be told when nothing can be renewed any more
    return ends | {ISSUING_AUTHORITY: authority.issues_until}


def read_prices(platform: Platform, moment: datetime) -> dict[str, TokenPrices]:
    """Prices of every served model that are in force at ``moment``, from the price book beside the stack file.

    Raises:
        MaterialError: the book is wrong, or lacks a price; every problem in a line of its own.
    """
    problems: list[str] = []
    prices: dict[str, TokenPrices] = {}
    try:
        book = load_price_book(price_book_file(platform.environment))
    except PriceError as error:
        raise MaterialError(str(error)) from None
    for model in served_models(platform):
        try:
            units = (Unit.INPUT, Unit.OUTPUT, Unit.REASONING)
            prices[model.name] = TokenPrices(*(book.quote(model.name, unit, moment).nano_eur for unit in units))
        except PriceError as error:
            problems.extend(error.problems)
    if problems:
        raise MaterialError("\n".join(problems))
    return prices


def read_tokenizers(platform: Platform, *, all_imported: bool = True) -> dict[str, str]:
    """SHA-256 of ``tokenizer.json`` by artefact, of those behind served models whose manifest names one.

    Args:
        platform: the environment.
        all_imported: whether every manifest must be there; else one that is not names none.

    Raises:
        MaterialError: a manifest is missing or cannot be read.
    """
    found: dict[str, str] = {}
    for name in served_artefacts(platform):
        try:
            digests = file_digests(platform, name)
        except SettingsError as error:
            raise MaterialError(str(error)) from None
        if digests is None and all_imported:
            path = manifest_file(platform, name)
            raise MaterialError(f"{path} is missing: import the weights of {name} first, see docs/production.md")
        if digests and TOKENIZER_FILE in digests:
            found[name] = digests[TOKENIZER_FILE]
    return found
