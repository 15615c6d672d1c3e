"""The NetworkPolicies of an environment, made of its flow matrix. What the matrix does not name is dropped."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from llmaas.settings import Platform
from llmaas.views import topology as t
from llmaas.views import zones as z
from llmaas.views.flow_terms import Flow
from llmaas.views.flows import entries


@dataclass(frozen=True)
class Policy:
    """A NetworkPolicy as plain data; ``spec`` is written as in its YAML."""

    name: str
    namespace: str
    spec: dict[str, Any]


@dataclass(frozen=True)
class _Permission:
    """What a flow lets the pods of one part do: ``rule`` stands in a policy's list of that direction."""

    part: z.Part
    direction: Literal["ingress", "egress"]
    other: str
    rule: dict[str, Any]


def network_policies(platform: Platform) -> tuple[Policy, ...]:
    """Those of the platform's own namespaces: every namespace denies both ways, then each flow is let through."""
    return (
        *(_deny_all(namespace) for namespace in t.namespaces(platform)),
        *(
            _policy_of(permission)
            for permission in _permissions(platform)
            if permission.part.namespace in {*t.NAMESPACES, t.GPU}
        ),
    )


def name_service_policy(platform: Platform) -> Policy:
    """The one of the cluster's name service: it denies both ways, then lets each of its flows through.

    It governs these pods alone: a pod network may have some of its own beside them. It is a single object, which the
    cluster takes whole: its pods are never without a flow that is let through, and one that is gone leaves nothing.
    """
    part = z.NAME_SERVICE_PART
    spec: dict[str, Any] = {"podSelector": _pods(part), "policyTypes": ["Ingress", "Egress"]}
    for permission in _permissions(platform):
        if permission.part == part:
            spec.setdefault(permission.direction, []).append(permission.rule)
    return Policy(part.name, part.namespace, spec)


def _deny_all(namespace: str) -> Policy:
    return Policy("deny-all", namespace, {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]})


def _permissions(platform: Platform) -> Iterator[_Permission]:
    """Both ends of every flow, where they are pods."""
    for flow in entries(platform):
        # Between a host and its own pods no NetworkPolicy holds.
        if isinstance(flow, Flow) and not flow.own_pods:
            yield from _permissions_of(platform, flow)


def _permissions_of(platform: Platform, flow: Flow) -> Iterator[_Permission]:
    answering = flow.answer.part if flow.answer else flow.destination
    ports = (flow.answer.port,) if flow.answer else flow.ports
    allowed = [{"protocol": protocol.upper(), "port": port} for protocol in flow.protocols for port in ports]
    source, destination = z.part(flow.source), z.part(answering)
    if source is not None:
        yield _Permission(source, "egress", answering, {"to": _peers(platform, answering), "ports": allowed})
    if destination is not None:
        yield _Permission(
            destination, "ingress", flow.source, {"from": _peers(platform, flow.source), "ports": allowed}
        )


def _policy_of(permission: _Permission) -> Policy:
    """A policy for one permission alone."""
    part, direction = permission.part, permission.direction
    way = "to" if direction == "egress" else "from"
    spec = {"podSelector": _pods(part), "policyTypes": [direction.capitalize()], direction: [permission.rule]}
    return Policy(f"{part.name}-{way}-{permission.other}", part.namespace, spec)


def _peers(platform: Platform, zone: str) -> list[dict[str, Any]]:
    part = z.part(zone)
    if part is not None:
        namespace = {"matchLabels": {"kubernetes.io/metadata.name": part.namespace}}
        return [{"namespaceSelector": namespace, "podSelector": _pods(part)}]
    ranges = ["0.0.0.0/0"] if zone == z.ANYWHERE else [f"{address}/32" for address in z.addresses(platform, zone)]
    return [{"ipBlock": {"cidr": range_}} for range_ in ranges]


def _pods(part: z.Part) -> dict[str, Any]:
    return {"matchLabels": part.labels}
