"""Turns off swap that would write memory to a disk in the clear."""

from __future__ import annotations

import os
from collections.abc import Callable

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.llmaas.host.plugins.module_utils.block_devices import on_crypt, plain_swaps
from ansible_collections.llmaas.host.plugins.module_utils.commands import output

DOCUMENTATION = r"""
module: plain_swap
short_description: No swap in the clear
description:
  - Turns off every swap area that is neither in memory nor on a LUKS volume, now and at every start.
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
CRYPTTAB = "/etc/crypttab"


def content(table: str) -> str:
    """What a table holds; nothing where there is none."""
    if not os.path.exists(table):
        return ""
    with open(table, encoding="utf-8") as file:
        return file.read()


def is_encrypted(source: str) -> bool:
    """Whether a swap area, as fstab names it, is in memory, a volume of crypttab's, or lies on one that is open."""
    names = [line.split()[0] for line in content(CRYPTTAB).splitlines() if line.split()]
    if source.startswith("/dev/zram") or source.removeprefix("/dev/mapper/") in names:
        return True
    # 1: no device has this UUID or label now
    path = output("findfs", source, accepted=(0, 1)).strip() if "=" in source else source
    return os.path.exists(path) and on_crypt(path)


def without_swap(text: str, encrypted: Callable[[str], bool]) -> str:
    """A table of file systems whose lines of swap are remarks, but those of encrypted areas."""
    lines = []
    for line in text.splitlines():
        words = line.split()
        is_swap = len(words) > 2 and words[2] == "swap" and not line.lstrip().startswith("#")
        lines.append(f"# swap in the clear: {line}" if is_swap and not encrypted(words[0]) else line)
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec={}, supports_check_mode=True)
    try:
        areas, before = plain_swaps(), content(FSTAB)
        after = without_swap(before, is_encrypted)
        if not module.check_mode:
            for area in areas:
                output("swapoff", area)
            if after != before:
                with open(f"{FSTAB}.new", "w", encoding="utf-8") as file:
                    file.write(after)
                os.chmod(f"{FSTAB}.new", 0o644)
                os.replace(f"{FSTAB}.new", FSTAB)
                # its units were made from the table as it was
                output("systemctl", "daemon-reload")
    except (OSError, ValueError) as error:
        module.fail_json(msg=f"{type(error).__name__}: {error}")
    module.exit_json(changed=bool(areas) or after != before, areas=areas)


if __name__ == "__main__":
    main()
