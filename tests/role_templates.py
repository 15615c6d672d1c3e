"""Templates of roles as Ansible renders them, without a host."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from llmaas.paths import PROJECT_ROOT

ROLES = PROJECT_ROOT / "ansible" / "roles"


def render(folder: Path, templates: Mapping[str, Sequence[str]], variables: Mapping[str, Any]) -> None:
    """Write what each template (role -> names) becomes into ``folder``, under its name without ``.j2``.

    Of ``variables`` those of the roles and Ansible's facts are given.
    """
    tasks = [
        {
            "name": template,
            "ansible.builtin.template": {
                "src": str(ROLES / role / "templates" / template),
                "dest": str(folder / template.removesuffix(".j2")),
                "mode": "0644",
                "trim_blocks": True,
                "lstrip_blocks": True,
            },
        }
        for role, names in templates.items()
        for template in names
    ]
    play = {"name": "Render", "hosts": "localhost", "connection": "local", "gather_facts": False}
    chosen = {name: value for name, value in variables.items() if name.startswith((*templates, "ansible_facts"))}
    chosen["ansible_python_interpreter"] = sys.executable
    book = folder / "play.yml"
    book.write_text(yaml.safe_dump([{**play, "vars": chosen, "tasks": tasks}]))
    command = [str(PROJECT_ROOT / ".venv/bin/ansible-playbook"), "-i", "localhost,", str(book)]
    (folder / "ansible.cfg").touch()
    environment = {**os.environ, "ANSIBLE_CONFIG": str(folder / "ansible.cfg")}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
