import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result
from unit.evidence.sample import run_sample, write_record

from llmaas.cli import evidence as command
from llmaas.evidence import control_map, gathering
from llmaas.evidence.existing import existing_checks
from llmaas.verify import Verdict


def _run(*arguments: object) -> Result:
    return CliRunner().invoke(command.app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, Path]:
    """Evidence by the project's own map from a record in which nothing failed."""
    folder = tmp_path_factory.mktemp("command")
    record = write_record(run_sample(folder / "sample", bad=False), folder / "verify.json")
    return _run("-e", "lab", "--from", record, "--output", folder / "evidence"), folder / "evidence"


def test_evidence_ends_with_the_next_command_and_that_command_holds(written: tuple[Result, Path]) -> None:
    result, folder = written
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-1] == f"Next: llmaas evidence verify {folder}"
    verified = _run("verify", folder)
    assert (verified.exit_code, "holds" in verified.stdout) == (0, True)
    assert "who signed was not checked" in verified.stdout


def test_the_published_key_verifies_what_was_signed(written: tuple[Result, Path], tmp_path: Path) -> None:
    public = tmp_path / "key.pem"
    public.write_text(_run("key", "-e", "lab").stdout)
    verified = _run("verify", written[1], "--key", public)
    assert verified.exit_code == 0
    assert "who signed" not in verified.stdout


def test_what_the_record_lacks_is_not_run_and_never_proved(written: tuple[Result, Path]) -> None:
    (result,) = json.loads((written[1] / "assessment-results.json").read_text())["assessment-results"]["results"]
    outcomes = {each["title"]: each["props"][0]["value"] for each in result["observations"]}
    assert {outcome for check, outcome in outcomes.items() if check.startswith("tests/")} == {"not run"}
    assert {outcome for check, outcome in outcomes.items() if check.startswith("preview/")} == {"passed"}
    states = {each["title"]: each["props"][0]["value"] for each in result["findings"]}
    assert states["SecNumCloud 3.2 10.2.a: Flows are encrypted by ANSSI's rules"] == "not run"


def test_an_altered_folder_ends_with_1_and_the_file_s_name(written: tuple[Result, Path], tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    folder.mkdir()
    for path in written[1].iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "report.pdf").write_bytes(b"")
    verified = _run("verify", folder)
    assert verified.exit_code == 1
    assert "report.pdf: altered" in verified.stderr


def test_a_failed_check_ends_with_1_and_is_written_all_the_same(sample: Verdict, tmp_path: Path) -> None:
    record = write_record(sample, tmp_path / "verify.json")
    assert _run("-e", "lab", "--from", record, "--output", tmp_path / "evidence").exit_code == 1
    assert (tmp_path / "evidence" / "manifest.json").exists()


def test_without_records_everything_is_run(sample: Verdict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def run_checks(environment: str, _on_check: object, folders: list[str]) -> Verdict:
        asked.extend([environment, *folders])
        return replace(sample, problem="the run ended with code 3 before its end")

    monkeypatch.setattr(gathering, "run_checks", run_checks)
    result = _run("-e", "lab", "--output", tmp_path / "evidence")
    assert asked[:3] == ["lab", "host", "api"]
    assert result.exit_code == 1
    text = (tmp_path / "evidence" / "report.html").read_text()
    assert "the run ended with code 3 before its end" in text
    assert "ask for it with --emulated" in text


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "name an environment"),
        (("-e", "nowhere"), "nowhere"),
        (("-e", "lab", "--from", "/nonexistent/verify.json"), "cannot be read"),
        (("-e", "lab", "--from", "x", "--emulated"), "--emulated"),
        (("-e", "lab", "--certificate-key", "x"), "is of no use without --certificates"),
        (("-e", "lab", "--certificates", "/etc", "--certificate-key", "/nonexistent/key.pem"), "/nonexistent/key.pem"),
        (("-e", "lab", "--output", "/nonexistent/folder/evidence"), "is no folder"),
        (("-e", "lab", "--output", "/etc"), "is there already"),
        (("verify", "/etc", "--key", "/nonexistent/key.pem"), "--key /nonexistent/key.pem"),
    ],
)
def test_a_mistake_is_told_with_code_2_before_anything_runs(
    arguments: tuple[str, ...], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gathering, "run_checks", lambda *_: pytest.fail("checks ran"))
    result = _run(*arguments)
    assert result.exit_code == 2
    assert says in result.stderr


def test_interrupted_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> Verdict:
        raise KeyboardInterrupt

    monkeypatch.setattr(gathering, "run_checks", interrupted)
    assert _run("-e", "lab", "--output", tmp_path / "evidence").exit_code == 130
    assert list(tmp_path.iterdir()) == []


def test_a_check_that_the_map_does_not_know_stands_in_the_report(
    sample: Verdict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = control_map.load_control_map()
    fewer = known.model_copy(update={"unmapped": tuple(each for each in known.unmapped if each.check != "tests/lab")})
    monkeypatch.setattr(control_map, "load_control_map", lambda: fewer)
    record = write_record(sample, tmp_path / "verify.json")
    _run("-e", "lab", "--from", record, "--output", tmp_path / "evidence")
    forgotten = next(check for check in existing_checks() if check.startswith("tests/lab/"))
    assert forgotten in (tmp_path / "evidence" / "report.html").read_text()
