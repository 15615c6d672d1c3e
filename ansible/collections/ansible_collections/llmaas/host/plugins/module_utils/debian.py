"""What dpkg has installed, and apt-get without questions."""

from __future__ import annotations

import os
import subprocess

from ansible.module_utils.basic import AnsibleModule

APT_GET = ("apt-get", "-q", "-o", "DPkg::Lock::Timeout=300")


def known_packages(names: list[str]) -> dict[str, tuple[str, str]]:
    """Name -> dpkg's status (such as ``installed`` or ``config-files``) and version; without those dpkg never met."""
    if not names:
        return {}
    shown = subprocess.run(
        ["dpkg-query", "--show", "--showformat=${Package}\t${db:Status-Status}\t${Version}\n", *names],
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    rows = [line.split("\t") for line in shown.splitlines()]
    return {name: (status, version) for name, status, version in rows}


def run(module: AnsibleModule, *command: str) -> None:
    """Run a command that asks nothing; a failure fails the task with its last lines."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode != 0:
        lines = "\n".join((done.stdout + done.stderr).splitlines()[-25:])
        module.fail_json(msg=f"{' '.join(command)}: exit code {done.returncode}\n{lines}")
