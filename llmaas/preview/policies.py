"""The policy pack on what the program declares, and where its secrets stand."""

import json
from collections.abc import Sequence
from datetime import date

from llmaas_policies.model import Resource
from llmaas_policies.pack import RULES, evaluate

from llmaas.preview.placeholders import MARK
from llmaas.preview.recorder import Declared
from llmaas.preview.verdicts import Refusal, Verdict
from llmaas.settings import Platform
from llmaas.views.policies import policy_parameters


def policy_verdict(platform: Platform, declared: Sequence[Declared], today: date) -> Verdict:
    """Every rule on every resource, as ``pulumi preview --policy-pack policies`` judges them."""
    resources = [Resource(each.inputs, each.type) for each in declared]
    found = tuple(
        Refusal(
            finding.violation.path,
            f"{finding.violation.text}. {finding.rule.remediation}",
            finding.rule.name,
            finding.resource,
        )
        for finding in evaluate(resources, policy_parameters(platform, today))
    )
    return Verdict("policies", f"{len(RULES)} rules on {len(declared)} resources", found)


def secrets_verdict(declared: Sequence[Declared]) -> Verdict:
    """Whether the value of any secret stands outside a Secret: in an argument, a file, a label, a name."""
    secrets = [each for each in declared if each.type == "kubernetes:core/v1:Secret"]
    others = [each for each in declared if each not in secrets]
    # values that are not known at preview have no JSON
    outside = [each for each in others if MARK in json.dumps([each.name, each.inputs], default=repr)]
    found = tuple(
        Refusal(_place(each.inputs) or "name", "holds a secret; take it from a Secret by reference", None, each.name)
        for each in outside
    )
    return Verdict("secrets", f"{len(secrets)} Secrets, and none of their values elsewhere", found)


def _place(value: object, path: str = "") -> str | None:
    """The dotted path of the first text below ``value`` that holds a placeholder."""
    if isinstance(value, str):
        return path if MARK in value else None
    if isinstance(value, dict):
        items = [(f"{path}.{key}" if path else str(key), each) for key, each in value.items()]
    elif isinstance(value, list):
        items = [(f"{path}[{index}]", each) for index, each in enumerate(value)]
    else:
        return None
    return next((found for below, each in items if (found := _place(each, below)) is not None), None)
