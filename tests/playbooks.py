"""Runs Ansible as this project has it set up, on an inventory of the test's own."""

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llmaas.paths import PROJECT_ROOT

# A host that is this machine.
LOCAL = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
_ANSIBLE = PROJECT_ROOT / "ansible"


def programs(folder: Path, scripts: Mapping[str, str]) -> dict[str, str]:
    """The environment of a run that finds these shell scripts, by their names, before all other programs."""
    place = folder / "bin"
    place.mkdir()
    for name, script in scripts.items():
        (place / name).write_text(f"#!/bin/sh\n{script}\n")
        (place / name).chmod(0o755)
    return {"PATH": f"{place}:{os.environ['PATH']}"}


def run_playbook(
    folder: Path, inventory: dict[str, Any], playbook: Path | str, *options: str, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run a playbook, named from ``ansible/``; ``folder`` takes its files, ``variables`` go into its environment."""
    hosts = folder / "inventory.json"
    hosts.write_text(json.dumps(inventory))
    environment = {"ANSIBLE_INVENTORY_ENABLED": "yaml", "ANSIBLE_LOCAL_TEMP": str(folder / "ansible"), **variables}
    return subprocess.run(
        [PROJECT_ROOT / ".venv/bin/ansible-playbook", *options, "-i", hosts, playbook],
        cwd=_ANSIBLE,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def run_play(
    folder: Path, inventory: dict[str, Any], play: dict[str, Any], *options: str, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run one play of the test's own, which is written into ``folder``."""
    playbook = folder / "play.json"
    playbook.write_text(json.dumps([play]))
    return run_playbook(folder, inventory, playbook, *options, **variables)
