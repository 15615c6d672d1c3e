"""Keys of a tang server: made, rotated, forgotten."""

from __future__ import annotations

import glob
import json
import os
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.llmaas.host.plugins.module_utils.commands import output
from ansible_collections.llmaas.host.plugins.module_utils.key_servers import signing_thumbprints, thumbprint

DOCUMENTATION = r"""
module: tang_keys
short_description: Keys of a tang server
description:
  - Makes the first keys where there are none. Keys never leave the server.
options:
  rotate:
    description: Whether to make new keys; the old ones are kept, but no longer advertised.
    type: bool
    default: false
  forget:
    description: Whether to remove the keys that are no longer advertised. Refused while one of them is in I(bound).
    type: bool
    default: false
  bound:
    description: Keys that volumes of hosts are bound to, each with host, path and key, its thumbprint.
    type: list
    elements: dict
    default: []
author: The authors of llmaas
"""

EXAMPLES = r"""
- name: Make the first keys
  llmaas.host.tang_keys:
"""

RETURN = r"""
thumbprint:
  description: Thumbprint of the signing key that is advertised; empty where a check run found no keys yet.
  returned: always
  type: str
"""

FOLDER = "/var/lib/tang"


def read(path: str) -> dict[str, Any]:
    """One key."""
    with open(path, encoding="utf-8") as file:
        key: dict[str, Any] = json.load(file)
    return key


def refuse_bound(paths: list[str], bound: list[dict[str, str]]) -> None:
    """Hold the keys of these files to what volumes are bound to.

    Raises:
        ValueError: one of them still opens a volume; the text names each volume and its host.
    """
    keys = {thumbprint(read(path)) for path in paths}
    lost = sorted({f"{each['path']} of {each['host']}" for each in bound if each["key"] in keys})
    if lost:
        raise ValueError(f"the keys to forget still open {', '.join(lost)}; bind them anew first: playbooks/disks.yml")


def advertised_thumbprint() -> str:
    """Of the one signing key that is advertised; empty when there is none."""
    found = signing_thumbprints({"keys": [read(path) for path in sorted(glob.glob(f"{FOLDER}/*.jwk"))]})
    if len(found) > 1:
        raise ValueError(f"{FOLDER} advertises {len(found)} signing keys; hide all but one: rename it to .<name>.jwk")
    return found[0] if found else ""


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "rotate": {"type": "bool", "default": False},
            "forget": {"type": "bool", "default": False},
            "bound": {"type": "list", "elements": "dict", "default": []},
        },
        supports_check_mode=True,
    )
    try:
        missing = not glob.glob(f"{FOLDER}/*.jwk")
        hidden = sorted(glob.glob(f"{FOLDER}/.*.jwk")) if module.params["forget"] else []
        refuse_bound(hidden, module.params["bound"])
        rotate = module.params["rotate"] or missing
        if not module.check_mode:
            if rotate:
                output("/usr/libexec/tangd-rotate-keys", "-d", FOLDER)
            for path in hidden:
                os.unlink(path)
        advertised = advertised_thumbprint()
    except (OSError, ValueError, KeyError) as error:
        module.fail_json(msg=f"{type(error).__name__}: {error}")
    module.exit_json(changed=rotate or bool(hidden), thumbprint=advertised, forgotten=len(hidden))


if __name__ == "__main__":
    main()
