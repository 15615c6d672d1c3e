"""What a host that is partly locked does by itself."""

import importlib.util
import json
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

from llmaas.paths import PROJECT_ROOT

DEVICES = [
    {"purpose": purpose, "path": f"/dev/disk/by-id/{purpose}", "mount": f"/srv/{purpose}"}
    for purpose in ("open", "locked", "absent", "log_store")
]
THERE = {
    "/dev/mapper/llmaas-open",
    "/dev/disk/by-id/open",
    "/dev/disk/by-id/locked",
    "/dev/disk/by-id/log_store",
}


@pytest.fixture
def report() -> ModuleType:
    path = PROJECT_ROOT / "ansible/roles/disk_encryption/files/report_disks.py"
    spec = importlib.util.spec_from_file_location("report_disks", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_is_open_is_mounted_and_what_is_there_is_opened_again(
    report: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []
    monkeypatch.setattr(report.os.path, "exists", lambda path: path in THERE)
    monkeypatch.setattr(report.subprocess, "run", lambda command, **_: asked.append(command))
    report.try_again(DEVICES)
    assert [command[:3] for command in asked] == [["systemctl", "start", "--no-block"]] * 3
    assert [command[3] for command in asked] == [
        "/srv/open",
        r"systemd-cryptsetup@llmaas\x2dlocked.service",
        r"systemd-cryptsetup@llmaas\x2dlog_store.service",
    ]


@pytest.mark.parametrize("purpose", ["locked", "log_store"])
def test_the_unit_is_the_one_that_systemd_makes_of_the_name(
    report: ModuleType, monkeypatch: pytest.MonkeyPatch, purpose: str
) -> None:
    name = ["systemd-escape", "--template=systemd-cryptsetup@.service", f"llmaas-{purpose}"]
    unit = subprocess.run(name, check=True, capture_output=True, text=True).stdout.strip()
    asked: list[str] = []
    monkeypatch.setattr(report.os.path, "exists", lambda path: path == f"/dev/disk/by-id/{purpose}")
    monkeypatch.setattr(report.subprocess, "run", lambda command, **_: asked.append(command[3]))
    report.try_again(DEVICES)
    assert asked == [unit]


@pytest.mark.parametrize("late", [False, True])
def test_what_systemd_gave_up_is_started_once_everything_is_open(
    report: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, late: bool
) -> None:
    device = DEVICES[1]
    configuration = tmp_path / "disks.json"
    configuration.write_text(json.dumps({"devices": [device], "key_servers": [], "threshold": 1}))
    monkeypatch.setattr(report, "CONFIGURATION", str(configuration))
    monkeypatch.setattr(report, "STATE", str(tmp_path / "state.json"))
    monkeypatch.setattr(report, "TRY_AGAIN_SECONDS", 0)
    monkeypatch.setattr(report.os.path, "exists", lambda _: True)
    monkeypatch.setattr(report.time, "sleep", lambda _: None)
    asked: list[str] = []
    monkeypatch.setattr(report.subprocess, "run", lambda command, **_: asked.append(command[3]))
    opened = {device["mount"]: f"/dev/mapper/llmaas-{device['purpose']}"}
    seen = iter([{}, opened] if late else [opened])
    monkeypatch.setattr(report, "mounted", lambda: next(seen))
    assert report.main() == 0
    assert asked == (["/srv/locked", "multi-user.target"] if late else [])
