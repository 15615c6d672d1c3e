"""What is refused before any host is changed, by Ansible itself. The host that is named has nobody who could answer."""

import subprocess
from datetime import date
from pathlib import Path

import pytest
from playbooks import run_playbook

from llmaas.settings import load_platform
from llmaas.views import hardening

NOBODY = {"ansible_host": "192.0.2.1", "ansible_connection": "ssh", "ansible_timeout": 1}


def playbook(folder: Path, name: str, today: date, *options: str) -> subprocess.CompletedProcess[str]:
    """Run a playbook on a host and a key server, with the lab's exceptions as they are judged on a day."""
    groups = {"nodes": {"hosts": {"nobody": NOBODY}}, "key_servers": {"hosts": {"key-server": NOBODY}}}
    machines = {"children": dict.fromkeys(groups), "vars": hardening.common(load_platform("lab"), today)}
    return run_playbook(folder, groups | {"machines": machines}, f"playbooks/{name}", *options)


@pytest.mark.parametrize("limit", ["all", "key_servers"])
@pytest.mark.parametrize("name", ["hosts.yml", "disks.yml", "models.yml", "foundation.yml", "site.yml"])
def test_an_exception_that_has_ended_stops_a_playbook_in_its_first_play(tmp_path: Path, name: str, limit: str) -> None:
    done = playbook(tmp_path, name, date(2027, 6, 1), "--limit", limit)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "(R12).expires: was 2027-05-31; end the deviation, or renew it with a reason" in done.stdout
    (play,) = [line for line in done.stdout.splitlines() if line.startswith("PLAY [")]
    assert "Exceptions from the hardening hold today" in play
    # nothing was asked of the host, which could not have answered
    assert "unreachable=0" in done.stdout


def test_an_exception_that_ends_soon_is_told_and_stops_nothing(tmp_path: Path) -> None:
    done = playbook(tmp_path, "preflight.yml", date(2027, 4, 23))
    assert done.returncode == 0, done.stdout + done.stderr
    # long lines are folded
    assert "(R33).expires: is 2027-04-30, in 7 days; it is refused from the day after" in " ".join(done.stdout.split())
