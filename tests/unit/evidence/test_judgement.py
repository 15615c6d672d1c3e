from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
from unit.evidence.sample import STATES, evidence_of, run_sample, write_map, write_record

from llmaas.evidence.assembly import Evidence, assemble
from llmaas.evidence.gathering import RecordError, gather, judge_stack, merged, read_record
from llmaas.evidence.judgement import count_states, judge_checks
from llmaas.evidence.oscal import assessment_results
from llmaas.evidence.report import html_report
from llmaas.settings import load_platform
from llmaas.verify import DECLARED, LEFT_OUT, NOT_REACHED, Check, Verdict
from llmaas.views import policies

MOMENT: Final = datetime(2026, 11, 30, tzinfo=UTC)
CLOSED = "tests/host/test_good.py::test_it_is_closed"


def test_a_requirement_is_no_better_than_its_worst_check(evidence: Evidence) -> None:
    assert {each.requirement.id: each.state for each in evidence.judged} == STATES


def test_every_requirement_is_counted_once(evidence: Evidence) -> None:
    assert sum(count_states(evidence.judged).values()) == len(evidence.judged)


def test_a_check_that_did_not_run_says_why(evidence: Evidence) -> None:
    absent = evidence.results["tests/emulated/test_disks.py::test_locked"]
    assert (absent.outcome, absent.reasons) == ("not run", ("not run: is not in the given records",))
    skipped = evidence.results["tests/host/test_mixed.py::test_it_has_a_gpu"]
    assert skipped.outcome == "not run"
    assert "not run: simulated: " in skipped.reasons[0]
    assert "GPUs are simulated here" in skipped.reasons[0]


def test_a_file_of_checks_says_the_same_of_a_subject_once() -> None:
    rows = [
        Check("", host, "", "not run", 0.0, "Skipped: no device", f"tests/host/test_gpus.py::test_{name}")
        for name in ("one", "two")
        for host in ("gpu-host-01", "gpu-host-02")
    ]
    (result,) = judge_checks(["tests/host/test_gpus.py"], rows, {}, "").values()
    assert result.reasons == tuple(f"not run: gpu-host-0{number}: Skipped: no device" for number in (1, 2))


def test_what_breaks_is_failed_and_never_not_run(evidence: Evidence) -> None:
    assert evidence.results["tests/host/test_mixed.py::test_it_breaks"].outcome == "failed"
    assert evidence.results["tests/host/test_unreadable.py::test_never"].outcome == "failed"


def test_subjects_are_counted_apart(evidence: Evidence) -> None:
    closed = evidence.results[CLOSED]
    assert [row.subject for row in closed.rows] == ["gpu-host-01", "gpu-host-02"]
    assert closed.count("passed") == 2
    assert len(evidence.results["tests/host/test_good.py"].rows) == 3


def test_the_stack_file_is_judged_by_every_rule_and_question(evidence: Evidence) -> None:
    tests = {row.test for row in evidence.verdict.checks}
    assert {"preview/plan", "preview/policies", "preview/secrets", "policy/image-by-digest"} <= tests


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ("volumes-on-encrypted-hosts", "the rule asks for no encrypted device there"),
        ("data-on-encrypted-storage", "the folders that count as encrypted need no encrypted device there"),
    ],
)
def test_a_rule_that_shows_nothing_in_a_lab_is_not_run_there(evidence: Evidence, rule: str, says: str) -> None:
    (row,) = (row for row in evidence.verdict.checks if row.test == f"policy/{rule}")
    assert (row.outcome, row.cannot_run, row.has_nothing) == ("not run", True, False)
    assert row.reason.startswith(f"{DECLARED}simulated GPUs alone: a lab; {says}")
    production = {row.test: row.outcome for row in judge_stack(load_platform("production"), MOMENT, ())}
    assert production[f"policy/{rule}"] == "passed"


def test_what_a_rule_refuses_in_a_lab_is_failed_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policies, "ENCRYPTED_PATHS", ("/srv",))
    rows = {row.test: row for row in judge_stack(load_platform("lab"), MOMENT, ())}
    assert rows["policy/data-on-encrypted-storage"].outcome == "failed"
    assert "is below none of /srv" in rows["policy/data-on-encrypted-storage"].reason


def test_records_are_put_together_and_may_not_contradict_each_other(tmp_path: Path) -> None:
    good = run_sample(tmp_path / "good", bad=False)
    control_map, _ = write_map(tmp_path / "map.yaml")
    other = replace(good, checks=tuple(replace(check, test=f"{check.test}_too") for check in good.checks))
    one, two = write_record(good, tmp_path / "one.json"), write_record(other, tmp_path / "two.json")
    found = gather(load_platform("lab"), control_map, lambda _: None, records=[one, two])
    assert len([row for row in found.verdict.checks if row.test.startswith("tests/")]) == 6
    with pytest.raises(RecordError, match="two records have"):
        gather(load_platform("lab"), control_map, lambda _: None, records=[one, one])


def test_a_check_that_left_out_some_of_its_subjects_proves_nothing(tmp_path: Path) -> None:
    only = run_sample(tmp_path / "sample", bad=False, only="gpu-host-01")
    evidence = evidence_of(tmp_path, only, "key")
    assert (evidence.results[CLOSED].outcome, evidence.results[CLOSED].count("passed")) == ("not run", 1)
    assert evidence.results[CLOSED].reasons == (f"not run: 1 of 2: {LEFT_OUT}",)
    assert {each.state for each in evidence.judged if each.requirement.id.startswith("1.1")} == {"not run"}


def test_a_check_that_a_broken_run_did_not_end_proves_nothing(tmp_path: Path) -> None:
    good = run_sample(tmp_path / "sample", bad=False)
    first, second, *others = good.checks
    cut = replace(second, outcome="not run", reason=NOT_REACHED)
    broken = replace(good, checks=(first, cut, *others), problem="the run ended with code -9")
    evidence = evidence_of(tmp_path, broken, "key")
    assert evidence.results[CLOSED].outcome == "not run"
    assert evidence.results["tests/host/test_good.py"].reasons == (f"not run: 1 of 3: {NOT_REACHED}",)
    assert {each.state for each in evidence.judged if each.requirement.id.startswith("1.1")} == {"not run"}


def test_what_one_record_left_out_another_may_have(tmp_path: Path) -> None:
    parts = [run_sample(tmp_path / "sample", bad=False, only=only) for only in ("gpu-host-01", "not gpu-host-01")]
    whole = run_sample(tmp_path / "sample", bad=False)
    found = merged(parts)
    assert {(row.test, row.subject, row.outcome) for row in found.checks} == {
        (row.test, row.subject, row.outcome) for row in whole.checks
    }
    assert found.collected == whole.collected == len(found.checks)
    assert found.figures == whole.figures != parts[0].figures


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"environment": "production"}, "is of environment 'production'"),
        ({"stack": "0" * 64}, "the stack file was changed since"),
        ({"collected": None}, "an older version wrote it"),
        ({"inputs": {}}, "an older version wrote it"),
        ({"collected": 1000}, "of 1000 checks; take a record that is whole"),
    ],
)
def test_a_record_of_something_else_or_of_a_part_is_refused(
    sample: Verdict, tmp_path: Path, changes: dict[str, Any], says: str
) -> None:
    path = write_record(replace(sample, **changes), tmp_path / "verify.json")
    with pytest.raises(RecordError, match=says):
        read_record(path, "lab")


def test_a_record_of_other_inputs_or_software_is_refused_by_name_or_told(sample: Verdict, tmp_path: Path) -> None:
    control_map, map_file = write_map(tmp_path / "map.yaml")
    inputs = {**sample.inputs, "stacks/prices.yaml": "0" * 64, "stacks/old.yaml": "0" * 64}
    del inputs["uv.lock"]
    aged = replace(sample, inputs=inputs, commit="1" * 40, changes="2" * 64)
    platform, record = load_platform("lab"), write_record(aged, tmp_path / "verify.json")
    with pytest.raises(RecordError) as caught:
        gather(platform, control_map, lambda _: None, records=[record])
    told = gather(platform, control_map, lambda _: None, records=[record], accept_differences=True)
    evidence = assemble(platform, control_map, map_file, told, "key")
    for part in (
        "stacks/prices.yaml was changed",
        "stacks/old.yaml is gone",
        "uv.lock was not there",
        f"was at commit {'1' * 40} and is at ",
        "changes that are not committed were others",
    ):
        assert part in str(caught.value)
        assert f"taken all the same: {record}: " in html_report(evidence)
        assert part in html_report(evidence)
        assert part in assessment_results(evidence)
    assert "stacks/old.yaml" not in evidence.inputs
    assert gather(platform, control_map, lambda _: None, records=[write_record(sample, record)]).differences == ()


def test_a_record_that_names_no_tests_is_refused(sample: Verdict, tmp_path: Path) -> None:
    old = replace(sample, checks=tuple(replace(check, test="") for check in sample.checks))
    with pytest.raises(RecordError, match="does not name its tests"):
        read_record(write_record(old, tmp_path / "verify.json"), "lab")


def test_what_is_no_record_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "verify.json"
    path.write_text('{"environment": "lab"}')
    with pytest.raises(RecordError, match="is no record of checks"):
        read_record(path, "lab")
    with pytest.raises(RecordError, match="cannot be read"):
        read_record(tmp_path / "none.json", "lab")


def test_a_run_that_broke_is_told_in_the_evidence(sample: Verdict, tmp_path: Path) -> None:
    control_map, _ = write_map(tmp_path / "map.yaml")
    record = write_record(replace(sample, problem="the run ended with code 3"), tmp_path / "verify.json")
    found = gather(load_platform("lab"), control_map, lambda _: None, records=[record])
    assert found.verdict.problem == "the run ended with code 3"
    assert not found.verdict.holds
