"""What the role key_server refuses, by Ansible itself on this machine; tang is not asked."""

import subprocess
from pathlib import Path
from typing import Any

import yaml
from playbooks import LOCAL, run_play

from llmaas.paths import PROJECT_ROOT

PLAYBOOKS = PROJECT_ROOT / "ansible" / "playbooks"
ROLE = PROJECT_ROOT / "ansible" / "roles" / "key_server"
OWN, OTHER = "A" * 43, "B" * 43


def tasks_of(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load((ROLE / "tasks" / f"{name}.yml").read_text())
    return found


def play(folder: Path, inventory: dict[str, Any], tasks: list[dict[str, Any]]) -> subprocess.CompletedProcess[str]:
    """Run tasks on the hosts of the group key_servers."""
    content = {"hosts": "key_servers", "gather_facts": False, "any_errors_fatal": True, "tasks": tasks}
    return run_play(folder, inventory, content)


def test_a_key_server_with_a_key_that_is_not_the_declared_one_is_refused(tmp_path: Path) -> None:
    (task,) = (each for each in tasks_of("main") if each["name"].startswith("Refuse a key server whose key"))
    hosts: dict[str, dict[str, Any]] = {
        name: {"key_server_declared_thumbprint": declared, "key_server__keys": {"thumbprint": OWN}}
        for name, declared in (("key-01", OWN), ("key-02", ""), ("key-03", OTHER))
    }
    done = play(tmp_path, {"key_servers": {"hosts": hosts}}, [task])
    failed = [line.split("[")[1].split("]")[0] for line in done.stdout.splitlines() if line.startswith("fatal: ")]
    assert failed == ["key-03"], done.stdout + done.stderr
    assert f"key-03 signs with {OWN}, but the stack file names {OTHER}" in " ".join(done.stdout.split())


def test_old_keys_go_after_every_volume_was_bound_anew() -> None:
    plays = yaml.safe_load((PLAYBOOKS / "disks.yml").read_text())
    last = plays[-1]
    assert "disk_encryption" in str(plays[-2])
    assert (last["hosts"], last["any_errors_fatal"]) == ("key_servers", True)
    (task,) = last["tasks"]
    assert task["ansible.builtin.import_role"] == {"name": "key_server", "tasks_from": "forget.yml"}
    assert task["when"] == "key_server_forget | bool"
    assert "forget" not in str([each.get("llmaas.host.tang_keys") for each in tasks_of("main")])
    # all key servers have agreed before the first forgets one
    _, asked, done = tasks_of("forget")
    assert asked["check_mode"] is True
    assert asked["llmaas.host.tang_keys"] == done["llmaas.host.tang_keys"]


def test_no_key_is_forgotten_while_a_host_does_not_answer(tmp_path: Path) -> None:
    inventory = {
        "key_servers": {"hosts": {"key-01": LOCAL, "key-02": LOCAL}},
        "encrypted": {"hosts": {"gpu-host-07": {"ansible_host": "192.0.2.1", "ansible_timeout": 1}}},
    }
    role = {"name": "key_server", "tasks_from": "forget.yml"}
    done = play(tmp_path, inventory, [{"name": "Forget", "ansible.builtin.import_role": role}])
    assert done.returncode not in {0, 1}, done.stdout + done.stderr
    assert "Ask every host which keys open its volumes" in done.stdout
    assert "before any key server forgets one" not in done.stdout
