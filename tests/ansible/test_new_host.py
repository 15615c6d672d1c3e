"""A host that the firewalls of key servers do not know yet: its devices wait for their answer, all else does not."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from playbooks import LOCAL, programs, run_play, run_playbook
from unit.disks.tang import OTHER, OWN, answering, silent_address

from llmaas.paths import PROJECT_ROOT

PLAYBOOKS = PROJECT_ROOT / "ansible" / "playbooks"
ROLE = PROJECT_ROOT / "ansible" / "roles" / "disk_encryption"
# what they say of an empty disk
PROGRAMS = {"lsblk": """echo '{"blockdevices": [{"type": "disk", "size": 1048576}]}'""", "blkid": "exit 2"}
NOWHERE = json.dumps({"__disk_encryption_purposes": {"logs": {"mount": "/nowhere/logs"}}})


def of_role(part: str) -> Any:
    return yaml.safe_load((ROLE / part / "main.yml").read_text())


def inventory(folder: Path, *servers: tuple[str, str]) -> dict[str, Any]:
    """A host with an empty device, and key servers, each address and declared thumbprint."""
    disk = folder / "disk"
    disk.write_bytes(bytes(1 << 20))
    variables = {
        "disk_encryption_records": str(folder / "records"),
        "disk_encryption_recovery_recipients": ["somebody"],
        "disk_encryption_devices": [{"where": "hosts[0].data_devices[0]", "purpose": "logs", "path": str(disk)}],
        "disk_encryption_key_servers": [
            {"where": f"key_servers[{index}]", "name": f"key-0{index}", "url": url, "thumbprint": thumbprint}
            for index, (url, thumbprint) in enumerate(servers)
        ],
    }
    return {
        "encrypted": {"hosts": {"new-host": LOCAL | of_role("defaults") | variables}},
        "key_servers": {"hosts": {f"key-0{index}": LOCAL for index in range(len(servers))}},
    }


def preflight(folder: Path, *servers: tuple[str, str]) -> subprocess.CompletedProcess[str]:
    hosts = inventory(folder, *servers)
    return run_playbook(folder, hosts, "playbooks/preflight.yml", "-e", NOWHERE, **programs(folder, PROGRAMS))


def hear(folder: Path, hosts: dict[str, Any], *options: str) -> subprocess.CompletedProcess[str]:
    """The role, up to where it changes the host."""
    tasks = of_role("tasks")
    changes = [task["name"] for task in tasks].index("Install what encrypts and unlocks")
    play = {"hosts": "encrypted", "gather_facts": False, "vars": of_role("vars"), "tasks": tasks[:changes]}
    return run_play(folder, hosts, play, "-e", NOWHERE, *options, **programs(folder, PROGRAMS))


def said(done: subprocess.CompletedProcess[str]) -> str:
    """What was printed; long lines are folded."""
    return " ".join((done.stdout + done.stderr).split())


def test_preflight_tells_key_servers_that_do_not_answer_a_new_host_and_lets_it_pass(tmp_path: Path) -> None:
    nobody = silent_address()
    done = preflight(tmp_path, (nobody, OWN))
    assert done.returncode == 0, said(done)
    assert f"key_servers[0]: key-00: {nobody} does not answer" in said(done)


def test_preflight_refuses_a_new_host_s_key_server_with_another_key(tmp_path: Path) -> None:
    with answering() as url:
        done = preflight(tmp_path, (silent_address(), OWN), (url, OTHER))
    assert done.returncode == 2, said(done)
    assert f"key_servers[1].thumbprint: key-01 answers at {url} with the key {OWN}" in said(done)


def test_a_new_device_is_refused_before_the_host_is_changed_while_a_key_server_is_silent(tmp_path: Path) -> None:
    hosts = inventory(tmp_path, (silent_address(), OWN))
    done = hear(tmp_path, hosts)
    assert done.returncode == 2, said(done)
    assert "key_servers[0]: key-00: " in said(done)
    assert "playbooks/disks.yml" not in said(done)


def test_a_limited_run_names_the_one_that_lets_key_servers_know_the_host(tmp_path: Path) -> None:
    hosts = inventory(tmp_path, (silent_address(), OWN))
    done = hear(tmp_path, hosts, "--limit", "new-host")
    assert done.returncode == 2, said(done)
    assert "where the host is new, run playbooks/disks.yml without --limit (new-host)" in said(done)


def test_a_new_device_is_taken_where_key_servers_answer(tmp_path: Path) -> None:
    with answering() as url:
        done = hear(tmp_path, inventory(tmp_path, (url, OWN)))
    assert done.returncode == 0, said(done)


def test_firewalls_of_key_servers_know_all_hosts_before_one_is_heard() -> None:
    disks, hosts = (yaml.safe_load((PLAYBOOKS / f"{name}.yml").read_text()) for name in ("disks", "hosts"))
    # each play ends on all of its machines before the next begins, and key servers are machines
    assert disks[0]["ansible.builtin.import_playbook"] == "hosts.yml"
    assert [play["hosts"] for play in hosts if {"role": "firewall"} in play.get("roles", [])] == ["machines"]
    assert all("serial" not in play and "strategy" not in play for play in (*disks, *hosts))


@pytest.mark.parametrize("declared", [OTHER, ""], ids=["one declared", "none declared"])
@pytest.mark.parametrize("check", [True, False])
def test_key_servers_with_the_same_key_are_refused(tmp_path: Path, *, declared: str, check: bool) -> None:
    hosts = inventory(tmp_path, (silent_address(), ""), (silent_address(), OWN), (silent_address(), declared))
    learned = {"key-00": OTHER, "key-01": OWN, "key-02": OTHER}
    hosts["key_servers"]["hosts"] = {name: LOCAL | {"key_server_thumbprint": key} for name, key in learned.items()}
    done = hear(tmp_path, hosts, *(["--check"] if check else []))
    assert done.returncode == 2, said(done)
    assert f"key-00 and key-02 sign with the same key {OTHER}; is one a copy of the other?" in said(done)
    assert "key-01" not in said(done)


@pytest.mark.parametrize("same", ["", OWN], ids=["not made yet", "to be made anew"])
def test_a_check_run_refuses_no_keys_that_it_would_make(tmp_path: Path, same: str) -> None:
    hosts = inventory(tmp_path, (silent_address(), ""), (silent_address(), ""))
    hosts["key_servers"]["hosts"] = dict.fromkeys(["key-00", "key-01"], LOCAL | {"key_server_thumbprint": same})
    done = hear(tmp_path, hosts, "--check", "-e", "key_server_rotate=true")
    assert done.returncode == 0, said(done)
