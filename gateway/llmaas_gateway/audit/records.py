"""What an audit record is made of, and how its personal part can go without breaking the chain.

A record's chained body holds facts (what was done, to which model, when, how many tokens) and, for what may name a
person, only a commitment: SHA-256 of a random salt and the fields. Salt and fields are kept beside the chain. Deleting
them leaves a hash that tells nothing and a chain that still holds.
"""

import hashlib
import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal

from llmaas_gateway.chain import Record

Kind = Literal["acts", "requests"]
KINDS: Final[tuple[Kind, ...]] = ("acts", "requests")
# The stream of what concerns no tenant: prices, catalogue, deployments, and the anchors of all other streams.
PLATFORM: Final = ""
# Actors are written "operator:NAME", "system:PART" or "tenant:HASH OF KEY"; only the last may be a tenant's person.
TENANT_ACTOR: Final = "tenant:"

_ACTION: Final = re.compile(r"[a-z_]+(\.[a-z_]+)+")
_ACTOR: Final = re.compile(r"(operator|system|tenant):\S.{0,200}", re.DOTALL)
_KEY_TEXT: Final = re.compile(r"\bsk-[A-Za-z0-9_-]{8,}|-----BEGIN [A-Z ]*PRIVATE KEY")
_DETAILS_BYTES: Final = 16_384


class ActError(ValueError):
    """An act that must not be recorded as it stands; the text names the field and what to do."""


def canonical(value: Any) -> str:
    """The one JSON text of a value: sorted names, no spaces, no escapes but the needed."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def check_plain(value: Any, path: str) -> None:
    """Refuse what JSON does not give back exactly as it was, and what is a key's text.

    Raises:
        ActError: the path of the value, and what may stand there.
    """
    if isinstance(value, str):
        if _KEY_TEXT.search(value):
            raise ActError(f"{path}: holds the text of a key; name a key by its hash")
        if "\x00" in value or any(0xD800 <= ord(letter) <= 0xDFFF for letter in value):
            raise ActError(f"{path}: holds characters that cannot be stored")
    elif isinstance(value, Mapping):
        for name, item in value.items():
            check_plain(str(name), f"{path}: a name")
            check_plain(item, f"{path}.{name}")
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            check_plain(item, f"{path}[{index}]")
    elif value is not None and not isinstance(value, (bool, int)):
        raise ActError(f"{path}: {type(value).__name__} is not kept; give text, whole numbers, lists and mappings")


@dataclass(frozen=True, slots=True)
class Act:
    """An administrative act.

    Attributes:
        actor: ``operator:NAME``, ``system:PART`` or ``tenant:HASH OF KEY``.
        action: such as ``key.create`` or ``tenant.set_tier``.
        object: what it was done to, such as a key's hash or a tier's name.
        at: when.
        tenant: whom it concerns; empty for prices, catalogue and deployments.
        details: what changed, without secrets and without text of prompts; no floating point numbers.
    """

    actor: str
    action: str
    object: str
    at: datetime
    tenant: str = PLATFORM
    details: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse at once what could not be chained, or must not be kept."""
        if not _ACTOR.fullmatch(self.actor):
            raise ActError(f"actor: {self.actor!r} is none of operator:NAME, system:PART, tenant:HASH")
        if not _ACTION.fullmatch(self.action):
            raise ActError(f"action: {self.action!r}; write it as thing.verb, such as key.create")
        if self.at.tzinfo is None:
            raise ActError("at: needs a time zone")
        for name in ("actor", "object", "tenant", "details"):
            check_plain(getattr(self, name), name)
        if len(canonical(self.details).encode()) > _DETAILS_BYTES:
            raise ActError(f"details: more than {_DETAILS_BYTES} bytes")

    def entry(self) -> "Entry":
        """As it is chained: a tenant's person, the object and the details are personal, the rest are facts."""
        tenants_own = self.actor.startswith(TENANT_ACTOR)
        facts = {"action": self.action, "actor": "tenant" if tenants_own else self.actor}
        personal = {"object": self.object, "details": dict(self.details)}
        if tenants_own:
            personal["actor"] = self.actor
        if self.tenant == PLATFORM and not tenants_own:
            return Entry(PLATFORM, "acts", self.at, {**facts, **personal}, None)
        return Entry(self.tenant, "acts", self.at, facts, personal)


@dataclass(frozen=True, slots=True)
class Entry:
    """What is to be chained, before it has its place.

    Attributes:
        tenant: whose stream it goes to.
        kind: which of the tenant's two streams.
        at: when it happened.
        facts: kept until the legal period ends.
        personal: kept until then or until the tenant is erased; None if there is nothing of the kind.
    """

    tenant: str
    kind: Kind
    at: datetime
    facts: Mapping[str, Any]
    personal: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Personal:
    """The part that can be deleted, with the salt that makes its commitment say nothing once it is."""

    salt: str
    fields: Mapping[str, Any]

    @classmethod
    def seal(cls, fields: Mapping[str, Any]) -> "Personal":
        """With a fresh salt of 256 bits."""
        return cls(secrets.token_hex(32), fields)

    @property
    def commitment(self) -> str:
        """SHA-256 of salt and fields."""
        return hashlib.sha256(f"{self.salt}:{canonical(self.fields)}".encode()).hexdigest()


def chained(  # noqa: PLR0913 - each is a part of the record
    entry: Entry, personal: Personal | None, *, stream: str, number: int, recorded_at: datetime, previous: str
) -> Record:
    """The record of an entry at its place in a stream."""
    body = {
        "stream": stream,
        "recorded_at": recorded_at.isoformat(),
        "facts": dict(entry.facts),
        "personal": personal.commitment if personal else None,
    }
    return Record.make(number, entry.at, body, previous)
