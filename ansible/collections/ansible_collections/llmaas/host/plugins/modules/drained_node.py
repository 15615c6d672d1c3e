"""Takes a node out of the cluster once nothing runs on it that would be missed."""

from __future__ import annotations

import json
import os
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.llmaas.host.plugins.module_utils.commands import output

DOCUMENTATION = r"""
module: drained_node
short_description: A node that the cluster has let go
description:
  - Refuses while pods with data on the node's own disks run there, or a pod that nobody would make again. Then drains
    the node and removes it. Does nothing where there is no cluster or no such node; refuses where the host has joined a
    cluster that cannot be asked.
options:
  node:
    description: Name of the node.
    type: str
    required: true
  joined:
    description: Whether the host has joined a cluster, as it says itself.
    type: bool
    required: true
  kubeconfig:
    description: The administrator's way into the cluster.
    type: path
    default: /etc/kubernetes/admin.conf
  kubectl:
    description: Where kubectl is.
    type: path
    default: /usr/local/bin/kubectl
  seconds:
    description: How long pods may take to end.
    type: int
    default: 600
author: The authors of llmaas
"""

EXAMPLES = r"""
- name: Drain the host
  llmaas.host.drained_node:
    node: gpu-host-09
    joined: true
"""

RETURN = r"""
state:
  description: What became of the node, in words.
  returned: always
  type: str
evicted:
  description: Pods that ran there and run elsewhere now.
  returned: always
  type: list
  elements: str
"""

HOST_LABEL = "kubernetes.io/hostname"


def name_of(item: dict[str, Any]) -> str:
    """Namespace and name of an object."""
    metadata = item["metadata"]
    return f"{metadata['namespace']}/{metadata['name']}" if "namespace" in metadata else str(metadata["name"])


def moving(pods: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Pods that a drain moves: not those of the node itself, not those that have ended."""
    return [
        pod
        for pod in pods
        if pod.get("status", {}).get("phase") not in {"Succeeded", "Failed"}
        and "kubernetes.io/config.mirror" not in pod["metadata"].get("annotations", {})
        and not any(owner["kind"] == "DaemonSet" for owner in pod["metadata"].get("ownerReferences", []))
    ]


def hosts_of(selector: dict[str, Any]) -> list[str]:
    """The hosts that a node selector names."""
    return [
        value
        for term in selector.get("nodeSelectorTerms", [])
        for expression in term.get("matchExpressions", [])
        if expression["key"] == HOST_LABEL
        for value in expression.get("values", [])
    ]


def volumes_on(volumes: list[dict[str, Any]], node: str) -> set[str]:
    """Claims (namespace/name) of local volumes that only this node has and that may be written."""
    found = set()
    for volume in volumes:
        spec = volume["spec"]
        hosts = hosts_of(spec.get("nodeAffinity", {}).get("required", {}))
        if hosts == [node] and "claimRef" in spec and spec.get("accessModes") != ["ReadOnlyMany"]:
            found.add(f"{spec['claimRef']['namespace']}/{spec['claimRef']['name']}")
    return found


def problems(node: str, pods: list[dict[str, Any]], volumes: list[dict[str, Any]]) -> list[str]:
    """Why the node may not go yet."""
    claims = sorted(volumes_on(volumes, node))
    found = [f"the volume of claim {claim} lies on {node}; move its data away first" for claim in claims]
    for pod in moving(pods):
        if not pod["metadata"].get("ownerReferences"):
            found.append(f"pod {name_of(pod)} runs on {node} and nothing would make it again; end it first")
        placed = pod["spec"].get("affinity", {}).get("nodeAffinity", {})
        if hosts_of(placed.get("requiredDuringSchedulingIgnoredDuringExecution", {})) == [node]:
            found.append(
                f"pod {name_of(pod)} may run on {node} alone; place it elsewhere first (llmaas plan, pulumi up)"
            )
    return found


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "node": {"type": "str", "required": True},
            "joined": {"type": "bool", "required": True},
            "kubeconfig": {"type": "path", "default": "/etc/kubernetes/admin.conf"},
            "kubectl": {"type": "path", "default": "/usr/local/bin/kubectl"},
            "seconds": {"type": "int", "default": 600},
        },
        supports_check_mode=True,
    )
    given = module.params
    node = given["node"]

    def kubectl(*arguments: str) -> str:
        return output(given["kubectl"], f"--kubeconfig={given['kubeconfig']}", *arguments)

    def items(*arguments: str) -> list[dict[str, Any]]:
        return list(json.loads(kubectl("get", *arguments, "--output=json"))["items"])

    if not os.path.exists(given["kubeconfig"]):
        if given["joined"]:
            module.fail_json(
                msg=f"{node} has joined a cluster, and this control host has no {given['kubeconfig']} to ask it with:"
                " what runs on the host, and whose only data lie there, nobody knows. Put a control host that stands"
                " first in llmaas:hosts"
            )
        module.exit_json(changed=False, state="there is no cluster", evicted=[])
    try:
        if node not in {name_of(item) for item in items("nodes")}:
            module.exit_json(changed=False, state="no node of the cluster", evicted=[])
        pods = items("pods", "--all-namespaces", f"--field-selector=spec.nodeName={node}")
        found = problems(node, pods, items("persistentvolumes"))
        if found:
            module.fail_json(msg="\n".join(found))
        evicted = [name_of(pod) for pod in moving(pods)]
        if not module.check_mode:
            kubectl("drain", node, "--ignore-daemonsets", "--delete-emptydir-data", f"--timeout={given['seconds']}s")
            kubectl("delete", "node", node)
    except (OSError, ValueError, KeyError) as error:
        module.fail_json(msg=f"{type(error).__name__}: {error}")
    module.exit_json(changed=True, state="drained and removed from the cluster", evicted=evicted)


if __name__ == "__main__":
    main()
