"""What is known of the bare hosts: OpenSCAP's judgement, and what a run would do."""

import pytest
from emulated.fleet import HOSTS, KEY_SERVERS, LOGS, SWAP, Checked, Fleet

from llmaas.hardening import Score

# OpenSCAP and Ansible take minutes on an emulated host
pytestmark = pytest.mark.timeout(2400)


def test_the_outside_judge_finds_much_to_mend(score_before: Score) -> None:
    assert score_before.failed


def test_the_bare_host_writes_memory_to_a_disk_in_the_clear(bare: Fleet) -> None:
    for guest in bare.site.guests:
        assert guest.output("swapon --noheadings --show=NAME") == SWAP


def test_a_check_run_says_what_would_happen_and_changes_nothing(bare: Fleet, checked: Checked) -> None:
    assert checked.run.returncode == 0, checked.run.text
    assert f"format {LOGS.path} as LUKS2" in checked.run.text
    assert set(checked.run.changed) >= {name for name, _ in (*HOSTS, *KEY_SERVERS)}
    assert min(checked.run.changed.values()) > 0
    assert checked.after == checked.before
    assert not any(bare.records(name).exists() for name, _ in HOSTS)
