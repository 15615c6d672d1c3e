"""Makes the running kernel ready for NVIDIA's driver: without nouveau, and with a key that signs modules."""

from __future__ import annotations

import contextlib
import os
import shutil

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.llmaas.host.plugins.module_utils.commands import output
from ansible_collections.llmaas.host.plugins.module_utils.gpu_facts import (
    PRIVATE_KEY,
    SIGNING_KEY,
    modules,
    secure_boot,
)

DOCUMENTATION = r"""
module: gpu_kernel
short_description: A kernel that NVIDIA's driver can be loaded into
description:
  - Unloads nouveau where nothing uses it, and where secure boot is on makes the key that DKMS signs modules with. What
    still stands in the way afterwards is found by the module gpu_devices. Where nouveau was loaded, the file that
    forbids it must be written before.
author: The authors of llmaas
"""

EXAMPLES = r"""
- name: Make the kernel ready
  llmaas.host.gpu_kernel:
"""

RETURN = r"""
actions:
  description: What was or would be done, or tried.
  returned: always
  type: list
  elements: str
"""


def without_nouveau(*, check: bool) -> list[str]:
    """Unload nouveau, and forget it in what the kernel starts from."""
    if "nouveau" not in modules().split():
        return []
    if not check:
        # before it is unloaded: a run that ends in between finds it again, and what was forgotten is done once more
        if shutil.which("update-initramfs"):
            output("update-initramfs", "-u", "-k", "all")
        # what uses it, such as a console, keeps it until a restart: the judgement that follows says so
        with contextlib.suppress(ValueError):
            output("modprobe", "-r", "nouveau")
    return ["unload nouveau"]


def with_key(*, check: bool) -> list[str]:
    """Make the key as DKMS makes it when it builds its first module: a person must enrol it before that."""
    if secure_boot() != "on" or (os.path.exists(PRIVATE_KEY) and os.path.exists(SIGNING_KEY)):
        return []
    if not check:
        output(
            *("openssl", "req", "-new", "-x509", "-nodes", "-newkey", "rsa:2048", "-days", "36500"),
            *("-subj", "/CN=DKMS module signing key"),
            *("-keyout", PRIVATE_KEY, "-outform", "DER", "-out", SIGNING_KEY),
        )
        os.chmod(PRIVATE_KEY, 0o600)
    return ["make the key that signs the driver"]


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec={}, supports_check_mode=True)
    check = module.check_mode
    try:
        actions = [*without_nouveau(check=check), *with_key(check=check)]
    except (OSError, ValueError) as error:
        module.fail_json(msg=f"{type(error).__name__}: {error}")
    module.exit_json(changed=bool(actions), actions=actions)


if __name__ == "__main__":
    main()
