"""Where the mirror's name leads on a host, as the role packages writes it; run by Ansible on files of this machine."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from playbooks import run_play

from llmaas.paths import PROJECT_ROOT

TASKS = PROJECT_ROOT / "ansible" / "roles" / "packages" / "tasks" / "mirror_name.yml"
NAME, ADDRESS = "mirror.llm.example.fr", "10.20.0.9"
OURS = f"{ADDRESS} {NAME}\n"
LOCAL = "127.0.0.1 localhost\n"
# host -> the table, where the name leads by it, and the table that must become of it
TABLES = {
    "bare": (LOCAL, [], LOCAL + OURS),
    "moved": (f"{LOCAL}10.20.0.1 {NAME}\n", ["10.20.0.1"], LOCAL + OURS),
    "written-by-base": (f"{LOCAL}10.20.0.1 registry.llm.example.fr {NAME}\n", ["10.20.0.1"], LOCAL + OURS),
    "twice": (f"192.0.2.1 {NAME}\n{LOCAL}192.0.2.2\tother {NAME} third\n", ["192.0.2.1", "192.0.2.2"], LOCAL + OURS),
    "both": (f"192.0.2.1 {NAME}\n{OURS}", ["192.0.2.1", ADDRESS], OURS),
    "remark": (f"# {NAME} was 192.0.2.1\n", [], f"# {NAME} was 192.0.2.1\n{OURS}"),
    "others": (f"192.0.2.1 old-{NAME} {NAME}.old\n", [], f"192.0.2.1 old-{NAME} {NAME}.old\n{OURS}"),
    "right": (f"{ADDRESS} registry.llm.example.fr {NAME}\n", [ADDRESS], f"{ADDRESS} registry.llm.example.fr {NAME}\n"),
}


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, int]]:
    """The tables after a run, and how much it changed on each host."""
    folder = tmp_path_factory.mktemp("tables")
    (block,) = (task for task in yaml.safe_load(TASKS.read_text()) if "block" in task)
    tasks = json.loads(json.dumps([block]).replace("/etc/hosts", "{{ table }}"))
    hosts: dict[str, dict[str, Any]] = {}
    for host, (before, known, _) in TABLES.items():
        (folder / host).write_text(before)
        # one line for each kind of socket, as getent says it
        lines = [f"{address:15} {kind} {NAME}" for address in known for kind in ("STREAM", "DGRAM", "RAW")]
        hosts[host] = {"table": str(folder / host), "packages__known": {"stdout_lines": lines}}
    shared = {
        "ansible_connection": "local",
        "ansible_python_interpreter": "{{ ansible_playbook_python }}",
        "packages_mirror_name": NAME,
        "packages_mirror_address": ADDRESS,
    }
    play = {"hosts": "all", "gather_facts": False, "tasks": tasks}
    done = run_play(folder, {"all": {"hosts": hosts, "vars": shared}}, play)
    assert done.returncode == 0, done.stdout + done.stderr
    found = re.findall(r"^(\S+)\s+: ok=\d+\s+changed=(\d+)", done.stdout, re.MULTILINE)
    return folder, {host: int(count) for host, count in found}


@pytest.mark.parametrize("host", TABLES)
def test_the_name_leads_to_the_declared_address_and_nowhere_else(
    changed: tuple[Path, dict[str, int]], host: str
) -> None:
    folder, counts = changed
    assert (folder / host).read_text() == TABLES[host][2]
    assert (counts[host] > 0) is (TABLES[host][0] != TABLES[host][2])
