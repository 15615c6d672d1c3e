"""Turns off swap that would write memory to a disk in the clear."""

from __future__ import annotations

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.llmaas.host.plugins.module_utils.block_devices import plain_swaps
from ansible_collections.llmaas.host.plugins.module_utils.commands import output

DOCUMENTATION = r"""
module: plain_swap
short_description: No swap in the clear
description:
  - Turns off every swap area that no LUKS volume holds, now and at every start.
author: The authors of llmaas
"""

EXAMPLES = r"""
- name: Turn off swap in the clear
  llmaas.host.plain_swap:
"""

RETURN = r"""
areas:
  description: What was or would be turned off.
  returned: always
  type: list
  elements: str
"""

FSTAB = "/etc/fstab"


def without_swap(text: str) -> str:
    """A table of file systems whose lines of swap are remarks."""
    lines = []
    for line in text.splitlines():
        words = line.split()
        is_swap = len(words) > 2 and words[2] == "swap" and not line.lstrip().startswith("#")
        encrypted = is_swap and words[0].startswith("/dev/mapper/")
        lines.append(f"# swap in the clear: {line}" if is_swap and not encrypted else line)
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec={}, supports_check_mode=True)
    try:
        areas = plain_swaps()
        before = ""
        if os.path.exists(FSTAB):
            with open(FSTAB, encoding="utf-8") as file:
                before = file.read()
        after = without_swap(before)
        if not module.check_mode:
            for area in areas:
                output("swapoff", area)
            if after != before:
                with open(f"{FSTAB}.new", "w", encoding="utf-8") as file:
                    file.write(after)
                os.replace(f"{FSTAB}.new", FSTAB)
    except (OSError, ValueError) as error:
        module.fail_json(msg=f"{type(error).__name__}: {error}")
    module.exit_json(changed=bool(areas) or after != before, areas=areas)


if __name__ == "__main__":
    main()
