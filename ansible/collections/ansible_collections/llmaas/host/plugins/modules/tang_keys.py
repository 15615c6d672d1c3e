"""Keys of a tang server: made, rotated, forgotten."""

from __future__ import annotations

import glob
import json
import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.llmaas.host.plugins.module_utils.commands import output
from ansible_collections.llmaas.host.plugins.module_utils.key_servers import signing_thumbprints

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
    description: Whether to remove the keys that are no longer advertised.
    type: bool
    default: false
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


def advertised_thumbprint() -> str:
    """Of the one signing key that is advertised; empty when there is none."""
    keys = []
    for path in sorted(glob.glob(f"{FOLDER}/*.jwk")):
        with open(path, encoding="utf-8") as file:
            keys.append(json.load(file))
    found = signing_thumbprints({"keys": keys})
    if len(found) > 1:
        raise ValueError(f"{FOLDER} advertises {len(found)} signing keys; hide all but one: rename it to .<name>.jwk")
    return found[0] if found else ""


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "rotate": {"type": "bool", "default": False},
            "forget": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    try:
        missing = not glob.glob(f"{FOLDER}/*.jwk")
        hidden = sorted(glob.glob(f"{FOLDER}/.*.jwk")) if module.params["forget"] else []
        rotate = module.params["rotate"] or missing
        if not module.check_mode:
            if rotate:
                output("/usr/libexec/tangd-rotate-keys", "-d", FOLDER)
            for path in hidden:
                os.unlink(path)
        thumbprint = advertised_thumbprint()
    except (OSError, ValueError, KeyError) as error:
        module.fail_json(msg=f"{type(error).__name__}: {error}")
    module.exit_json(changed=rotate or bool(hidden), thumbprint=thumbprint, forgotten=len(hidden))


if __name__ == "__main__":
    main()
