"""A disk that was replaced without a restart: its volume is still open under the name that the new one is to have."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.llmaas.host.plugins.module_utils import luks_volume, open_volumes
from ansible_collections.llmaas.host.plugins.module_utils.block_devices import BlockDevice
from ansible_collections.llmaas.host.plugins.module_utils.luks_volume import LuksVolume
from ansible_collections.llmaas.host.plugins.modules import data_devices, encrypted_device, erased_device

UUID = "11111111-2222-3333-4444-555555555555"
REMEDY = "stop what uses it, unmount it and run: cryptsetup close llmaas-logs"
Opened = Callable[..., None]


@pytest.fixture
def new_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A declared device, number 8:32."""
    path = tmp_path / "disk-new"
    path.touch()
    monkeypatch.setattr(open_volumes, "number_of", lambda found: {str(path): "8:32"}[found])
    return str(path)


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Opened:
    """Makes the kernel tell of a volume that is open; a disk without a number is gone."""
    block = tmp_path / "block"
    monkeypatch.setattr(open_volumes, "BLOCK", str(block))

    def lay(below: dict[str, str], name: str = "llmaas-logs", number: int = 0) -> None:
        folder = block / f"dm-{number}"
        (folder / "dm").mkdir(parents=True)
        (folder / "dm" / "name").write_text(f"{name}\n")
        (folder / "slaves").mkdir()
        for disk, of in below.items():
            if of:
                (folder / "slaves" / disk).mkdir()
                (folder / "slaves" / disk / "dev").write_text(f"{of}\n")
            else:
                # what sysfs leaves of a disk that was pulled under an open volume
                (folder / "slaves" / disk).symlink_to(tmp_path / "gone")

    lay({"vda5": "254:5"}, name="vg-root", number=7)
    return lay


OLD = pytest.mark.parametrize(
    ("below", "said"),
    [
        ({"sdb": "8:16"}, "it is still open on /dev/sdb;"),
        ({"sdb": ""}, "it is still open on sdb, a disk that is no longer there;"),
        ({}, "it is still open on a disk that is no longer there;"),
        ({"sdb": "8:16", "sdc": "8:32"}, "it is still open on /dev/sdb, /dev/sdc;"),
    ],
    ids=["old disk in place", "old disk pulled", "nothing known of the old disk", "on both"],
)


def test_only_a_volume_on_the_declared_device_counts_as_open(new_disk: str, opened: Opened) -> None:
    volume = LuksVolume(new_disk, "llmaas-logs")
    assert (volume.is_open(), volume.name_taken()) == (False, "")
    opened({"sdc": "8:32"})
    assert (volume.is_open(), volume.name_taken()) == (True, "")


@OLD
def test_a_volume_of_another_disk_is_named_with_the_remedy(
    new_disk: str, opened: Opened, below: dict[str, str], said: str
) -> None:
    opened(below)
    volume = LuksVolume(new_disk, "llmaas-logs")
    assert not volume.is_open()
    assert volume.name_taken().startswith(f"/dev/mapper/llmaas-logs is not on {new_disk}: {said}")
    assert REMEDY in volume.name_taken()


def test_a_missing_disk_is_no_reason_to_take_what_is_open_for_its_volume(tmp_path: Path, opened: Opened) -> None:
    opened({"sdb": ""})
    assert not LuksVolume(str(tmp_path / "absent"), "llmaas-logs").is_open()


def given(path: str, **changes: Any) -> dict[str, Any]:
    servers = {"http://10.0.0.1:7500": "A" * 43}
    return {
        "path": path,
        "format": True,
        "uuid": UUID,
        "recovery_key": "k",
        "threshold": 1,
        "servers": servers,
    } | changes


@OLD
@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize("new", [True, False], ids=["to be formatted", "ours"])
def test_nothing_is_formatted_while_another_disk_has_the_name(
    monkeypatch: pytest.MonkeyPatch,
    new_disk: str,
    opened: Opened,
    below: dict[str, str],
    said: str,
    *,
    check: bool,
    new: bool,
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(luks_volume, "output", lambda *words, **_: asked.append(" ".join(words)))
    opened(below)
    actions: list[str] = []
    with pytest.raises(ValueError, match="cryptsetup close llmaas-logs") as refused:
        encrypted_device.prepare(LuksVolume(new_disk, "llmaas-logs"), given(new_disk, format=new), actions, check=check)
    assert said in str(refused.value)
    assert (asked, actions) == ([], [])


@pytest.mark.parametrize("below", [{"sdb": "8:16"}, None], ids=["another disk", "nothing is open"])
def test_a_file_system_is_made_on_this_very_volume_alone(
    monkeypatch: pytest.MonkeyPatch, new_disk: str, opened: Opened, below: dict[str, str] | None
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(luks_volume, "output", lambda *words, **_: asked.append(words[0]))
    if below is not None:
        opened(below)
    with pytest.raises(ValueError, match="llmaas-logs"):
        LuksVolume(new_disk, "llmaas-logs").make_file_system()
    assert asked == []


def test_a_file_system_is_made_where_the_volume_is_open(
    monkeypatch: pytest.MonkeyPatch, new_disk: str, opened: Opened
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(luks_volume, "output", lambda *words, **_: asked.append(" ".join(words)))
    opened({"sdc": "8:32"})
    LuksVolume(new_disk, "llmaas-logs").make_file_system()
    assert asked == ["mkfs.ext4 -q -L llmaas-logs /dev/mapper/llmaas-logs"]


def device(path: str, **changes: Any) -> BlockDevice:
    blank = {"kind": "disk", "size_bytes": 1 << 30, "signature": "", "partition_table": "", "uuid": ""}
    empty = {"children": (), "mounted_at": (), "blank_start": True}
    return BlockDevice(path=path, **(blank | empty | changes))


@OLD
@pytest.mark.parametrize("state", ["new", "ours", "missing"])
def test_preflight_refuses_it_before_anything_is_changed(
    new_disk: str, opened: Opened, below: dict[str, str], said: str, state: str
) -> None:
    opened(below)
    where = "llmaas:hosts[3].data_devices[0]"
    record = {"uuid": UUID, "status": "ready"}
    entry = {"where": where, "purpose": "logs", "path": new_disk, "mount": "/nowhere/logs", **record}
    luks = {"signature": "crypto_LUKS", "blank_start": False}
    found = {"new": device(new_disk), "ours": device(new_disk, uuid=UUID, **luks), "missing": None}[state]
    judged, problems = data_devices.judge(entry, found, erase=True)
    assert judged == state
    assert problems[-1].startswith(f"{where}.path: /dev/mapper/llmaas-logs is not on {new_disk}: {said}")
    assert len(problems) == (2 if state == "missing" else 1)


def test_a_volume_that_is_open_on_its_own_disk_is_no_problem(new_disk: str, opened: Opened) -> None:
    opened({"sdc": "8:32"})
    entry = {
        "where": "w",
        "purpose": "logs",
        "path": new_disk,
        "mount": "/nowhere/logs",
        "uuid": UUID,
        "status": "ready",
    }
    found = device(new_disk, signature="crypto_LUKS", uuid=UUID, children=(("llmaas-logs", "crypt"),))
    assert data_devices.judge(entry, found, erase=False) == ("ours", [])


@pytest.mark.parametrize("check", [True, False])
def test_a_host_does_not_leave_while_an_old_disk_is_open_in_place_of_the_erased(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], new_disk: str, opened: Opened, *, check: bool
) -> None:
    opened({"sdb": "8:16"})
    found = device(new_disk, signature="crypto_LUKS", uuid=UUID)
    monkeypatch.setattr(erased_device, "probe", lambda _: found)
    monkeypatch.setattr(erased_device, "served_key", lambda _: pytest.fail("it goes on"))
    arguments = {
        "path": new_disk,
        "purpose": "logs",
        "mount": "/nowhere/logs",
        "uuid": UUID,
        "_ansible_check_mode": check,
    }
    with patch_module_args(arguments | {"_ansible_check_mode": check}), pytest.raises(SystemExit):
        erased_device.main()
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["failed"]
    assert REMEDY in told["msg"]


def test_the_kernel_is_asked_by_the_number_that_the_device_has(opened: Opened) -> None:
    real = Path("/dev/null").stat().st_rdev
    opened({"null": f"{os.major(real)}:{os.minor(real)}"})
    assert LuksVolume("/dev/null", "llmaas-logs").is_open()
    assert LuksVolume("/dev/zero", "llmaas-logs").name_taken()
