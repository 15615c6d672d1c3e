"""Joins a host to its cluster."""

from __future__ import annotations

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.llmaas.host.plugins.module_utils.kubeadm import stands, to_the_end

DOCUMENTATION = r"""
module: kubeadm_join
short_description: Joins a host to its cluster by kubeadm
description:
  - Runs C(kubeadm join) unless the host has joined. A join that was begun and not brought to its end, by a failure or
    by a kill, is undone first.
  - The files it needs hold a token; they lie in memory and are removed whatever happens.
options:
  discovery:
    description: The kubeconfig to find the cluster with; the configuration names it as C(/run/llmaas/discovery.yaml).
    type: str
    required: true
  configuration:
    description: The JoinConfiguration.
    type: str
    required: true
author: The authors of llmaas
"""

EXAMPLES = r"""
- name: Join the cluster
  llmaas.host.kubeadm_join:
    discovery: "{{ lookup('ansible.builtin.template', 'discovery.yaml.j2') }}"
    configuration: "{{ lookup('ansible.builtin.template', 'join.yaml.j2') }}"
"""

RETURN = r"""
lines:
  description: What kubeadm said.
  returned: when it ran
  type: list
  elements: str
"""

JOINED = "/etc/kubernetes/kubelet.conf"
# on a file system in memory
FOLDER = "/run/llmaas"


def write_secret(path: str, content: str) -> None:
    """Write a file that its owner alone may read from the first moment on."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(content)


def join(discovery: str, configuration: str) -> str:
    """Run kubeadm with its files in place; what it said."""
    files = {f"{FOLDER}/discovery.yaml": discovery, f"{FOLDER}/join.yaml": configuration}
    os.makedirs(FOLDER, mode=0o700, exist_ok=True)
    try:
        for path, content in files.items():
            write_secret(path, content)
        return to_the_end("join", "--config", f"{FOLDER}/join.yaml")
    finally:
        for path in files:
            if os.path.exists(path):
                os.unlink(path)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "discovery": {"type": "str", "required": True, "no_log": True},
            "configuration": {"type": "str", "required": True, "no_log": True},
        },
        supports_check_mode=True,
    )
    if stands(JOINED):
        module.exit_json(changed=False)
    if module.check_mode:
        module.exit_json(changed=True)
    try:
        said = join(module.params["discovery"], module.params["configuration"])
    except (OSError, ValueError) as error:
        module.fail_json(msg=f"{error}\nThe next run undoes what was begun and begins anew.")
    module.exit_json(changed=True, lines=said.splitlines())


if __name__ == "__main__":
    main()
