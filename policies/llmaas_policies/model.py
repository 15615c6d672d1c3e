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
    """One Kubernetes object as it is asked for; values that are not known yet are ``UNKNOWN``.

    ``type`` is Pulumi's type token; empty for an object that was rendered without Pulumi.
    """

    body: Mapping[str, Any]
    type: str = ""

    @property
    def is_kubernetes(self) -> bool:
        """Whether it is an object of the cluster, and not of another provider or a component."""
        return not self.type or self.type.startswith("kubernetes:")

    def get(self, path: str) -> Any:
        """The value at a dotted path, ``MISSING``, or ``UNKNOWN`` if it or something above it is not known."""
        return get(self.body, path)

    @property
    def kind(self) -> str:
        """E.g. ``Deployment``; empty if it is missing or not known."""
        kind = self.body.get("kind")
        return kind if isinstance(kind, str) else ""

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
        kind = self.kind or self.type or "(kind not known)"
        return f"{kind} {self.namespace}/{shown}" if self.namespace else f"{kind} {shown}"


@dataclass(frozen=True, slots=True)
class Waiver:
    """A named exception from one rule for one object, with its reason and its end (ISO date)."""

    rule: str
    resource: str
    reason: str
    expires: str


@dataclass(frozen=True, slots=True)
class Place:
    """Something that holds data or images: where the stack file names it, what it is, and its country if declared."""

    path: str
    what: str
    country: str | None


@dataclass(frozen=True, slots=True)
class Period:
    """How long records of a kind are kept, and the bounds that the stack file declares for it, in days."""

    path: str
    kind: str
    days: int
    least_days: int
    most_days: int
    source: str


@dataclass(frozen=True, slots=True)
class Parameters:
    """What the rules take from the environment's settings; the invariants themselves stand in the rules.

    Attributes:
        registry: the only registry, as ``name:port``.
        edge_namespace: where the entrance of the platform runs.
        encrypted_paths: folders of the hosts that lie on encrypted disks.
        country: the only country of the environment.
        stable_models: slugs of the models that must survive the loss of a host.
        public_port: the edge's container port for tenants.
        administration_port: the edge's container port for administrators, which is also the port outside.
        bastions: addresses that administrators come from, as networks.
        edge_addresses: addresses at which the edge may be published.
        services: hosts that images, packages and weights come from, by their path in the stack file.
        places: everything that must lie in the country.
        retention: how long records are kept.
        encrypted_mounts: host -> folders at which its declared, encrypted devices are mounted.
        simulated: whether no GPU is real, as in a lab, which serves nobody and holds nobody's data.
        waivers: named exceptions.
        today: ISO date.
    """

    registry: str
    edge_namespace: str
    encrypted_paths: Sequence[str]
    country: str
    stable_models: Sequence[str]
    public_port: int
    administration_port: int
    bastions: Sequence[str]
    edge_addresses: Sequence[str]
    services: Mapping[str, str]
    places: Sequence[Place]
    retention: Sequence[Period]
    encrypted_mounts: Mapping[str, Sequence[str]] = field(default_factory=dict)
    simulated: bool = False
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
        waivable: whether a named waiver of the stack file excuses an object from it.
        any_type: whether it also looks at resources that are no Kubernetes objects.
        in_a_lab: why it shows nothing where no GPU is real, though it may refuse something; empty if it shows as much.
    """

    name: str
    description: str
    severity: Severity
    frameworks: Sequence[str]
    remediation: str
    check: ResourceCheck | None = None
    check_stack: StackCheck | None = None
    waivable: bool = False
    any_type: bool = False
    in_a_lab: str = ""

    def findings(self, resource: Resource, parameters: Parameters) -> Iterable[Violation]:
        """What one object breaks of this rule, unless a waiver in force excuses it."""
        if self.check is None or not (resource.is_kubernetes or self.any_type):
            return ()
        if self.waivable and in_force(parameters.waivers, self.name, resource, parameters.today):
            return ()
        return self.check(resource, parameters)

    def stack_findings(self, resources: Sequence[Resource], parameters: Parameters) -> Iterable[Violation]:
        """What all objects together break of this rule."""
        if self.check_stack is None:
            return ()
        return self.check_stack([resource for resource in resources if resource.is_kubernetes], parameters)


@dataclass(slots=True)
class Subject:
    """Collects the rules of one module."""

    rules: list[Rule] = field(default_factory=list)

    def rule(  # noqa: PLR0913 - what every rule must say of itself
        self,
        name: str,
        description: str,
        severity: Severity,
        frameworks: Sequence[str],
        remediation: str,
        *,
        waivable: bool = False,
        any_type: bool = False,
        in_a_lab: str = "",
    ) -> Callable[[ResourceCheck], ResourceCheck]:
        """Decorator for a check of one object."""

        def register(check: ResourceCheck) -> ResourceCheck:
            rule = Rule(name, description, severity, frameworks, remediation, check, None, waivable, any_type, in_a_lab)
            self.rules.append(rule)
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


def number(value: Any) -> float | None:
    """A whole or decimal number; Pulumi hands whole numbers over as decimal ones. None for anything else."""
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def must_not_be_set(value: Any, path: str, meaning: str) -> Iterable[Violation]:
    """A violation unless a value is missing, false or empty; an unknown one is a violation."""
    if value is UNKNOWN:
        yield Violation(path, f"is not known at preview; {meaning}")
    elif value is not MISSING and value not in (False, "", 0, [], {}):
        yield Violation(path, f"is {value!r}; {meaning}")


def in_force(waivers: Sequence[Waiver], rule: str, resource: Resource, today: str) -> bool:
    """Whether a waiver with a reason, not expired, names this rule and this object."""
    return any(
        waiver.rule == rule
        and waiver.resource == resource.label
        and bool(waiver.reason.strip())
        and waiver.expires >= today
        for waiver in waivers
    )
