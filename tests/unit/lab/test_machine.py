from pathlib import Path

import pytest

from lab import machine

TABLE = """\
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard
40 27 0:30 / /state/hosts/a/root rw - overlay overlay rw,lowerdir=/b
41 40 0:31 / /state/hosts/a/root/with\\040blank rw - tmpfs tmpfs rw
42 27 0:32 / /stately rw - tmpfs tmpfs rw
43 27 0:33 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
"""


def test_mount_points_are_read_with_their_blanks() -> None:
    assert machine.mounts(TABLE)[2].point == Path("/state/hosts/a/root/with blank")


def test_nested_mounts_are_taken_away_before_what_holds_them(monkeypatch: pytest.MonkeyPatch) -> None:
    table = machine.mounts(TABLE)
    monkeypatch.setattr(machine, "mounts", lambda: table)
    found = machine.mount_points_below(Path("/state"))
    assert found == (Path("/state/hosts/a/root/with blank"), Path("/state/hosts/a/root"))


def test_a_disk_that_somebody_put_there_is_not_taken_away(monkeypatch: pytest.MonkeyPatch) -> None:
    table = machine.mounts(TABLE)
    monkeypatch.setattr(machine, "mounts", lambda: table)
    assert machine.mount_points_below(Path("/stately")) == ()


def test_a_folder_whose_name_only_begins_alike_is_not_below(monkeypatch: pytest.MonkeyPatch) -> None:
    table = machine.mounts(TABLE)
    monkeypatch.setattr(machine, "mounts", lambda: table)
    assert Path("/stately") not in machine.mount_points_below(Path("/state"))


def test_cgroup_hierarchies_are_found_by_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    table = machine.mounts(TABLE)
    monkeypatch.setattr(machine, "mounts", lambda: table)
    assert machine.cgroup_hierarchies() == (Path("/sys/fs/cgroup/memory"),)
