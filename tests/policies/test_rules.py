"""Every rule lets the good environment pass, and refuses what breaks it and what it cannot see."""

from pathlib import Path

import pytest
from cases import BAD, UNKNOWN_AT_PREVIEW, Case
from llmaas_policies.documentation import markdown
from llmaas_policies.pack import RULES, evaluate, policies
from objects import PARAMETERS, change, good
from pulumi_policy import EnforcementLevel

NAMES = [rule.name for rule in RULES]


def broken_rules(case: Case) -> set[str]:
    objects = good()
    name, path, value = case
    change(objects[name], path, value)
    return {finding.rule.name for finding in evaluate(objects.values(), PARAMETERS)}


def test_the_good_environment_passes() -> None:
    assert [str(finding) for finding in evaluate(good().values(), PARAMETERS)] == []


@pytest.mark.parametrize(("rule", "case"), [(rule, case) for rule, cases in BAD.items() for case in cases])
def test_what_breaks_a_rule_is_refused_by_its_name(rule: str, case: Case) -> None:
    assert rule in broken_rules(case)


@pytest.mark.parametrize(("rule", "case"), UNKNOWN_AT_PREVIEW.items())
def test_what_is_not_known_at_preview_is_refused(rule: str, case: Case) -> None:
    assert rule in broken_rules(case)


def test_every_rule_has_a_bad_and_an_unknown_case() -> None:
    assert sorted(BAD) == sorted(NAMES)
    assert sorted(UNKNOWN_AT_PREVIEW) == sorted(NAMES)


def test_every_rule_is_mandatory_and_documented() -> None:
    assert len(set(NAMES)) == len(NAMES)
    for rule in RULES:
        assert rule.description.endswith("."), rule.name
        assert rule.remediation, rule.name
        assert rule.frameworks, rule.name
        assert (rule.check is None) != (rule.check_stack is None), rule.name
    for policy in policies(PARAMETERS):
        assert policy.enforcement_level is EnforcementLevel.MANDATORY, policy.name


def test_the_document_says_what_the_rules_say() -> None:
    document = Path(__file__).parents[2] / "docs" / "policies.md"
    assert document.read_text(encoding="utf-8") == markdown(RULES), "run `llmaas policies document`"
