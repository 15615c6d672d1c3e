"""What changed files need is done once, and by the next run when this one ended before it."""

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.llmaas.host.plugins.module_utils import effects, systemd_units


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(effects, "RECORDS", str(tmp_path / "applied"))
    path = tmp_path / "file.conf"
    path.write_text("one")
    return path


def entry(file: Path, **more: str) -> dict[str, Any]:
    return {"command": f"echo run >> {file.parent}/runs", "of": [str(file)], **more}


def runs(file: Path) -> int:
    path = file.parent / "runs"
    return len(path.read_text().splitlines()) if path.exists() else 0


def test_a_command_runs_once_for_each_state_of_its_files(file: Path) -> None:
    wanted = entry(file)
    assert effects.apply([wanted], [], check=False) == [wanted["command"]]
    assert effects.apply([wanted], [], check=False) == []
    file.chmod(0o600)
    assert effects.apply([wanted], [], check=False) == [wanted["command"]]
    assert runs(file) == 2


def test_a_command_that_names_no_files_belongs_to_all_of_its_call(file: Path) -> None:
    wanted = {"command": f"echo run >> {file.parent}/runs"}
    other = file.parent / "other.conf"
    for _ in range(2):
        effects.apply([wanted], [str(file), str(other)], check=False)
    assert runs(file) == 1
    other.touch()
    effects.apply([wanted], [str(file), str(other)], check=False)
    assert runs(file) == 2


def test_a_file_that_is_written_while_its_command_runs_makes_it_due_again(file: Path) -> None:
    wanted = {"command": f"sleep 0.05; touch {file}", "of": [str(file)]}
    for _ in range(2):
        assert effects.apply([wanted], [], check=False) == [wanted["command"]]


def test_check_mode_says_what_is_due_and_does_nothing(file: Path) -> None:
    wanted = entry(file)
    assert [effects.apply([wanted], [], check=True) for _ in range(2)] == [[wanted["command"]]] * 2
    assert runs(file) == 0


def test_a_failed_command_says_why_and_stays_due(file: Path) -> None:
    failing = {"command": "echo no such rule >&2; exit 3", "of": [str(file)]}
    for _ in range(2):
        with pytest.raises(ValueError, match="exit code 3: no such rule"):
            effects.apply([failing], [], check=False)


def test_what_has_nothing_to_act_on_is_passed_over_until_the_files_change_again(file: Path) -> None:
    later = file.parent / "joined"
    wanted = entry(file, only_with=str(later))
    assert effects.apply([wanted], [], check=False) == []
    later.touch()
    assert effects.apply([wanted], [], check=False) == []
    file.write_text("two")
    assert effects.apply([wanted], [], check=False) == [wanted["command"]]


@pytest.mark.parametrize("content", ["", "{}", "[]"])
def test_a_record_that_cannot_be_read_counts_as_none(file: Path, content: str) -> None:
    wanted = entry(file)
    effects.apply([wanted], [], check=False)
    Path(effects.record_of(wanted["command"])).write_text(content)
    assert effects.apply([wanted], [], check=False) == [wanted["command"]]


class Systemd:
    """Stands for systemctl: keeps what was asked of it."""

    def __init__(self, **state: str) -> None:
        self.state = {"UnitFileState": "enabled", "ActiveState": "active", "NeedDaemonReload": "no", **state}
        self.asked: list[tuple[str, ...]] = []

    def __call__(self, program: str, *arguments: str) -> str:
        assert program == "systemctl"
        if arguments[0] == "show":
            return "\n".join(f"{key}={value}" for key, value in self.state.items()) + "\n"
        self.asked.append(arguments)
        return ""


def ensured(monkeypatch: pytest.MonkeyPatch, systemd: Systemd, file: Path, *changed: str, **more: Any) -> list[str]:
    monkeypatch.setattr(systemd_units, "output", systemd)
    units = [{"name": "a.service", "restart_if": [str(file)], **more}]
    states = systemd_units.read_anew(units, list(changed), check=False)
    return systemd_units.ensure_units(units, states, check=False)


def test_a_unit_is_restarted_for_a_file_that_an_earlier_run_wrote(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    systemd = Systemd()
    assert ensured(monkeypatch, systemd, file) == ["restart a.service"]
    assert ensured(monkeypatch, systemd, file) == []
    file.write_text("two")
    assert ensured(monkeypatch, systemd, file) == ["restart a.service"]
    assert systemd.asked == [("restart", "a.service")] * 2


def test_a_unit_that_stopped_is_started_and_one_that_shall_not_start_yet_is_only_enabled(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ensured(monkeypatch, Systemd(), file)
    assert ensured(monkeypatch, Systemd(ActiveState="failed"), file) == ["start a.service"]
    systemd = Systemd(ActiveState="inactive", UnitFileState="disabled")
    joined = file.with_name("kubelet.conf")
    assert ensured(monkeypatch, systemd, file, start_if=str(joined)) == ["enable a.service"]
    assert systemd.asked == [("enable", "--no-reload", "a.service")]
    joined.touch()
    assert ensured(monkeypatch, systemd, file, start_if=str(joined)) == ["enable a.service", "start a.service"]


def test_a_unit_that_ends_by_itself_is_only_enabled(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ensured(monkeypatch, Systemd(ActiveState="inactive"), file, start=False) == []
    systemd = Systemd(ActiveState="inactive", UnitFileState="disabled")
    assert ensured(monkeypatch, systemd, file, start=False) == ["enable a.service"]


def test_a_word_that_nobody_reads_is_refused() -> None:
    systemd_units.refuse_unknown_words([{"name": "a.service", "start": False, "start_if": "/a", "restart_if": []}])
    with pytest.raises(ValueError, match=r"unit a\.service: begin, started is nothing that can be said"):
        systemd_units.refuse_unknown_words([{"name": "a.service", "started": False, "begin": True}])


@pytest.mark.parametrize(("needed", "changed"), [("yes", ()), ("no", ("/etc/systemd/system/a.service",))])
def test_units_are_read_again_when_their_files_changed_now_or_before(
    file: Path, monkeypatch: pytest.MonkeyPatch, needed: str, changed: tuple[str, ...]
) -> None:
    systemd = Systemd(NeedDaemonReload=needed)
    ensured(monkeypatch, systemd, file, *changed)
    assert systemd.asked[0] == ("daemon-reload",)
