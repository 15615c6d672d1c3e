"""What a rule is, and what it looks at."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final


class Unknown:
    """Stands where a value is not known at preview; a rule that needs it must refuse."""

    def __repr__(self) -> str:
        return "<not known at preview>"


UNKNOWN: Final = Unknown()
MISSING: Final = object()


class Severity(StrEnum):
    """How bad a violation is; all of them stop a preview."""

    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True)
class Resource:
    """One Kubernetes object as it is asked for; values that are not known yet are ``UNKNOWN``."""

    body: Mapping[str, Any]

    def get(self, path: str) -> Any:
        """The value at a dotted path, ``MISSING``, or ``UNKNOWN`` if it or something above it is not known."""
        return get(self.body, path)

    @property
    def kind(self) -> str:
        """E.g. ``Deployment``."""
        return str(self.body.get("kind", ""))

    @property
    def namespace(self) -> str:
        """Empty for what has none, or for one that is not known."""
        found = self.get("metadata.namespace")
        return found if isinstance(found, str) else ""

    @property
    def label(self) -> str:
        """How messages name it: ``Deployment llmaas-gateway/litellm``."""
        name = self.get("metadata.name")
        shown = name if isinstance(name, str) else "(name not known)"
        return f"{self.kind} {self.namespace}/{shown}" if self.namespace else f"{self.kind} {shown}"


@dataclass(frozen=True, slots=True)
class Waiver:
    """A named exception from one rule for one object, with its reason and its end (ISO date)."""

    rule: str
    resource: str
    reason: str
    expires: str


@dataclass(frozen=True, slots=True)
class Parameters:
    """What the rules take from the environment's settings; the invariants themselves stand in the rules."""

    registry: str
    edge_namespace: str
    encrypted_paths: Sequence[str]
    country: str
    stable_models: Sequence[str]
    waivers: Sequence[Waiver] = ()
    today: str = "9999-12-31"


@dataclass(frozen=True, slots=True)
class Violation:
    """What is wrong and where."""

    path: str
    text: str


ResourceCheck = Callable[[Resource, Parameters], Iterable[Violation]]
StackCheck = Callable[[Sequence[Resource], Parameters], Iterable[Violation]]


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule.

    Attributes:
        name: kebab case, as it stands in a refusal.
        description: one sentence that says what must hold.
        severity: for the reader; every rule is mandatory.
        frameworks: requirements that it serves, e.g. ``SecNumCloud 3.2 9.7.a``.
        remediation: what to do.
        check: looks at one object.
        check_stack: looks at all objects together.
    """

    name: str
    description: str
    severity: Severity
    frameworks: Sequence[str]
    remediation: str
    check: ResourceCheck | None = None
    check_stack: StackCheck | None = None


@dataclass(slots=True)
class Subject:
    """Collects the rules of one module."""

    rules: list[Rule] = field(default_factory=list)

    def rule(
        self, name: str, description: str, severity: Severity, frameworks: Sequence[str], remediation: str
    ) -> Callable[[ResourceCheck], ResourceCheck]:
        """Decorator for a check of one object."""

        def register(check: ResourceCheck) -> ResourceCheck:
            self.rules.append(Rule(name, description, severity, frameworks, remediation, check=check))
            return check

        return register

    def stack_rule(
        self, name: str, description: str, severity: Severity, frameworks: Sequence[str], remediation: str
    ) -> Callable[[StackCheck], StackCheck]:
        """Decorator for a check of all objects together."""

        def register(check: StackCheck) -> StackCheck:
            self.rules.append(Rule(name, description, severity, frameworks, remediation, check_stack=check))
            return check

        return register


def get(body: Any, path: str) -> Any:
    """The value at a dotted path, ``MISSING``, or ``UNKNOWN`` if it or something above it is not known."""
    for part in path.split("."):
        if body is UNKNOWN:
            return UNKNOWN
        if not isinstance(body, Mapping) or part not in body or body[part] is None:
            return MISSING
        body = body[part]
    return body


def must_be(value: Any, path: str, meaning: str, *, expected: Any) -> Iterable[Violation]:
    """A violation unless a value is the expected one; missing and unknown values are violations too."""
    if value is UNKNOWN:
        yield Violation(path, f"is not known at preview; {meaning}")
    elif value is MISSING:
        yield Violation(path, f"is missing; {meaning}")
    elif value != expected or isinstance(value, bool) != isinstance(expected, bool):
        yield Violation(path, f"is {value!r}; {meaning}")


def must_not_be_set(value: Any, path: str, meaning: str) -> Iterable[Violation]:
    """A violation unless a value is missing, false or empty; an unknown one is a violation."""
    if value is UNKNOWN:
        yield Violation(path, f"is not known at preview; {meaning}")
    elif value is not MISSING and value not in (False, "", 0, [], {}):
        yield Violation(path, f"is {value!r}; {meaning}")


def in_force(waivers: Sequence[Waiver], rule: str, resource: Resource, today: str) -> bool:
    """Whether a waiver with a reason, not expired, names this rule and this object."""
    return any(
        waiver.rule == rule and waiver.resource == resource.label and waiver.reason and waiver.expires >= today
        for waiver in waivers
    )
