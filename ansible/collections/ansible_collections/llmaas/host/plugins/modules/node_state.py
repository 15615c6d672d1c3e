"""Keeps labels and taints of the cluster's nodes as declared; runs on a control host."""

from __future__ import annotations

import json
import os
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.llmaas.host.plugins.module_utils.commands import output

DOCUMENTATION = r"""
module: node_state
short_description: Labels and taints of the nodes of a cluster
description:
  - Changes only labels and taints whose key starts with I(prefix), so that what Kubernetes itself sets stays.
  - Fails when a declared node is not part of the cluster.
options:
  kubeconfig:
    description: Configuration of an administrator.
    type: path
    default: /etc/kubernetes/admin.conf
  kubectl:
    description: The kubectl program.
    type: path
    default: /usr/local/bin/kubectl
  prefix:
    description: Prefix of the keys that are ours.
    type: str
    required: true
  nodes:
    description: Node name to a mapping with labels (mapping) and taints (list of key, value, effect).
    type: dict
    required: true
author: The authors of llmaas
"""

EXAMPLES = r"""
- name: Label the nodes
  llmaas.host.node_state:
    prefix: llmaas.io/
    nodes:
      gpu-host-01: {labels: {llmaas.io/role-gpu: "true"}, taints: []}
"""

RETURN = r"""
changed_nodes:
  description: Nodes that were or would be changed.
  returned: always
  type: list
  elements: str
pod_networks:
  description: Node name to the range of its pods.
  returned: always
  type: dict
"""


def kubectl(module: AnsibleModule, *arguments: str) -> str:
    """Output of a kubectl command; a failure fails the task."""
    try:
        return output(module.params["kubectl"], "--kubeconfig", module.params["kubeconfig"], *arguments)
    except (OSError, ValueError) as error:
        module.fail_json(msg=str(error))


def label_changes(found: dict[str, str], wanted: dict[str, str], prefix: str) -> dict[str, str | None]:
    """A merge patch of labels: values to set, None for those of ours that nobody declares any more."""
    changes: dict[str, str | None] = {key: value for key, value in wanted.items() if found.get(key) != value}
    changes.update({key: None for key in found if key.startswith(prefix) and key not in wanted})
    return changes


def taints_wanted(found: list[dict[str, Any]], wanted: list[dict[str, str]], prefix: str) -> list[dict[str, Any]]:
    """The taints that others set, followed by ours."""
    return [taint for taint in found if not taint["key"].startswith(prefix)] + wanted


def patch_for(node: dict[str, Any], declared: dict[str, Any], prefix: str) -> dict[str, Any]:
    """What to merge into a node; empty when it is as declared."""
    patch: dict[str, Any] = {}
    labels = label_changes(node["metadata"].get("labels", {}), declared.get("labels", {}), prefix)
    if labels:
        patch["metadata"] = {"labels": labels}
    found = node.get("spec", {}).get("taints", [])
    taints = taints_wanted(found, declared.get("taints", []), prefix)

    def key(taint: dict[str, Any]) -> tuple[str, str, str]:
        return taint["key"], taint["effect"], taint.get("value", "")

    if sorted(map(key, found)) != sorted(map(key, taints)):
        patch["spec"] = {"taints": taints}
    return patch


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "kubeconfig": {"type": "path", "default": "/etc/kubernetes/admin.conf"},
            "kubectl": {"type": "path", "default": "/usr/local/bin/kubectl"},
            "prefix": {"type": "str", "required": True},
            "nodes": {"type": "dict", "required": True},
        },
        supports_check_mode=True,
    )
    if module.check_mode and not os.path.exists(module.params["kubeconfig"]):
        # a check of bare hosts finds no cluster yet
        module.exit_json(changed=True, changed_nodes=sorted(module.params["nodes"]), pod_networks={})
    items = json.loads(kubectl(module, "get", "nodes", "--output=json"))["items"]
    nodes = {item["metadata"]["name"]: item for item in items}
    absent = sorted(set(module.params["nodes"]) - set(nodes))
    if absent and not module.check_mode:
        module.fail_json(msg=f"not in the cluster: {', '.join(absent)}; has its kubelet joined?")
    changed = list(absent)
    for name, declared in module.params["nodes"].items():
        patch = patch_for(nodes[name], declared, module.params["prefix"]) if name in nodes else {}
        if patch:
            changed.append(name)
            if not module.check_mode:
                kubectl(module, "patch", "node", name, "--type=merge", f"--patch={json.dumps(patch)}")
    ranges = {name: node["spec"].get("podCIDR", "") for name, node in nodes.items()}
    module.exit_json(changed=bool(changed), changed_nodes=changed, pod_networks=ranges)


if __name__ == "__main__":
    main()
