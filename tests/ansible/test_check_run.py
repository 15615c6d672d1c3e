"""What a check run says of the half that makes the cluster, where there is none; this machine plays the hosts."""

import re
import sys
from pathlib import Path
from typing import Any

import yaml
from playbooks import run_playbook

from llmaas.settings import load_platform
from llmaas.views.inventory import inventory

CONTROL, OTHERS = ("control-01", "control-02"), ("gpu-host-01", "gpu-host-02")
HERE = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}


def checked(folder: Path, hosts: str, role: str, entry: str, given: dict[str, Any]) -> dict[str, set[str]]:
    """Name of a task -> the hosts that it would change, from a check run of a role's entry point."""
    variables = {name: value for name, value in inventory(load_platform("lab"))["all"].items() if name.startswith(role)}
    task = {"name": "Check", "ansible.builtin.import_role": {"name": role, "tasks_from": entry}}
    play = {"name": "Check", "hosts": hosts, "gather_facts": False, "tasks": [task]}
    book = folder / "play.yml"
    book.write_text(yaml.safe_dump([play]))
    groups = {
        "control": {"hosts": dict.fromkeys(CONTROL)},
        "nodes": {"hosts": dict.fromkeys((*CONTROL, *OTHERS))},
        "all": {"vars": variables | given | HERE},
    }
    done = run_playbook(folder, groups, book, "--check")
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, set[str]] = {}
    name = ""
    for line in done.stdout.splitlines():
        if begun := re.match(rf"TASK \[{role} : (.*)\] \**$", line):
            name = begun[1]
        elif changed := re.match(r"changed: \[([^] ]+)", line):
            found.setdefault(name, set()).add(changed[1])
    return found


def test_every_host_but_the_one_that_makes_the_cluster_would_join(tmp_path: Path) -> None:
    given = {"kubernetes_node__files": {"existing_paths": []}}
    found = checked(tmp_path, "nodes", "kubernetes_node", "join", given)
    assert found == {"Say whether the host would join": {CONTROL[1], *OTHERS}}


def test_a_cluster_that_is_not_there_yet_would_be_brought_to_what_it_shall_hold(tmp_path: Path) -> None:
    found = checked(tmp_path, "control[0]", "control_plane", "finish", {"control_plane__made": {"changed": True}})
    assert set(found) == {"Write what the cluster itself shall hold", "Say that the cluster would be brought to it"}
    assert set.union(*found.values()) == {CONTROL[0]}
