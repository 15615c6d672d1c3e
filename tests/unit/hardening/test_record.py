from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from llmaas.cli import hardening as command
from llmaas.hardening import RuleResult, Score
from llmaas.hardening.record import Held, ScoreRecordError, record_score, recorded_scores

DAYS = [datetime(2026, 11, day, tzinfo=UTC) for day in (24, 25, 26)]


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LLMAAS_STATE", str(tmp_path))
    return tmp_path


def score(passed: int, host: str = "gpu-host-01") -> Score:
    outcomes = ["pass"] * passed + ["fail"] * (4 - passed)
    rules = [RuleResult(f"rule-{n}", "", "medium", outcome, ("nt28",)) for n, outcome in enumerate(outcomes)]  # type: ignore[arg-type]
    return Score(host, "benchmark", "oscap", tuple(rules))


def test_the_first_and_the_latest_judgement_of_a_host_are_found() -> None:
    for day, passed in zip(DAYS, (1, 2, 3), strict=True):
        record_score("lab", score(passed), day)
    first, last = recorded_scores("lab", ["gpu-host-01", "gpu-host-02"])
    assert (first.at, first.profiles, first.failed) == (
        "2026-11-24T00:00:00+00:00",
        {"nt28": Held(1, 4, 25.0)},
        ("rule-1", "rule-2", "rule-3"),
    )
    assert (last.at, last.profiles, last.failed) == (
        "2026-11-26T00:00:00+00:00",
        {"nt28": Held(3, 4, 75.0)},
        ("rule-3",),
    )


def test_a_single_judgement_stands_once_and_hosts_without_any_are_left_out() -> None:
    record_score("lab", score(4), DAYS[0])
    assert len(recorded_scores("lab", ["gpu-host-01", "gpu-host-02"])) == 1
    assert recorded_scores("lab", ["gpu-host-02"]) == ()


def test_a_record_that_cannot_be_read_is_named() -> None:
    path = record_score("lab", score(4), DAYS[0])
    path.write_text("{")
    with pytest.raises(ScoreRecordError, match=f"{path}: is no record"):
        recorded_scores("lab", ["gpu-host-01"])


def test_judging_puts_the_judgement_on_record(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "judge_host", lambda name, *_: score(3, name))
    result = CliRunner().invoke(command.app, ["score", "-e", "lab", "--host", "gpu-host-03"])
    assert result.exit_code == 1, result.output
    (judgement,) = recorded_scores("lab", ["gpu-host-03"])
    assert (judgement.host, judgement.failed) == ("gpu-host-03", ("rule-3",))
