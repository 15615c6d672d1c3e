"""What the role control_plane refuses, by Ansible itself on this machine; no cluster is made."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from playbooks import LOCAL, run_play

from llmaas.paths import PROJECT_ROOT

TASKS = PROJECT_ROOT / "ansible" / "roles" / "control_plane" / "tasks"
NAMES = ("control-01", "control-02", "control-03")
# nothing listens there
AWAY = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1}


def look(folder: Path, *standing: str, away: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Let the first control host look for the control planes of all, limited to itself as a repair may be.

    Those that are ``away`` do not answer.
    """
    hosts: dict[str, Any] = {}
    for name in NAMES:
        if name in standing:
            (folder / f"{name}.conf").touch()
        hosts[name] = AWAY if name in away else LOCAL
    # hosts have it at the same place, and these are one machine
    admin = f"{folder}/{{{{ item | default(inventory_hostname) }}}}.conf"
    variables = {"control_plane_group": "control", "__control_plane_admin": admin}
    inventory = {"control": {"hosts": hosts, "vars": variables}}
    tasks = yaml.safe_load((TASKS / "only_cluster.yml").read_text())
    play = {"hosts": "control", "gather_facts": False, "any_errors_fatal": True, "tasks": tasks}
    return run_play(folder, inventory, play, "--limit", NAMES[0])


@pytest.mark.parametrize("standing", [(), NAMES[:1], NAMES], ids=["the first run", "it stands", "all stand"])
def test_the_first_control_host_makes_the_cluster_or_has_made_it(tmp_path: Path, standing: tuple[str, ...]) -> None:
    done = look(tmp_path, *standing)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_first_control_host_that_lost_its_own_makes_no_second_cluster(tmp_path: Path) -> None:
    done = look(tmp_path, *NAMES[1:])
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Put control-02 first in llmaas:hosts, and control-01 joins it" in " ".join(done.stdout.split())


def test_another_control_host_that_is_away_ends_no_run_of_a_cluster_that_stands(tmp_path: Path) -> None:
    done = look(tmp_path, *NAMES, away=NAMES[1:])
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_cluster_is_made_while_another_control_host_cannot_be_asked(tmp_path: Path) -> None:
    done = look(tmp_path, away=NAMES[1:])
    assert done.returncode != 0
    assert "UNREACHABLE" in done.stdout


def test_no_cluster_is_made_before_others_were_looked_for() -> None:
    tasks = [task["name"] for task in yaml.safe_load((TASKS / "main.yml").read_text())]
    assert tasks.index("Make sure that there is no other cluster") == tasks.index("Make the cluster") - 1
