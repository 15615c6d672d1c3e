import json
from collections.abc import Callable
from pathlib import Path

import pytest

from llmaas.verify import Check, Verdict, run_checks

RunText = Callable[..., tuple[Verdict, list[Check]]]


@pytest.fixture
def verdict_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunText:
    monkeypatch.setenv("LLMAAS_STATE", str(tmp_path / "state"))

    def run(text: str, **options: str) -> tuple[Verdict, list[Check]]:
        folder = tmp_path / "host"
        folder.mkdir(exist_ok=True)
        (folder / "test_the_sample.py").write_text(text)
        told: list[Check] = []
        return run_checks("sample", told.append, ["host"], tests=tmp_path, **options), told

    return run


def test_a_run_in_which_everything_passed_holds(verdict_of: RunText) -> None:
    verdict, told = verdict_of(
        "import pytest\n@pytest.mark.parametrize('host', ['a', 'b'])\ndef test_it_is_so(host): pass\n"
    )
    assert verdict.holds
    assert [(check.area, check.invariant, check.subject) for check in told] == [
        ("the sample", "it is so", "a"),
        ("the sample", "it is so", "b"),
    ]


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("def test_x(): assert 1 == 2", "failed"),
        ("import pytest\ndef test_x(): pytest.skip('no time')", "not run"),
        ("import pytest\n@pytest.mark.xfail\ndef test_x(): assert False", "not run"),
        ("import pytest\n@pytest.fixture\ndef f(): raise OSError('no way')\ndef test_x(f): pass", "failed"),
        ("import no_such_module\ndef test_x(): pass", "failed"),
    ],
)
def test_a_check_that_did_not_pass_breaks_the_verdict(verdict_of: RunText, text: str, outcome: str) -> None:
    verdict, _ = verdict_of(f"{text}\n")
    assert not verdict.holds
    assert outcome in {check.outcome for check in verdict.checks}
    assert all(check.reason for check in verdict.checks)


def test_what_the_stack_file_rules_out_is_not_run_and_breaks_nothing(verdict_of: RunText) -> None:
    verdict, _ = verdict_of(
        "import pytest\nfrom llmaas.verify import DECLARED\n"
        "def test_x(): pytest.skip(DECLARED + 'simulated GPUs')\ndef test_y(): pass\n"
    )
    assert verdict.holds
    assert (verdict.count("passed"), verdict.count("not run")) == (1, 1)


def test_a_run_in_which_nothing_can_run_proves_nothing(verdict_of: RunText) -> None:
    verdict, _ = verdict_of(
        "import pytest\nfrom llmaas.verify import DECLARED\ndef test_x(): pytest.skip(DECLARED + 'x')\n"
    )
    assert not verdict.holds


def test_a_failure_excuses_itself_with_nothing(verdict_of: RunText) -> None:
    verdict, _ = verdict_of(
        "from llmaas.verify import DECLARED\ndef test_x(): raise RuntimeError(DECLARED)\ndef test_y(): pass\n"
    )
    assert not verdict.holds


def test_a_run_without_checks_proves_nothing(verdict_of: RunText) -> None:
    verdict, _ = verdict_of("def test_x(): pass\n", only="nothing_like_it")
    assert not verdict.holds
    assert "verify.log" in verdict.problem


def test_the_verdict_is_plain_data(verdict_of: RunText) -> None:
    verdict, _ = verdict_of("def test_x(): pass\n")
    content = json.loads(verdict.as_json())
    assert (content["holds"], content["passed"], content["failed"], content["not_run"]) == (True, 1, 0, 0)
