"""The part of the cluster that decides who may talk to whom, projected from the API's objects.

Only the fields that matter are kept: the agent holds the pods of the whole cluster in a few megabytes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

ENDED_PHASES = frozenset({"Succeeded", "Failed"})


@dataclass(frozen=True, slots=True)
class NamedPort:
    """A container's port that policies may call by its name."""

    name: str
    protocol: str
    number: int


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod with an address of its own."""

    namespace: str
    name: str
    node: str
    labels: Mapping[str, str]
    addresses: tuple[str, ...]
    ports: tuple[NamedPort, ...] = ()

    @property
    def title(self) -> str:
        """Namespace and name, as people write them."""
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Policy:
    """A NetworkPolicy with its specification as the API gives it."""

    namespace: str
    name: str
    spec: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Node:
    """A host, its address and the pod networks that lie behind it."""

    name: str
    address: str
    pod_networks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class World:
    """One consistent view of the cluster; keys are ``namespace/name``, or the name of what has no namespace."""

    pods: Mapping[str, Pod] = field(default_factory=dict)
    namespaces: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    policies: Mapping[str, Policy] = field(default_factory=dict)
    nodes: Mapping[str, Node] = field(default_factory=dict)


def pod_from_api(body: Mapping[str, Any]) -> Pod | None:
    """The pod, or None while it has no address of its own: on the host's network, not started, or ended."""
    spec, status, metadata = body.get("spec") or {}, body.get("status") or {}, body["metadata"]
    if spec.get("hostNetwork") or status.get("phase") in ENDED_PHASES:
        return None
    addresses = tuple(entry["ip"] for entry in status.get("podIPs") or () if entry.get("ip"))
    if not addresses and status.get("podIP"):
        addresses = (status["podIP"],)
    if not addresses:
        return None
    # Restartable init containers are sidecars and serve ports like any container.
    containers = [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]
    ports = tuple(
        NamedPort(port["name"], port.get("protocol") or "TCP", int(port["containerPort"]))
        for container in containers
        for port in container.get("ports") or ()
        if port.get("name")
    )
    labels = dict(metadata.get("labels") or {})
    return Pod(metadata["namespace"], metadata["name"], spec.get("nodeName") or "", labels, addresses, ports)


def namespace_from_api(body: Mapping[str, Any]) -> Mapping[str, str]:
    """The labels of a namespace."""
    return dict(body["metadata"].get("labels") or {})


def policy_from_api(body: Mapping[str, Any]) -> Policy:
    """The policy as it stands in the API."""
    return Policy(body["metadata"]["namespace"], body["metadata"]["name"], body.get("spec") or {})


def node_from_api(body: Mapping[str, Any]) -> Node | None:
    """The node, or None while it has no internal address or no pod network."""
    spec, status = body.get("spec") or {}, body.get("status") or {}
    networks = tuple(spec.get("podCIDRs") or ()) or ((spec["podCIDR"],) if spec.get("podCIDR") else ())
    address = next((item["address"] for item in status.get("addresses") or () if item["type"] == "InternalIP"), None)
    if not networks or not address:
        return None
    return Node(body["metadata"]["name"], address, networks)
