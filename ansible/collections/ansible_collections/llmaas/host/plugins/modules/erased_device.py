"""Erases the key slots of a data device."""

from __future__ import annotations

import os
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.llmaas.host.plugins.module_utils.block_devices import probe
from ansible_collections.llmaas.host.plugins.module_utils.commands import output
from ansible_collections.llmaas.host.plugins.module_utils.luks_erasure import erase, identity, served_key
from ansible_collections.llmaas.host.plugins.module_utils.luks_volume import LuksVolume
from ansible_collections.llmaas.host.plugins.module_utils.mounts import of_device, unmount

DOCUMENTATION = r"""
module: erased_device
short_description: A data device that nobody can read any more
description:
  - Stops the services that use the device, unmounts it and all that is mounted on it, closes it, erases every key slot
    and every binding to key servers, and tries to open it with the key that opened it before.
options:
  path:
    description: Stable name of the device.
    type: str
    required: true
  purpose:
    description: What it holds; the volume is named after it.
    type: str
    required: true
  mount:
    description: Where it is mounted.
    type: str
    required: true
  services:
    description: Services that use it.
    type: list
    elements: str
    default: []
  uuid:
    description: The recorded UUID; a device with another one is refused.
    type: str
    required: true
author: The authors of llmaas
"""

EXAMPLES = r"""
- name: Erase the logs
  llmaas.host.erased_device:
    path: /dev/disk/by-id/virtio-logs
    purpose: logs
    mount: /var/log/pods
    services: [kubelet.service]
    uuid: 11111111-2222-3333-4444-555555555555
"""

RETURN = r"""
erasure:
  description: What a certificate says of the device; no key.
  returned: when something was erased
  type: dict
"""


def without(table: str, field: int, key: str) -> bool:
    """Take the lines of a volume out of crypttab or fstab."""
    if not os.path.exists(table):
        return False
    with open(table, encoding="utf-8") as file:
        before = file.read().splitlines()
    kept = [
        line
        for line in before
        if line.lstrip().startswith("#") or len(line.split()) <= field or line.split()[field] != key
    ]
    if kept == before:
        return False
    temporary = f"{table}.new"
    with open(temporary, "w", encoding="utf-8") as file:
        file.write("".join(f"{line}\n" for line in kept))
    os.chmod(temporary, 0o644)
    os.replace(temporary, table)
    return True


def take_out_of_use(volume: LuksVolume, given: dict[str, Any]) -> None:
    """Stop what uses the volume, unmount it and what lies on it, forget it in the tables, and close it with its key."""
    if given["services"]:
        output("systemctl", "stop", *given["services"], accepted=(0, 5))
    if volume.is_open():
        unmount(of_device(volume.mapper, given["mount"]))
    forgotten = [without("/etc/fstab", 1, given["mount"]), without("/etc/crypttab", 0, volume.name)]
    if any(forgotten):
        output("systemctl", "daemon-reload")
    if volume.is_open():
        output("cryptsetup", "close", volume.name)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "str", "required": True},
            "purpose": {"type": "str", "required": True},
            "mount": {"type": "str", "required": True},
            "services": {"type": "list", "elements": "str", "default": []},
            "uuid": {"type": "str", "required": True},
        },
        supports_check_mode=True,
    )
    given = module.params
    volume = LuksVolume.of(given["path"], given["purpose"])
    try:
        device = probe(given["path"])
        if device is None or not device.is_luks or device.uuid != given["uuid"]:
            found = "is not there" if device is None else f"holds {device.signature or 'nothing'} {device.uuid}".strip()
            module.fail_json(msg=f"{given['path']} {found}, and the recorded volume is LUKS {given['uuid']}")
        # else the old disk would stay open and mounted while this one is certified as erased
        if taken := volume.name_taken():
            module.fail_json(msg=taken)
        if module.check_mode:
            module.exit_json(changed=True, erasure={})
        key, no_key = served_key(volume)
        take_out_of_use(volume, given)
        erasure = {"path": given["path"], "purpose": given["purpose"], "disk": identity(given["path"])}
        erasure |= erase(volume, key, no_key)
    except (OSError, ValueError, KeyError) as error:
        module.fail_json(msg=f"{type(error).__name__}: {error}")
    module.exit_json(changed=True, erasure=erasure)


if __name__ == "__main__":
    main()
