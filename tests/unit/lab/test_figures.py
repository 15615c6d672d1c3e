"""What `make bench` says of runs that were before it."""

from pathlib import Path

import pytest

from lab.environment import PIPELINING, STRATEGY
from lab.figures import past_runs
from lab.layout import Layout
from lab.phases import Start, record_times


@pytest.fixture
def here(tmp_path: Path) -> Layout:
    return Layout(state=tmp_path, cache=tmp_path)


def told(layout: Layout) -> dict[str, tuple[str, bool | None]]:
    return {figure.what: (figure.value.split(" (")[0], figure.met) for figure in past_runs(layout)}


def test_without_a_run_nothing_was_measured(here: Layout) -> None:
    assert set(told(here).values()) == {
        ("no such run yet", None),
        ("no such run yet: make down; ANSIBLE_STRATEGY=linear make up", None),
        ("no such run yet: make down; ANSIBLE_STRATEGY=linear ANSIBLE_PIPELINING=no make up", None),
    }


def test_the_latest_run_of_each_kind_counts(here: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    record_times(here, Start.COLD, {"images": 1500.0, "ansible": 400.0})
    record_times(here, Start.WARM, {"images": 1.0, "ansible": 120.0})
    record_times(here, Start.RUNNING, {"ansible": 30.0})
    record_times(here, Start.PARTLY, {"ansible": 50.0})
    monkeypatch.setenv(STRATEGY, "linear")
    record_times(here, Start.WARM, {"images": 1.0, "ansible": 200.0})
    monkeypatch.setenv(PIPELINING, "False")
    record_times(here, Start.WARM, {"images": 1.0, "ansible": 300.0})
    # Mitogen pipelines nothing: such a run says nothing of pipelining, and is none of the usual ones
    monkeypatch.delenv(STRATEGY)
    record_times(here, Start.WARM, {"images": 1.0, "ansible": 400.0})
    assert told(here) == {
        "`make up`, cold cache": ("1900 s", False),
        "`make up`, warm cache, after make down": ("121 s", True),
        "`make up`, nothing to do": ("30 s", True),
        "Ansible, first run": ("120 s, 13 hosts", None),
        "Ansible, first run, by Ansible's own strategy": ("200 s, 13 hosts", None),
        "Ansible, first run, by Ansible's own strategy without pipelining": ("300 s, 13 hosts", None),
    }
