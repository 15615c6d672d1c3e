"""Takes away from a host what it does not need."""

from __future__ import annotations

import glob
import os
import stat
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.llmaas.host.plugins.module_utils.commands import output
from ansible_collections.llmaas.host.plugins.module_utils.debian import apt_get, known_packages
from ansible_collections.llmaas.host.plugins.module_utils.systemd_units import is_masked

DOCUMENTATION = r"""
module: reduced
short_description: Accounts without passwords, masked units, packages that are not there, narrow modes
description:
  - Costs one look at each of them when there is nothing to do.
  - An account whose password is empty is locked, whatever its name.
options:
  locked:
    description: Accounts that no password opens.
    type: list
    elements: str
    default: []
  masked:
    description: Units of systemd that nothing can start.
    type: list
    elements: str
    default: []
  removed:
    description: Packages that must not be installed.
    type: list
    elements: str
    default: []
  modes:
    description: The widest mode of paths, each with path or pattern and mode; what is not there is passed over.
    type: list
    elements: dict
    default: []
author: The authors of llmaas
"""

EXAMPLES = r"""
- name: Lock root
  llmaas.host.reduced:
    locked: [root]
    masked: [debug-shell.service]
"""

RETURN = r"""
done:
  description: What was or would be done.
  returned: always
  type: list
  elements: str
"""

SHADOW = "/etc/shadow"


def open_accounts(locked: list[str]) -> list[str]:
    """Accounts that have an empty password, or a password although they must not."""
    found = []
    with open(SHADOW, encoding="utf-8") as file:
        for line in file:
            name, password = line.split(":")[:2]
            if password == "" or (name in locked and password[0] not in "!*"):
                found.append(name)
    return found


def present_packages(removed: list[str]) -> list[str]:
    """Those of the packages that are installed or left configuration behind."""
    return [name for name, (status, _) in known_packages(removed).items() if status != "not-installed"]


def wide_paths(modes: list[dict[str, Any]]) -> list[tuple[str, int]]:
    """Paths that grant more than they may, with the mode that is left."""
    found = []
    for entry in modes:
        widest = int(str(entry["mode"]), 8)
        for path in sorted(glob.glob(entry["path"])):
            mode = stat.S_IMODE(os.stat(path).st_mode)
            if mode & ~widest:
                found.append((path, mode & widest))
    return found


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "locked": {"type": "list", "elements": "str", "default": []},
            "masked": {"type": "list", "elements": "str", "default": []},
            "removed": {"type": "list", "elements": "str", "default": []},
            "modes": {"type": "list", "elements": "dict", "default": []},
        },
        supports_check_mode=True,
    )
    try:
        accounts = open_accounts(module.params["locked"])
        units = [name for name in module.params["masked"] if not is_masked(name)]
        packages = present_packages(module.params["removed"])
        paths = wide_paths(module.params["modes"])
        if not module.check_mode:
            if packages:
                apt_get("purge", *packages)
            for account in accounts:
                output("usermod", "--password", "*", account)
            if units:
                output("systemctl", "mask", "--now", *units)
            for path, mode in paths:
                os.chmod(path, mode)
    except (OSError, ValueError) as error:
        module.fail_json(msg=str(error))
    done = [
        *(f"remove {name}" for name in packages),
        *(f"lock {name}" for name in accounts),
        *(f"mask {name}" for name in units),
        *(f"set {path} to {mode:04o}" for path, mode in paths),
    ]
    module.exit_json(changed=bool(done), done=done)


if __name__ == "__main__":
    main()
