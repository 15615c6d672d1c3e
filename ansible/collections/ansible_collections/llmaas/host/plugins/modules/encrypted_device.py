"""Makes one data device a LUKS2 volume that key servers unlock, and mounts it."""

from __future__ import annotations

import contextlib
import os
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.llmaas.host.plugins.module_utils.block_devices import is_mounted
from ansible_collections.llmaas.host.plugins.module_utils.commands import output
from ansible_collections.llmaas.host.plugins.module_utils.luks_volume import LuksVolume

DOCUMENTATION = r"""
module: encrypted_device
short_description: A data device under LUKS2, unlocked by key servers
description:
  - Formats a new device, binds it to the key servers, opens it with what they answer, and mounts it now and at every
    start. A device that was encrypted before is never formatted. The action plugin of the same name makes the recovery
    key and keeps the records on the machine that administers the hosts.
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
  mount_options:
    description: Options of the file system.
    type: list
    elements: str
    default: []
  mode:
    description: Mode of the folder that a new file system begins with.
    type: str
    default: "0755"
  format:
    description: Whether the device is new. Everything on it is lost.
    type: bool
    default: false
  file_system:
    description: Whether to make a file system where there is none, as on a new volume.
    type: bool
    default: false
  uuid:
    description: The UUID that a new volume gets.
    type: str
    default: ""
  recovery_key:
    description: The key of a person, for a new volume or in place of the one that opens it now.
    type: str
    default: ""
  threshold:
    description: How many key servers must answer.
    type: int
    required: true
  servers:
    description: Key servers, address to thumbprint of the signing key.
    type: dict
    required: true
author: The authors of llmaas
"""

EXAMPLES = r"""
- name: Encrypt the device for logs
  llmaas.host.encrypted_device:
    path: /dev/disk/by-id/virtio-logs
    purpose: logs
    mount: /var/log/pods
    threshold: 1
    servers: {"http://10.79.0.11:7500": C8Zv1Yh6fO8Rw2s1pKdQ0pBdnV9bC3ZtVbqJc3v3x2M}
"""

RETURN = r"""
actions:
  description: What was or would be done.
  returned: always
  type: list
  elements: str
uuid:
  description: UUID of the volume.
  returned: when it is there
  type: str
epoch:
  description: Number of changes of the header.
  returned: when it is there
  type: int
"""


def ensure_line(table: str, field: int, line: str, *, check: bool) -> bool:
    """Make ``line`` the one line of a table whose field of this number is the same; whether the table changed."""
    before = ""
    if os.path.exists(table):
        with open(table, encoding="utf-8") as file:
            before = file.read()
    key = line.split()[field]
    kept = [
        other
        for other in before.splitlines()
        if other.lstrip().startswith("#") or len(other.split()) <= field or other.split()[field] != key
    ]
    if line in before.splitlines() and len(kept) == len(before.splitlines()) - 1:
        return False
    if not check:
        temporary = f"{table}.new"
        with open(temporary, "w", encoding="utf-8") as file:
            file.write("\n".join([*kept, line]) + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, table)
    return True


def prepare(volume: LuksVolume, given: dict[str, Any], actions: list[str], *, check: bool) -> None:
    """Format, bind and open.

    Raises:
        ValueError: another device is open under the volume's name, or the volume is not encrypted as it must be.
    """
    # before anything is written: the file system would be made on what is open
    if taken := volume.name_taken():
        raise ValueError(taken)
    servers = given["servers"]
    if given["format"]:
        actions.append(f"format {given['path']} as LUKS2 {given['uuid']}")
        if not check:
            volume.format(given["uuid"], given["recovery_key"])
    new = given["format"] and check
    weak = [] if new else volume.weaknesses()
    if weak:
        raise ValueError(f"{given['path']} is not encrypted as it must be: {'; '.join(weak)}")
    if new or not volume.is_bound_to(given["threshold"], servers):
        actions.append(f"bind {given['path']} to {given['threshold']} of {', '.join(sorted(servers))}")
        if not check:
            volume.bind(given["threshold"], servers, given["recovery_key"])
    renew_recovery_key(volume, given, actions, check=check)
    if new or not volume.is_open():
        actions.append(f"open {given['path']} as {volume.mapper} with the key servers")
        if not check:
            volume.open()


def renew_recovery_key(volume: LuksVolume, given: dict[str, Any], actions: list[str], *, check: bool) -> None:
    """Let the given key open a volume of ours in place of the one before; a new volume has it already."""
    if given["format"] or not given["recovery_key"]:
        return
    actions.append(f"replace the recovery key of {given['path']}")
    if not check:
        volume.replace_recovery_key(given["recovery_key"])


def mount(volume: LuksVolume, given: dict[str, Any], actions: list[str], *, check: bool) -> None:
    """Make the file system, name the volume for every start, and mount it."""
    new = given["format"] or (given["file_system"] and not volume.has_file_system())
    if new:
        actions.append(f"make ext4 on {volume.mapper}")
        if not check:
            volume.make_file_system()
    uuid = given["uuid"] or volume.uuid()
    # a disk that comes late, or a key server, is waited for: nobody is there to type anything
    waiting = ["nofail", "_netdev", "x-systemd.device-timeout=infinity"]
    options = ",".join([*given["mount_options"], *waiting])
    tables = {
        "/etc/crypttab": (0, f"{volume.name} UUID={uuid} none {','.join(['luks', *waiting])}"),
        "/etc/fstab": (1, f"{volume.mapper} {given['mount']} ext4 {options} 0 2"),
    }
    changed = [table for table, (field, line) in tables.items() if ensure_line(table, field, line, check=check)]
    actions += [f"name {volume.name} in {table}" for table in changed]
    if changed and not check:
        output("systemctl", "daemon-reload")
        # finds it open already; so systemd knows it and closes it in order
        escaped = output("systemd-escape", volume.name).strip()
        output("systemctl", "start", f"systemd-cryptsetup@{escaped}.service")
    if is_mounted(given["mount"]) == volume.mapper:
        return
    actions.append(f"mount {volume.mapper} at {given['mount']}")
    if not check:
        os.makedirs(given["mount"], exist_ok=True)
        # while the volume is locked nothing can be written beside it, where the file system below can refuse it
        with contextlib.suppress(ValueError):
            output("chattr", "+i", given["mount"])
        output("mount", given["mount"])
        if new:
            os.chmod(given["mount"], int(given["mode"], 8))


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "str", "required": True},
            "purpose": {"type": "str", "required": True},
            "mount": {"type": "str", "required": True},
            "mount_options": {"type": "list", "elements": "str", "default": []},
            "mode": {"type": "str", "default": "0755"},
            "format": {"type": "bool", "default": False},
            "file_system": {"type": "bool", "default": False},
            "uuid": {"type": "str", "default": ""},
            "recovery_key": {"type": "str", "default": "", "no_log": True},
            "threshold": {"type": "int", "required": True},
            "servers": {"type": "dict", "required": True},
        },
        supports_check_mode=True,
    )
    given, check = module.params, module.check_mode
    volume = LuksVolume.of(given["path"], given["purpose"])
    actions: list[str] = []
    try:
        prepare(volume, given, actions, check=check)
        mount(volume, given, actions, check=check)
        there = {} if given["format"] and check else {"uuid": volume.uuid(), "epoch": volume.epoch()}
    except (OSError, ValueError, KeyError) as error:
        module.fail_json(msg=f"{type(error).__name__}: {error}", actions=actions, changed=bool(actions))
    module.exit_json(changed=bool(actions), actions=actions, **there)


if __name__ == "__main__":
    main()
