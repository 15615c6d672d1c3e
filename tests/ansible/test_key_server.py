"""What the role key_server refuses, by Ansible itself on this machine; tang is not asked."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import yaml

from llmaas.paths import PROJECT_ROOT

ROLE = PROJECT_ROOT / "ansible" / "roles" / "key_server"
OWN, OTHER = "A" * 43, "B" * 43


def test_a_key_server_with_a_key_that_is_not_the_declared_one_is_refused(tmp_path: Path) -> None:
    tasks = yaml.safe_load((ROLE / "tasks" / "main.yml").read_text())
    (task,) = (each for each in tasks if each["name"].startswith("Refuse a key server whose key"))
    hosts: dict[str, dict[str, Any]] = {
        name: {"key_server_declared_thumbprint": declared, "key_server__keys": {"thumbprint": OWN}}
        for name, declared in (("key-01", OWN), ("key-02", ""), ("key-03", OTHER))
    }
    (tmp_path / "inventory.json").write_text(json.dumps({"all": {"hosts": hosts}}))
    (tmp_path / "play.json").write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": [task]}]))
    done = subprocess.run(
        [PROJECT_ROOT / ".venv/bin/ansible-playbook", "-i", tmp_path / "inventory.json", tmp_path / "play.json"],
        cwd=PROJECT_ROOT / "ansible",
        env=os.environ | {"ANSIBLE_INVENTORY_ENABLED": "yaml", "ANSIBLE_LOCAL_TEMP": str(tmp_path / "ansible")},
        capture_output=True,
        text=True,
        check=False,
    )
    failed = [line.split("[")[1].split("]")[0] for line in done.stdout.splitlines() if line.startswith("fatal: ")]
    assert failed == ["key-03"], done.stdout + done.stderr
    assert f"key-03 signs with {OWN}, but the stack file names {OTHER}" in " ".join(done.stdout.split())
