"""Judges the declared data devices of a host before anything is changed on any host."""

from __future__ import annotations

import json
import os
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.llmaas.host.plugins.module_utils.block_devices import BlockDevice, is_mounted, probe
from ansible_collections.llmaas.host.plugins.module_utils.commands import output
from ansible_collections.llmaas.host.plugins.module_utils.key_servers import advertised
from ansible_collections.llmaas.host.plugins.module_utils.luks_volume import LuksVolume

DOCUMENTATION = r"""
module: data_devices
short_description: Whether declared data devices are what they should be
description:
  - Finds devices that are missing, in use, not empty or not the recorded ones, volumes that are still open on a disk
    that was replaced, and key servers that do not answer with their own keys. Changes nothing.
options:
  devices:
    description:
      - Devices, each with where (its path in the stack file), purpose, path, mount, and the uuid and status that were
        recorded when it was encrypted; both are empty for a device that never was.
    type: list
    elements: dict
    required: true
  erase:
    description: Paths of devices that may be erased although they hold something.
    type: list
    elements: str
    default: []
  key_servers:
    description: Key servers, each with where, name, url and thumbprint; an empty thumbprint is not compared.
    type: list
    elements: dict
    default: []
  must_answer:
    description: >-
      Whether key servers that do not answer stand in the way of a new device. Where their firewalls are changed after
      this, they need not know this host yet.
    type: bool
    default: true
author: The authors of llmaas
"""

EXAMPLES = r"""
- name: Judge the device for logs
  llmaas.host.data_devices:
    devices:
      - where: llmaas:hosts[0].data_devices[0]
        purpose: logs
        path: /dev/disk/by-id/virtio-logs
        mount: /var/log/pods
        uuid: ""
        status: ""
"""

RETURN = r"""
problems:
  description: What is wrong, each with its path in the stack file.
  returned: always
  type: list
  elements: str
notes:
  description: What does not stand in the way but should be known.
  returned: always
  type: list
  elements: str
states:
  description: For each path new (to be formatted) or ours (encrypted before).
  returned: always
  type: dict
"""


def judge(entry: dict[str, Any], device: BlockDevice | None, *, erase: bool) -> tuple[str, list[str]]:
    """State of one device, and what is wrong with it or with what is open under its volume's name."""
    state, problems = judge_device(entry, device, erase=erase)
    taken = LuksVolume.of(entry["path"], entry["purpose"]).name_taken()
    return state, [*problems, *([f"{entry['where']}.path: {taken}"] if taken else [])]


def judge_device(entry: dict[str, Any], device: BlockDevice | None, *, erase: bool) -> tuple[str, list[str]]:
    """State of one device, and what is wrong with it."""
    path, where = entry["path"], f"{entry['where']}.path"
    if device is None:
        return "missing", [f"{where}: {path} is not there; is the disk plugged in, and is this its name on this host?"]
    if entry["status"] == "erased" and not erase:
        remedy = f"take it out of the stack file, or confirm with disk_encryption_erase: {{<host>: [{path}]}}"
        return "new", [f"{where}: {path} was erased when its host was decommissioned; {remedy}"]
    if entry["uuid"] and device.is_luks and device.uuid == entry["uuid"] and entry["status"] != "erased":
        if entry["status"] == "formatting" and not is_bound(path):
            # the run that formatted it was interrupted before anything could be written on it
            return "new", []
        expected = ("", f"/dev/mapper/llmaas-{entry['purpose']}")
        taken = is_mounted(entry["mount"])
        return "ours", [] if taken in expected else [f"{where}: {taken} is mounted at {entry['mount']}; unmount it"]
    problems = []
    if device.kind in {"part", "loop", "rom", "crypt"}:
        problems.append(f"{where}: {path} is no whole disk but of the kind {device.kind}; name the disk")
    in_use = bool(device.mounted_at or device.children)
    content = device.content()
    if in_use or (content and not erase):
        remedy = (
            "take it out of use first"
            if in_use
            else f"if nothing of it is needed, confirm with disk_encryption_erase: {{<host>: [{path}]}}"
        )
        was = f" is not the recorded disk (LUKS {entry['uuid']}):" if entry["status"] == "ready" else ":"
        problems.append(f"{where}: {path}{was} {', '.join(content)}; {remedy}")
    elif entry["status"] == "ready" and not erase:
        problems.append(
            f"{where}: {path} is not the recorded disk (LUKS {entry['uuid']}) but an empty one;"
            f" put the recorded one back, or confirm with disk_encryption_erase: {{<host>: [{path}]}}"
        )
    return "new", [*problems, *mount_problems(entry)]


def is_bound(path: str) -> bool:
    """Whether key servers can open the volume; before that nobody opens it."""
    tokens = json.loads(output("cryptsetup", "luksDump", "--dump-json-metadata", path))["tokens"]
    return any(token["type"] == "clevis" for token in tokens.values())


def mount_problems(entry: dict[str, Any]) -> list[str]:
    """What stands in the way of a mount of a new volume."""
    mount, where = entry["mount"], f"{entry['where']}.purpose"
    taken = is_mounted(mount)
    if taken:
        return [f"{where}: {taken} is mounted at {mount}; unmount it"]
    if os.path.isdir(mount) and os.listdir(mount):
        return [f"{where}: {mount} holds files that the mount would hide; move them away first"]
    return []


def judge_key_servers(servers: list[dict[str, Any]]) -> tuple[list[str], list[str]]:
    """Key servers that answer with keys of another, and those that do not answer."""
    disagreeing, silent = [], []
    for server in servers:
        try:
            found = advertised(server["url"])
        except ValueError as error:
            silent.append(f"{server['where']}: {server['name']}: {error}")
            continue
        if server["thumbprint"] and server["thumbprint"] not in found:
            disagreeing.append(
                f"{server['where']}.thumbprint: {server['name']} answers at {server['url']} with the key"
                f" {', '.join(found)}, but its own is {server['thumbprint']}; is it another machine?"
            )
    return disagreeing, silent


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "devices": {"type": "list", "elements": "dict", "required": True},
            "erase": {"type": "list", "elements": "str", "default": []},
            "key_servers": {"type": "list", "elements": "dict", "default": []},
            "must_answer": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )
    devices, erase = module.params["devices"], module.params["erase"]
    declared = {entry["path"] for entry in devices}
    problems = [
        f"disk_encryption_erase: {path} is no declared device of this host" for path in erase if path not in declared
    ]
    states = {}
    try:
        for entry in devices:
            states[entry["path"]], found = judge(entry, probe(entry["path"]), erase=entry["path"] in erase)
            problems += found
        disagreeing, silent = judge_key_servers(module.params["key_servers"])
    except (OSError, ValueError, KeyError) as error:
        module.fail_json(msg=f"{type(error).__name__}: {error}")
    problems += disagreeing
    # a new device is bound to all of them; one that is bound opens with fewer
    if module.params["must_answer"] and "new" in states.values():
        problems += silent
        silent = []
    module.exit_json(changed=False, problems=problems, notes=silent, states=states)


if __name__ == "__main__":
    main()
