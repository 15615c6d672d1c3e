"""All rules, and how they are applied: by Pulumi at preview, or to rendered objects without a cluster."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pulumi_policy import (
    EnforcementLevel,
    PolicyComplianceFramework,
    ResourceValidationArgs,
    ResourceValidationPolicy,
    Severity,
    StackValidationArgs,
    StackValidationPolicy,
)
from pulumi_policy.proxy import UnknownValueError

from llmaas_policies.model import UNKNOWN, Parameters, Resource, Rule, Violation
from llmaas_policies.rules import (
    access,
    administration,
    availability,
    confinement,
    edge,
    exposure,
    images,
    kinds,
    litellm,
    network,
    pod_security,
    secrets,
    sovereignty,
    storage,
    tls,
    vllm,
    waivers,
)

_SUBJECTS: Final = (
    kinds,
    images,
    pod_security,
    confinement,
    access,
    network,
    exposure,
    administration,
    edge,
    tls,
    secrets,
    storage,
    vllm,
    litellm,
    availability,
    sovereignty,
)
_JUDGED: Final[tuple[Rule, ...]] = tuple(rule for module in _SUBJECTS for rule in module.subject.rules)
# The rule on waivers must know which rules there are.
RULES: Final[tuple[Rule, ...]] = (*_JUDGED, waivers.rule_on_waivers(_JUDGED))


# parameters of the environment that a resource's URN names
ParametersOf = Callable[[str], Parameters]


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule that an object breaks."""

    rule: Rule
    resource: str
    violation: Violation

    def __str__(self) -> str:
        return (
            f"{self.rule.name}: {self.resource}: {self.violation.path} {self.violation.text}. {self.rule.remediation}"
        )


def plain(value: Any) -> Any:
    """A copy of what Pulumi hands to a policy, in which ``UNKNOWN`` stands for each value that is not known yet.

    Pulumi's own objects raise when such a value is touched, and report that as advisory even in a mandatory pack: a
    rule would pass because it could not look.
    """
    if isinstance(value, Mapping):
        return {key: _item(value, key) for key in value}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_item(value, index) for index in range(len(value))]
    return value


def _item(container: Any, key: Any) -> Any:
    try:
        return plain(container[key])
    except UnknownValueError:
        return UNKNOWN


def evaluate(objects: Iterable[Mapping[str, Any] | Resource], parameters: Parameters) -> list[Finding]:
    """Every rule on every object: what is broken, in the order of the rules."""
    resources = [each if isinstance(each, Resource) else Resource(each) for each in objects]
    findings = []
    for rule in RULES:
        findings += [
            Finding(rule, resource.label, violation)
            for resource in resources
            for violation in rule.findings(resource, parameters)
        ]
        findings += [Finding(rule, "the stack", found) for found in rule.stack_findings(resources, parameters)]
    return findings


def _metadata(rule: Rule) -> dict[str, Any]:
    return {
        "name": rule.name,
        "description": f"{rule.description} {rule.remediation}.",
        "enforcement_level": EnforcementLevel.MANDATORY,
        "severity": Severity(rule.severity.value),
        "framework": PolicyComplianceFramework(name=rule.frameworks[0]),
        "remediation_steps": rule.remediation,
    }


def _resource_policy(rule: Rule, parameters_of: ParametersOf) -> ResourceValidationPolicy:
    def validate(args: ResourceValidationArgs, report: Any) -> None:
        resource = Resource(plain(args.props), args.resource_type)
        for violation in rule.findings(resource, parameters_of(args.urn)):
            report(f"{resource.label}: {violation.path} {violation.text}")

    return ResourceValidationPolicy(validate=validate, **_metadata(rule))


def _stack_policy(rule: Rule, parameters_of: ParametersOf) -> StackValidationPolicy:
    def validate(args: StackValidationArgs, report: Any) -> None:
        resources = [Resource(plain(each.props), each.resource_type) for each in args.resources]
        # Pulumi's own root resource is always among them
        for violation in rule.stack_findings(resources, parameters_of(args.resources[0].urn)):
            report(f"{violation.path} {violation.text}")

    return StackValidationPolicy(validate=validate, **_metadata(rule))


def policies(parameters_of: ParametersOf) -> list[ResourceValidationPolicy | StackValidationPolicy]:
    """The rules as policies of CrossGuard, all mandatory; the URN of a resource says whose parameters hold."""
    return [
        _resource_policy(rule, parameters_of) if rule.check is not None else _stack_policy(rule, parameters_of)
        for rule in RULES
    ]
