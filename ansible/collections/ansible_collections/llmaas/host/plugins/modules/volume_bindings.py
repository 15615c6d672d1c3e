"""Tells which keys of key servers open the LUKS volumes of a host."""

from __future__ import annotations

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.llmaas.host.plugins.module_utils.commands import output
from ansible_collections.llmaas.host.plugins.module_utils.key_servers import exchange_keys
from ansible_collections.llmaas.host.plugins.module_utils.luks_volume import LuksVolume

DOCUMENTATION = r"""
module: volume_bindings
short_description: Which keys of key servers open the volumes of a host
description:
  - Reads the headers of all LUKS volumes of the host, declared or not, open or locked. Changes nothing.
author: The authors of llmaas
"""

EXAMPLES = r"""
- name: Ask which keys open the volumes
  llmaas.host.volume_bindings:
"""

RETURN = r"""
bindings:
  description:
    - Each with path, the device by its stable id where it has one, and key, the thumbprint of a key that some key
      server must still have.
  returned: always
  type: list
  elements: dict
"""


def stable_name(device: str, links: str = "/dev/disk/by-id") -> str:
    """The name of a device that stays, as the stack file names it; the device itself where there is none."""
    real = os.path.realpath(device)
    paths = [os.path.join(links, name) for name in sorted(os.listdir(links))] if os.path.isdir(links) else []
    return next((path for path in paths if os.path.realpath(path) == real), device)


def volumes() -> list[str]:
    """The devices that hold a LUKS volume."""
    # as they are now, not as a cache remembers them; 2: there is none
    command = ("blkid", "--cache-file", "/dev/null", "--match-token", "TYPE=crypto_LUKS", "--output", "device")
    return output(*command, accepted=(0, 2)).split()


def bindings() -> list[dict[str, str]]:
    """Every key that a volume is bound to."""
    return [
        {"path": name, "key": key}
        for path in volumes()
        for name in [stable_name(path)]
        for token in LuksVolume(path, "").bindings().values()
        for key in exchange_keys(token["jwe"])
    ]


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec={}, supports_check_mode=True)
    try:
        found = bindings()
    except (OSError, ValueError, KeyError) as error:
        module.fail_json(msg=f"{type(error).__name__}: {error}")
    module.exit_json(changed=False, bindings=found)


if __name__ == "__main__":
    main()
