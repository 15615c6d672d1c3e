"""All rules, and how they are applied: by Pulumi at preview, or to rendered objects without a cluster."""

from collections.abc import Iterable, Mapping, Sequence
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
from llmaas_policies.rules import availability, encryption, images, network, pod_security, serving

RULES: Final[tuple[Rule, ...]] = tuple(
    rule
    for module in (images, pod_security, network, encryption, serving, availability)
    for rule in module.subject.rules
)


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


def evaluate(bodies: Iterable[Mapping[str, Any]], parameters: Parameters) -> list[Finding]:
    """Every rule on every object: what is broken, in the order of the rules."""
    resources = [Resource(body) for body in bodies]
    findings = []
    for rule in RULES:
        if rule.check is not None:
            findings += [
                Finding(rule, resource.label, violation)
                for resource in resources
                for violation in rule.check(resource, parameters)
            ]
        if rule.check_stack is not None:
            findings += [Finding(rule, "the stack", found) for found in rule.check_stack(resources, parameters)]
    return findings


def _is_kubernetes(resource_type: str) -> bool:
    return resource_type.startswith("kubernetes:")


def _metadata(rule: Rule) -> dict[str, Any]:
    return {
        "name": rule.name,
        "description": f"{rule.description} {rule.remediation}.",
        "enforcement_level": EnforcementLevel.MANDATORY,
        "severity": Severity(rule.severity.value),
        "framework": PolicyComplianceFramework(name=rule.frameworks[0]),
        "remediation_steps": rule.remediation,
    }


def _resource_policy(rule: Rule, parameters: Parameters) -> ResourceValidationPolicy:
    check = rule.check

    def validate(args: ResourceValidationArgs, report: Any) -> None:
        if check is not None and _is_kubernetes(args.resource_type):
            resource = Resource(plain(args.props))
            for violation in check(resource, parameters):
                report(f"{resource.label}: {violation.path} {violation.text}")

    return ResourceValidationPolicy(validate=validate, **_metadata(rule))


def _stack_policy(rule: Rule, parameters: Parameters) -> StackValidationPolicy:
    check = rule.check_stack

    def validate(args: StackValidationArgs, report: Any) -> None:
        resources = [Resource(plain(r.props)) for r in args.resources if _is_kubernetes(r.resource_type)]
        for violation in check(resources, parameters) if check is not None else ():
            report(f"{violation.path} {violation.text}")

    return StackValidationPolicy(validate=validate, **_metadata(rule))


def policies(parameters: Parameters) -> list[ResourceValidationPolicy | StackValidationPolicy]:
    """The rules as policies of CrossGuard, all mandatory."""
    return [
        _resource_policy(rule, parameters) if rule.check is not None else _stack_policy(rule, parameters)
        for rule in RULES
    ]
