"""In which order one call writes files, reads units anew, runs commands and starts units; which units are held back."""

import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args
from ansible_collections.llmaas.host.plugins.module_utils import effects, systemd_units
from ansible_collections.llmaas.host.plugins.modules import file_set


def base64_of(text: str) -> str:
    return base64.b64encode(text.encode()).decode("ascii")


class Host:
    """A folder in place of a host's units, and everything that was asked of it, in order."""

    def __init__(self, folder: Path) -> None:
        self.unit = folder / "a.service"
        self.packaged = folder / "packaged.service"
        self.other = folder / "other.conf"
        self.asked: list[str] = []

    def systemctl(self, _program: str, *arguments: str) -> str:
        if arguments[0] == "show":
            return "UnitFileState=enabled\nActiveState=active\nNeedDaemonReload=no\n"
        assert self.unit.exists()
        self.asked.append(" ".join(arguments))
        return ""

    def shell(self, *command: str) -> str:
        assert self.unit.exists()
        self.asked.append(command[-1])
        return ""

    def entry(self, path: Path) -> dict[str, Any]:
        return {"path": str(path), "owner": str(os.getuid()), "group": str(os.getgid())}

    def ensure(self, unit: str = "one", other: str = "one") -> list[str]:
        """Run the module as a role does; what was asked of the host."""
        arguments = {
            "files": [self.entry(self.unit), self.entry(self.other)],
            "contents": {str(self.unit): base64_of(unit), str(self.other): base64_of(other)},
            "units": [{"name": "a.service", "restart_if": [str(self.unit)]}],
            "apply": [{"command": "take effect"}],
        }
        return self.call(arguments)

    def call(self, arguments: dict[str, Any]) -> list[str]:
        """Run the module; what was asked of the host."""
        self.asked.clear()
        with patch_module_args(arguments), pytest.raises(SystemExit) as ended:
            file_set.main()
        assert not ended.value.code
        return list(self.asked)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    units = tmp_path / "units"
    units.mkdir()
    made = Host(units)
    monkeypatch.setattr(effects, "RECORDS", str(tmp_path / "applied"))
    monkeypatch.setattr(systemd_units, "UNITS", f"{units}/")
    monkeypatch.setattr(systemd_units, "PACKAGED", f"{tmp_path}/packaged/")
    monkeypatch.setattr(systemd_units, "output", made.systemctl)
    monkeypatch.setattr(effects, "output", made.shell)
    return made


def test_a_command_finds_units_read_anew_and_comes_before_those_that_start(host: Host) -> None:
    assert host.ensure() == ["daemon-reload", "take effect", "restart a.service"]


def test_a_second_call_does_nothing(host: Host) -> None:
    host.ensure()
    assert host.ensure() == []


def test_each_file_that_changes_moves_what_belongs_to_it(host: Host) -> None:
    host.ensure()
    # other.conf lies beside the unit, so systemd reads units again, but it restarts none
    assert host.ensure(other="two") == ["daemon-reload", "take effect"]
    assert host.ensure(unit="two", other="two") == ["daemon-reload", "take effect", "restart a.service"]


HOLD = {"held_units": ["packaged.service"]}
START = {"units": [{"name": "packaged.service"}]}


def changed(printed: pytest.CaptureFixture[str]) -> bool:
    """Whether the last call said that it changed something."""
    return bool(json.loads(printed.readouterr().out.splitlines()[-1])["changed"])


def install(tmp_path: Path) -> None:
    """The package brings its unit along."""
    (tmp_path / "packaged").mkdir()
    (tmp_path / "packaged" / "packaged.service").touch()


def test_a_unit_is_held_from_before_its_installation_until_a_role_starts_it(
    host: Host, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    host.ensure()
    capsys.readouterr()
    for installed, expected in ((False, True), (False, False), (True, False)):
        if installed:
            install(tmp_path)
        host.call(HOLD)
        assert host.packaged.readlink() == Path(os.devnull)
        assert changed(capsys) is expected
    assert host.call(START) == ["daemon-reload"]
    assert changed(capsys)
    for arguments in (HOLD, START):
        assert host.call(arguments) == []
        assert not changed(capsys)
        assert not os.path.lexists(host.packaged)


def test_a_unit_that_is_installed_already_is_not_held(
    host: Host, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    install(tmp_path)
    host.call(HOLD)
    assert not changed(capsys)
    assert not os.path.lexists(host.packaged)


@pytest.mark.parametrize(("before", "arguments"), [(False, HOLD), (True, START)], ids=["to hold", "to start"])
def test_a_check_run_tells_of_a_mask_and_leaves_it(
    host: Host, capsys: pytest.CaptureFixture[str], *, before: bool, arguments: dict[str, Any]
) -> None:
    if before:
        host.packaged.symlink_to(os.devnull)
    assert host.call({**arguments, "_ansible_check_mode": True}) == []
    assert changed(capsys)
    assert os.path.lexists(host.packaged) is before


def test_what_files_hold_stands_neither_in_the_host_s_log_nor_in_the_answer(
    host: Host, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    logged: list[str] = []
    monkeypatch.setattr(AnsibleModule, "log", lambda _, message, **more: logged.append(f"{message} {more}"))
    host.ensure(unit="the key of the host", other="another")
    told = capsys.readouterr().out
    # that it was called, and for which files, is told
    assert str(host.unit) in "".join(logged)
    for text in ("the key of the host", "another"):
        assert base64_of(text) not in "".join(logged)
        assert base64_of(text) not in told
