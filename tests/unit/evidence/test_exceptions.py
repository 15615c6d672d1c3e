import copy
import hashlib
import json
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final

import pytest
import yaml
from unit.evidence.sample import MAP

from llmaas.evidence.assembly import Evidence, assemble
from llmaas.evidence.control_map import ControlMap, load_control_map
from llmaas.evidence.exceptions import exemptions_in_force
from llmaas.evidence.existing import existing_checks
from llmaas.evidence.gathering import Gathered, judge_stack
from llmaas.evidence.judgement import count_states, judge_checks, judge_requirements
from llmaas.evidence.oscal import assessment_results
from llmaas.evidence.report import html_report
from llmaas.paths import PROJECT_ROOT
from llmaas.settings import load_platform
from llmaas.verify import Check, Verdict

RULE: Final = "policy/no-privileged-container"
EXPORTER: Final = "DaemonSet llmaas-gpu/dcgm-exporter (cluster) until 2027-05-31: it reads temperatures and errors of"
MOMENT: Final = datetime(2026, 11, 30, tzinfo=UTC)
DAY: Final = MOMENT.date()


def _passed(control_map: ControlMap, exceptions: dict[str, tuple[str, ...]]) -> list[Check]:
    return [
        Check("", "", "", "passed", 0.0, test=name, exceptions=exceptions.get(name, ())) for name in control_map.checks
    ]


@pytest.fixture
def excused(sample: Verdict, tmp_path: Path) -> Evidence:
    """The lab's evidence by a map of one rule that nothing is waived from, and one that objects are."""
    waivers = tuple(each for each in load_platform("production").waivers if each.rule == RULE[7:])
    platform = load_platform("lab").model_copy(update={"waivers": waivers})
    bare = "policy/image-by-digest"
    framework = {
        "id": "anssi-bp-028",
        "title": "BP-028",
        "publisher": "ANSSI",
        "requirements": [
            {"id": "R1", "title": "Nothing is excused", "proofs": ["bare"]},
            {"id": "R2", "title": "An object is", "proofs": ["waived"]},
            {"id": "R12", "title": "Hosts are", "proofs": ["bare"]},
            {"id": "R33", "title": "Hosts are, and a part is missing", "proofs": ["bare"], "operator": "the rest"},
        ],
    }
    proofs = {name: {"says": name, "checks": [check]} for name, check in (("bare", bare), ("waived", RULE))}
    content = {**copy.deepcopy(MAP), "proofs": proofs, "frameworks": [framework], "unmapped": []}
    path = tmp_path / "map.yaml"
    path.write_text(yaml.safe_dump(content))
    exemptions = exemptions_in_force(platform, DAY)
    rows = judge_stack(platform, MOMENT, exemptions)
    gathered = Gathered(replace(sample, checks=tuple(rows)), {}, "", exemptions)
    return assemble(platform, load_control_map(path), path, gathered, "key")


def test_a_rule_that_objects_are_waived_from_names_each_with_reason_and_end() -> None:
    platform = load_platform("production")
    rows = {row.test: row for row in judge_stack(platform, MOMENT, exemptions_in_force(platform, DAY))}
    assert [text.startswith(EXPORTER) for text in rows[RULE].exceptions].count(True) == 1
    assert len(rows[RULE].exceptions) == len([each for each in platform.waivers if each.rule == RULE[7:]])
    assert rows["policy/image-by-digest"].exceptions == ()


def test_cis_5_2_2_is_not_plainly_proved_beside_privileged_pods() -> None:
    control_map, platform = load_control_map(), load_platform("production")
    exemptions = exemptions_in_force(platform, DAY)
    rows = _passed(control_map, {RULE: tuple(str(each) for each in exemptions if each.control == RULE)})
    judged = judge_requirements(control_map, judge_checks(control_map.checks, rows, {}, ""), exemptions)
    found = {(each.framework.id, each.requirement.id): each for each in judged}
    assert found["cis-kubernetes", "5.2.2"].state == "proved, with exceptions"
    assert any(EXPORTER in text for text in found["cis-kubernetes", "5.2.2"].exceptions)
    assert count_states(judged)["proved, with exceptions"] > 0


def test_an_exception_from_the_hardening_is_named_at_its_requirement(excused: Evidence) -> None:
    found = {each.requirement.id: each for each in excused.judged}
    assert {number: each.state for number, each in found.items()} == {
        "R1": "proved, with exceptions",  # of the judge's rule on 64 bits
        "R2": "proved, with exceptions",
        "R12": "proved, with exceptions",
        "R33": "proved in part",
    }
    assert any("sysctl net.ipv4.ip_forward" in text for text in found["R12"].exceptions)
    assert any("sshd permitrootlogin" in text for text in found["R33"].exceptions)


def test_an_exception_that_ended_or_is_of_elsewhere_is_none() -> None:
    lab, production = load_platform("lab"), load_platform("production")
    assert exemptions_in_force(production, date(2030, 1, 1)) == ()
    apparmor = [each for each in exemptions_in_force(lab, DAY) if each.control == "anssi-bp-028 R45"]
    assert [each.what for each in apparmor] == ["kernel apparmor"]
    assert not [each for each in exemptions_in_force(production, DAY) if each.control == "anssi-bp-028 R45"]
    (forward,) = (each for each in exemptions_in_force(production, DAY) if "ip_forward" in each.what)
    assert "gpu-host-01" in forward.where
    assert "key-01" not in forward.where


def test_the_report_has_every_exception_with_its_end_and_the_results_say_so(excused: Evidence) -> None:
    text = html_report(excused)
    table = text.partition("<h2>Exceptions in force</h2>")[2].partition("</table>")[0]
    assert table.count("<tr>") == len(excused.exemptions) + 1
    assert "<td>anssi-bp-028 R12</td><td>sysctl net.ipv4.ip_forward</td>" in table
    assert '<span class="passed-with-exceptions">passed, with exceptions</span>' in text
    (result,) = json.loads(assessment_results(excused))["assessment-results"]["results"]
    finding = next(each for each in result["findings"] if " R12:" in each["title"])
    assert finding["target"]["status"] == {"state": "not-satisfied", "reason": "other"}
    assert "Exception: sysctl net.ipv4.ip_forward" in finding["remarks"]
    waived = next(each for each in result["observations"] if each["title"] != "policy/image-by-digest")
    assert waived["description"].startswith("passed, with exceptions: ")
    assert waived["remarks"].startswith("exception: ")


@pytest.mark.parametrize("name", ["hardening-waivers.yaml", "approved-updates.yaml"])
def test_what_excuses_and_what_was_approved_is_hashed(name: str, evidence: Evidence) -> None:
    content = (PROJECT_ROOT / "stacks" / name).read_bytes()
    assert evidence.inputs[f"stacks/{name}"] == hashlib.sha256(content).hexdigest()


def test_every_waived_rule_is_a_check_of_the_map() -> None:
    rules = {each.control for each in exemptions_in_force(load_platform("production"), DAY)}
    assert {rule for rule in rules if rule.startswith("policy/")} <= existing_checks()


def test_what_is_gathered_now_has_the_exceptions_of_now(evidence: Evidence) -> None:
    now = exemptions_in_force(evidence.platform, evidence.ended.date())
    assert evidence.exemptions == now != ()
