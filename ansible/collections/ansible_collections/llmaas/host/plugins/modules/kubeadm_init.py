"""Makes the first control plane of a cluster."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.llmaas.host.plugins.module_utils.kubeadm import ADMIN, stands, to_the_end

DOCUMENTATION = r"""
module: kubeadm_init
short_description: Makes the first control plane of a cluster by kubeadm
description:
  - Runs C(kubeadm init) unless the control plane stands. One that was begun and not brought to its end, by a failure
    or by a kill, is undone first.
options:
  configuration:
    description: The file with the InitConfiguration and the ClusterConfiguration.
    type: path
    required: true
author: The authors of llmaas
"""

EXAMPLES = r"""
- name: Make the cluster
  llmaas.host.kubeadm_init:
    configuration: /etc/llmaas/control-plane/kubeadm.yaml
"""

RETURN = r"""
lines:
  description: What kubeadm said.
  returned: when it ran
  type: list
  elements: str
"""


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={"configuration": {"type": "path", "required": True}}, supports_check_mode=True
    )
    if stands(ADMIN):
        module.exit_json(changed=False)
    if module.check_mode:
        module.exit_json(changed=True)
    try:
        # tokens and keys of certificates are made when a host joins
        said = to_the_end(
            "init", "--config", module.params["configuration"], "--skip-token-print", "--skip-certificate-key-print"
        )
    except (OSError, ValueError) as error:
        module.fail_json(msg=f"{error}\nThe next run undoes what was begun and begins anew.")
    module.exit_json(changed=True, lines=said.splitlines())


if __name__ == "__main__":
    main()
