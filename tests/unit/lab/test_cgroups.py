"""Ending groups: whoever ends them may be in one, as it is where systemd runs, and must live."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from lab import cgroups


def group(folder: Path, *pids: int) -> Path:
    folder.mkdir(parents=True)
    (folder / "cgroup.procs").write_text("".join(f"{pid}\n" for pid in pids))
    (folder / "cgroup.kill").write_text("")
    return folder


@pytest.fixture
def slice_with_this_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hierarchy as systemd makes it, with the scope of this run in the lab's slice."""
    group(tmp_path / "llmaas_lab.slice")
    group(tmp_path / "llmaas_lab.slice" / f"llmaas-lab-up.{os.getpid()}.1.scope", os.getpid())
    monkeypatch.setattr(cgroups, "cgroup_hierarchies", lambda: (tmp_path,))
    return tmp_path / "llmaas_lab.slice"


def killed_at_once(folder: Path) -> set[str]:
    return {path.parent.name for path in folder.rglob("cgroup.kill") if path.read_text()}


def test_what_an_earlier_run_left_is_ended_and_this_run_is_not(slice_with_this_run: Path) -> None:
    child = subprocess.Popen(["sleep", "60"])
    group(slice_with_this_run / "llmaas-lab-up.7.1.scope", child.pid)
    group(slice_with_this_run / "llmaas-lab-host-01.7.1.scope")
    cgroups.end_group("up", seconds=0)
    assert killed_at_once(slice_with_this_run) == {"llmaas-lab-up.7.1.scope"}
    assert child.wait(5) < 0


def test_when_the_whole_slice_is_ended_all_but_this_run_go(slice_with_this_run: Path) -> None:
    child = subprocess.Popen(["sleep", "60"])
    group(slice_with_this_run / "llmaas-lab-host-01.7.1.scope", child.pid)
    cgroups.end_all_groups(seconds=0)
    assert killed_at_once(slice_with_this_run) == set()
    assert child.wait(5) < 0


def test_a_group_that_vanishes_while_they_are_ended_does_not_stop_it(
    slice_with_this_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with cgroup.kill: a whole machine ends at once, and its groups go one by one."""
    payload = slice_with_this_run / "llmaas-lab-host-01.7.1.scope" / "payload"
    group(payload)
    group(payload / "dev-hugepages.mount")
    scandir = os.scandir

    def vanishing(path: str | int) -> object:
        found = scandir(path)
        if path == str(payload):
            shutil.rmtree(payload / "dev-hugepages.mount", ignore_errors=True)
        return found

    monkeypatch.setattr(os, "scandir", vanishing)
    assert cgroups.end_all_groups(seconds=0) == set()
    assert not (payload / "dev-hugepages.mount").exists()
