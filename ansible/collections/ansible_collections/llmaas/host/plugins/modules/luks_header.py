"""Gives out a copy of a LUKS header, encrypted before it leaves the host."""

from __future__ import annotations

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.llmaas.host.plugins.module_utils.commands import output

DOCUMENTATION = r"""
module: luks_header
short_description: An encrypted copy of a LUKS header
description:
  - Copies the header to memory, encrypts it to the recipients and removes the plain copy. With C(state=absent) the
    encrypted copy is removed as well, once it was fetched.
options:
  path:
    description: Stable name of the device.
    type: str
    required: true
  recipients:
    description: Who can read the copy, as age recipients.
    type: list
    elements: str
    required: true
  state:
    description: Whether to make the copy or to remove it.
    type: str
    choices: [present, absent]
    default: present
author: The authors of llmaas
"""

EXAMPLES = r"""
- name: Copy the header
  llmaas.host.luks_header:
    path: /dev/disk/by-id/virtio-logs
    recipients: [age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p]
"""

RETURN = r"""
file:
  description: Where the encrypted copy lies, in memory.
  returned: always
  type: str
"""

# a file system in memory
FOLDER = "/run/llmaas"


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "str", "required": True},
            "recipients": {"type": "list", "elements": "str", "required": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
        supports_check_mode=False,
    )
    plain = os.path.join(FOLDER, f"{os.path.basename(module.params['path'])}.header")
    encrypted = f"{plain}.age"
    try:
        os.makedirs(FOLDER, mode=0o700, exist_ok=True)
        for path in (plain, encrypted):
            if os.path.exists(path):
                os.unlink(path)
        if module.params["state"] == "present":
            to = [word for recipient in module.params["recipients"] for word in ("--recipient", recipient)]
            try:
                output("cryptsetup", "luksHeaderBackup", module.params["path"], "--header-backup-file", plain)
                output("age", "--encrypt", *to, "--output", encrypted, plain)
            finally:
                if os.path.exists(plain):
                    os.unlink(plain)
    except (OSError, ValueError) as error:
        module.fail_json(msg=f"{type(error).__name__}: {error}")
    module.exit_json(changed=False, file=encrypted)


if __name__ == "__main__":
    main()
