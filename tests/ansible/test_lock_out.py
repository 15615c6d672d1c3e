"""Who runs a playbook is not locked out by it, on the next host or the next day."""

import subprocess
from pathlib import Path

import pytest
import yaml
from playbooks import LOCAL, run_play

from llmaas.paths import PROJECT_ROOT

TASKS = PROJECT_ROOT / "ansible" / "roles" / "base" / "tasks" / "main.yml"


def judged(folder: Path, client: str, *bastions: str) -> subprocess.CompletedProcess[str]:
    """What the role says to a run from an address."""
    tasks = yaml.safe_load(TASKS.read_text())
    (task,) = (each for each in tasks if each["name"] == "Refuse rules that would lock out who runs this")
    known = {"name": "Know", "ansible.builtin.set_fact": {"host_client": client, "cacheable": True}}
    play = {"hosts": "all", "gather_facts": False, "tasks": [known, task]}
    inventory = {"all": {"hosts": {"gpu-host-01": LOCAL}, "vars": {"base_ssh_sources": list(bastions)}}}
    return run_play(folder, inventory, play)


@pytest.mark.parametrize(("client", "bastions"), [("10.0.0.9", ("10.0.0.9",)), ("10.0.0.9", ()), ("", ("10.0.0.9",))])
def test_a_bastion_goes_on_and_so_does_who_asks_by_no_network(
    tmp_path: Path, client: str, bastions: tuple[str, ...]
) -> None:
    done = judged(tmp_path, client, *bastions)
    assert done.returncode == 0, done.stdout + done.stderr


def test_another_address_is_refused_before_anything_is_changed(tmp_path: Path) -> None:
    done = judged(tmp_path, "10.0.0.90", "10.0.0.9", "10.0.0.8")
    assert done.returncode == 2, done.stdout + done.stderr
    words = "gpu-host-01 knows this machine by 10.0.0.90, which is none of llmaas:site.bastions (10.0.0.9, 10.0.0.8)"
    assert words in " ".join(done.stdout.split())
    names = [task["name"] for task in yaml.safe_load(TASKS.read_text())]
    changing = names.index("Configure name, names of the others, clock, SSH, kernel and journal")
    assert names.index("Refuse rules that would lock out who runs this") < changing
