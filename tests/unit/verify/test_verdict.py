import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from llmaas.cli import verify as command
from llmaas.verify import LEFT_OUT, NOT_REACHED, Check, Verdict, inputs, run_checks, runner
from llmaas.verify.recorder import DESCRIPTOR, note

RunText = Callable[..., tuple[Verdict, list[Check]]]


@pytest.fixture
def verdict_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunText:
    monkeypatch.setenv("LLMAAS_STATE", str(tmp_path / "state"))

    def run(text: str, **options: str | None) -> tuple[Verdict, list[Check]]:
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


THREE = "import pytest\n@pytest.mark.parametrize('host', ['h1', 'h2', 'h3'])\ndef test_it_is_so(host): pass\n"


def test_what_was_left_out_stands_in_the_verdict_and_breaks_nothing(verdict_of: RunText) -> None:
    verdict, told = verdict_of(THREE, only="h1")
    assert [(check.subject, check.outcome) for check in told] == [("h1", "passed")]
    assert [(check.subject, check.reason) for check in verdict.checks] == [
        ("h1", ""),
        ("h2", LEFT_OUT),
        ("h3", LEFT_OUT),
    ]
    assert (verdict.holds, verdict.count("not run"), verdict.collected) == (True, 2, 3)


def test_what_a_killed_run_did_not_come_to_is_not_run(verdict_of: RunText) -> None:
    verdict, told = verdict_of(
        "import os, pytest\n@pytest.mark.parametrize('host', ['h1', 'h2', 'h3'])\n"
        "def test_it_is_so(host): host == 'h1' or os.kill(os.getpid(), 9)\n"
    )
    assert [check.subject for check in told] == ["h1"]
    assert [(check.subject, check.outcome, check.reason) for check in verdict.checks] == [
        ("h1", "passed", ""),
        ("h2", "not run", NOT_REACHED),
        ("h3", "not run", NOT_REACHED),
    ]
    assert "ended with code -9" in verdict.problem
    assert not verdict.holds


def test_a_check_is_told_to_be_left_out_by_the_runner_alone(verdict_of: RunText) -> None:
    verdict, _ = verdict_of(
        f"import pytest\ndef test_x(): pytest.skip({LEFT_OUT!r})\ndef test_y(): pytest.skip({NOT_REACHED!r})\n"
        "def test_z(): pass\n"
    )
    assert all(check.begun and not check.left_out for check in verdict.checks)
    assert not verdict.holds


def test_a_whole_run_leaves_nothing_out(verdict_of: RunText) -> None:
    verdict, told = verdict_of(THREE)
    assert list(verdict.checks) == told
    assert verdict.collected == 3


@pytest.mark.parametrize(
    ("only", "says"),
    [
        ("h1", "holds: for what was asked, it is what its stack file says (1 passed, 0 failed, 0 not run, 2 left out)"),
        (None, "holds: it is what its stack file says (3 passed, 0 failed, 0 not run)"),
    ],
)
def test_the_last_line_says_how_much_was_asked(
    verdict_of: RunText, monkeypatch: pytest.MonkeyPatch, only: str | None, says: str
) -> None:
    verdict = verdict_of(THREE, only=only)[0]
    monkeypatch.setattr(command, "run_checks", lambda *_: verdict)
    result = CliRunner().invoke(command.app, ["-e", "lab"])
    assert (result.exit_code, result.stdout.splitlines()[-1]) == (0, f"verdict: {says}")


def test_what_a_check_counted_stands_in_the_verdict_and_is_printed(
    verdict_of: RunText, monkeypatch: pytest.MonkeyPatch
) -> None:
    verdict, told = verdict_of(
        "from llmaas.verify.recorder import note\ndef test_x(): note({'forbidden connections': '7 tried'})\n"
    )
    assert (verdict.figures, len(told)) == ({"forbidden connections": "7 tried"}, 1)
    assert json.loads(verdict.as_json())["figures"] == verdict.figures
    monkeypatch.setattr(command, "run_checks", lambda *_: verdict)
    lines = CliRunner().invoke(command.app, ["-e", "lab"]).stdout.splitlines()
    assert lines[-2] == "forbidden connections: 7 tried"


def test_what_a_check_let_pass_by_an_exception_stands_with_its_row(verdict_of: RunText) -> None:
    verdict, _ = verdict_of(
        "from llmaas.verify.recorder import EXCEPTION\n"
        "def test_x(record_property):\n"
        "    record_property(EXCEPTION, 'R12 until 2027-05-31: pods')\n    record_property('other', 'x')\n"
        "def test_y(): pass\n"
    )
    assert {check.invariant: check.exceptions for check in verdict.checks} == {
        "x": ("R12 until 2027-05-31: pods",),
        "y": (),
    }
    assert json.loads(verdict.as_json())["checks"][0]["exceptions"] == ["R12 until 2027-05-31: pods"]


def test_a_check_that_runs_by_itself_counts_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(DESCRIPTOR, raising=False)
    note({"forbidden connections": "7 tried"})


def test_the_verdict_is_plain_data(verdict_of: RunText) -> None:
    verdict, _ = verdict_of("def test_x(): pass\n")
    content = json.loads(verdict.as_json())
    assert (content["holds"], content["passed"], content["failed"], content["not_run"]) == (True, 1, 0, 0)


def test_a_verdict_says_what_it_was_held_against_when_it_began(
    verdict_of: RunText, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = tmp_path / "Pulumi.sample.yaml"
    monkeypatch.setattr(inputs, "stack_file", lambda _: stack)
    monkeypatch.setattr(runner, "stack_file", lambda _: stack)
    stack.write_text("first")
    first = hashlib.sha256(b"first").hexdigest()
    verdict, _ = verdict_of("def test_x(): pass\n")
    assert (verdict.stack, verdict.inputs[f"stacks/{stack.name}"], verdict.problem) == (first, first, "")
    assert {"inputs", "commit", "changes"} <= json.loads(verdict.as_json()).keys()
    verdict, _ = verdict_of(f"from pathlib import Path\ndef test_x(): Path({str(stack)!r}).write_text('second')\n")
    assert (verdict.stack, verdict.inputs[f"stacks/{stack.name}"]) == (first, first)
    assert verdict.problem == f"while the checks ran, stacks/{stack.name} was changed; run them again"
    assert not verdict.holds
