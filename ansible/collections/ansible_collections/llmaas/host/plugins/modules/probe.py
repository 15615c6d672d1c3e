"""Asks the kernel of a host what it grants."""

from __future__ import annotations

import os
import socket

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.llmaas.host.plugins.module_utils.block_devices import kept_swaps, swap_areas

DOCUMENTATION = r"""
module: probe
short_description: What the kernel of a host grants
description:
  - Control groups, capabilities and auditing decide how kubelet and the container runtime must be set up.
author: The authors of llmaas
"""

EXAMPLES = r"""
- name: Ask the kernel
  llmaas.host.probe:
"""

RETURN = r"""
ansible_facts:
  description:
    - The fact C(host_client), the address that the administration machine is known by here, empty where none is.
    - The fact C(host_kernel) with the keys release, cgroups (v1 or v2), container, sys_resource, audit,
      whole_sysctl, swap (whether some is active that may stay) and apparmor.
  returned: always
  type: dict
"""

CAP_SYS_RESOURCE = 24
NETLINK_AUDIT = 9
CAP_AUDIT_CONTROL = 30


def effective_capabilities() -> int:
    """The bit mask of this process, which is root's on a host."""
    with open("/proc/self/status", encoding="ascii") as file:
        for line in file:
            if line.startswith("CapEff:"):
                return int(line.split()[1], 16)
    return 0


def audit_works(capabilities: int) -> bool:
    """Whether auditd could register: the kernel answers, and we are not inside a container's namespaces."""
    if not capabilities >> CAP_AUDIT_CONTROL & 1 or os.path.exists("/run/systemd/container"):
        return False
    try:
        socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_AUDIT).close()
    except OSError:
        return False
    return True


def whole_sysctl() -> bool:
    """Whether kernel parameters are the host's own: a container's are those of the machine below it."""
    return not os.path.exists("/run/systemd/container")


def apparmor_enabled() -> bool:
    """Whether the kernel confines programs by AppArmor, and they are this host's to confine."""
    try:
        with open("/sys/module/apparmor/parameters/enabled", encoding="ascii") as file:
            return file.read().strip() == "Y" and not os.path.exists("/run/systemd/container")
    except OSError:
        return False


def swap_stays() -> bool:
    """Whether there is swap that kubelet must live with: a container's is the machine's, else what is encrypted."""
    return bool(swap_areas() if os.path.exists("/run/systemd/container") else kept_swaps())


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec={}, supports_check_mode=True)
    capabilities = effective_capabilities()
    module.exit_json(
        changed=False,
        ansible_facts={
            "host_client": os.environ.get("SSH_CONNECTION", "").partition(" ")[0],
            "host_kernel": {
                "release": os.uname().release,
                "cgroups": "v2" if os.path.exists("/sys/fs/cgroup/cgroup.controllers") else "v1",
                "container": os.path.exists("/run/systemd/container"),
                "sys_resource": bool(capabilities >> CAP_SYS_RESOURCE & 1),
                "audit": audit_works(capabilities),
                "whole_sysctl": whole_sysctl(),
                "swap": swap_stays(),
                "apparmor": apparmor_enabled(),
            },
        },
    )


if __name__ == "__main__":
    main()
