"""Every rule lets the good environment pass, and refuses what breaks it and what it cannot see."""

import random
from dataclasses import replace
from pathlib import Path

import pytest
from cases import BAD, UNKNOWN_AT_PREVIEW, Case
from host.judged_rules import OF_OTHER_OBJECTS, WORKLOADS, excused_by, of_workloads
from llmaas_policies.documentation import markdown
from llmaas_policies.model import UNKNOWN, Resource, Rule, Violation, Waiver
from llmaas_policies.pack import RULES, evaluate, policies
from objects import PARAMETERS, change, good
from pulumi_policy import EnforcementLevel

NAMES = [rule.name for rule in RULES]
BY_NAME = {rule.name: rule for rule in RULES}


def findings(rule: Rule, case: Case, *, simulated: bool = False) -> list[Violation]:
    objects: dict[str, object] = dict(good())
    parameters = replace(PARAMETERS, simulated=simulated)
    name, path, value = case
    if name == "parameters":
        parameters = replace(parameters, **{path: value})
    elif name in {"new", "foreign"}:
        objects[name] = value
    else:
        change(objects[name], path, value)
    resources = [each if isinstance(each, Resource) else Resource(each) for each in objects.values()]  # type: ignore[arg-type]
    found = [each for resource in resources for each in rule.findings(resource, parameters)]
    return [*found, *rule.stack_findings(resources, parameters)]


def test_the_good_environment_passes() -> None:
    assert [str(finding) for finding in evaluate(good().values(), PARAMETERS)] == []


@pytest.mark.parametrize(("rule", "case"), [(rule, case) for rule, cases in BAD.items() for case in cases])
def test_what_breaks_a_rule_is_refused_by_its_name(rule: str, case: Case) -> None:
    assert findings(BY_NAME[rule], case)


def test_a_rule_that_looks_away_in_a_lab_says_so() -> None:
    away = {
        rule
        for rule, cases in BAD.items()
        for case in cases
        if findings(BY_NAME[rule], case) and not findings(BY_NAME[rule], case, simulated=True)
    }
    assert away == {"volumes-on-encrypted-hosts"}
    assert all(BY_NAME[name].in_a_lab for name in away)


@pytest.mark.parametrize(("rule", "case"), UNKNOWN_AT_PREVIEW.items())
def test_what_is_not_known_at_preview_is_refused(rule: str, case: Case) -> None:
    assert findings(BY_NAME[rule], case)


def test_every_rule_has_a_bad_and_an_unknown_case() -> None:
    assert sorted(BAD) == sorted(NAMES)
    assert sorted(UNKNOWN_AT_PREVIEW) == sorted(NAMES)


@pytest.mark.parametrize("rule", of_workloads(), ids=lambda rule: rule.name)
def test_what_verify_holds_workloads_against_can_find_something_in_one(rule: Rule) -> None:
    objects = good()
    cases = [case for case in BAD[rule.name] if case[0] in {"new", *objects}]
    broken = [case[2] if case[0] == "new" else objects[case[0]] for case in cases]
    assert WORKLOADS & {each["kind"] for each in broken if isinstance(each, dict)}


def test_what_verify_leaves_out_are_rules() -> None:
    assert set(NAMES) >= OF_OTHER_OBJECTS


WAIVABLE = sorted(rule.name for rule in RULES if rule.waivable)


@pytest.mark.parametrize("rule", WAIVABLE)
def test_a_waiver_excuses_one_object_from_one_rule_until_its_last_day(rule: str) -> None:
    objects = good()
    name, path, value = next(case for case in BAD[rule] if case[0] in objects or case[0] == "new")
    if name == "new":
        objects[name] = value
    else:
        change(objects[name], path, value)
    label = Resource(objects[name]).label
    for expires, excused in (("2026-11-24", True), ("2026-11-23", False)):
        waiver = Waiver(rule, label, "the exporter needs it", expires)
        found = {each.rule.name for each in evaluate(objects.values(), replace(PARAMETERS, waivers=[waiver]))}
        assert (rule not in found) is excused
        assert ("waiver-in-force" in found) is not excused
    for waiver in (Waiver(rule, f"{label}-2", "x", "2026-12-01"), Waiver(rule, label, " ", "2026-12-01")):
        found = {each.rule.name for each in evaluate(objects.values(), replace(PARAMETERS, waivers=[waiver]))}
        assert {rule, "waiver-in-force"} <= found


def test_verify_tells_a_waiver_by_the_object_that_breaks_the_rule_and_by_no_other() -> None:
    rule, objects = BY_NAME["no-privileged-container"], good()
    waivers = [Waiver(rule.name, Resource(objects["litellm"]).label, "the exporter needs it", "2026-12-01")]
    parameters = replace(PARAMETERS, waivers=waivers)
    assert excused_by(rule, [Resource(body) for body in objects.values()], parameters) == {}
    name, path, value = BAD[rule.name][0]
    change(objects[name], path, value)
    told = excused_by(rule, [Resource(body) for body in objects.values()], parameters)
    assert told == {waivers[0].resource: "no-privileged-container until 2026-12-01: the exporter needs it"}
    ended = replace(parameters, today="2026-12-02")
    assert excused_by(rule, [Resource(body) for body in objects.values()], ended) == {}


def test_a_waiver_from_a_rule_that_allows_none_excuses_nothing() -> None:
    objects = good()
    for rule in (rule for rule in RULES if not rule.waivable and rule.check is not None):
        label = Resource(objects["litellm"]).label
        waiver = Waiver(rule.name, label, "x", "2026-12-01")
        found = {each.rule.name for each in evaluate(objects.values(), replace(PARAMETERS, waivers=[waiver]))}
        assert "waiver-in-force" in found, rule.name


def test_every_rule_is_mandatory_and_documented() -> None:
    assert len(set(NAMES)) == len(NAMES)
    for rule in RULES:
        assert rule.description.endswith("."), rule.name
        assert rule.remediation, rule.name
        assert rule.frameworks, rule.name
        assert (rule.check is None) != (rule.check_stack is None), rule.name
    for policy in policies(lambda _urn: PARAMETERS):
        assert policy.enforcement_level is EnforcementLevel.MANDATORY, policy.name


def test_the_document_says_what_the_rules_say() -> None:
    document = Path(__file__).parents[2] / "docs" / "policies.md"
    assert document.read_text(encoding="utf-8") == markdown(RULES), "run `llmaas policies document`"


_JUNK: list[object] = [UNKNOWN, None, "x", -1.5, [UNKNOWN], {"x": UNKNOWN}, [[]]]
_ONE_OF_A_KIND = sorted({body["kind"]: name for name, body in good().items()}.values())


def _places(value: object, path: str = "") -> list[str]:
    """Paths of everything in an object."""
    found = [path] if path else []
    below = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in below:
        found += _places(each, f"{path}/{key}".lstrip("/") if "/" not in str(key) else path)
    return [place for place in dict.fromkeys(found) if place]


@pytest.mark.parametrize("name", _ONE_OF_A_KIND)
def test_no_object_however_broken_stops_a_rule(name: str) -> None:
    for path in _places(good()[name]):
        for junk in random.Random(path).sample(_JUNK, 2):  # noqa: S311 - no secret
            objects = good()
            change(objects[name], path, junk)
            for rule in RULES:
                list(rule.findings(Resource(objects[name]), PARAMETERS))
                if rule.check_stack is not None:
                    list(rule.stack_findings([Resource(each) for each in objects.values()], PARAMETERS))


def test_an_object_that_is_no_mapping_below_its_kind_is_refused() -> None:
    for kind, version in (("Deployment", "apps/v1"), ("Pod", "v1"), ("CronJob", "batch/v1")):
        body = {"apiVersion": version, "kind": kind, "metadata": {"name": "x", "namespace": "gateway"}, "spec": "none"}
        assert "image-by-digest" in {found.rule.name for found in evaluate([body], PARAMETERS)}
