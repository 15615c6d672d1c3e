"""The NetworkPolicies of an environment, made of its flow matrix. What the matrix does not name is dropped."""

from dataclasses import dataclass
from typing import Any

from llmaas.settings import Platform
from llmaas.views import topology as t
from llmaas.views import zones as z
from llmaas.views.flows import Flow, entries


@dataclass(frozen=True)
class Policy:
    """A NetworkPolicy as plain data; ``spec`` is written as in its YAML."""

    name: str
    namespace: str
    spec: dict[str, Any]


def network_policies(platform: Platform) -> tuple[Policy, ...]:
    """All NetworkPolicies of the environment: every namespace denies both ways, then each flow is let through."""
    policies = [_deny_all(namespace) for namespace in t.namespaces(platform)]
    for flow in entries(platform):
        # Between a host and its own pods no NetworkPolicy holds.
        if isinstance(flow, Flow) and not flow.own_pods:
            policies += _policies_of(platform, flow)
    return tuple(policies)


def _deny_all(namespace: str) -> Policy:
    return Policy("deny-all", namespace, {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]})


def _policies_of(platform: Platform, flow: Flow) -> list[Policy]:
    """One policy for each end that is a part of the platform."""
    made = []
    answering = flow.answer.part if flow.answer else flow.destination
    ports = (flow.answer.port,) if flow.answer else flow.ports
    allowed = [{"protocol": protocol.upper(), "port": port} for protocol in flow.protocols for port in ports]
    source, destination = _governed(flow.source), _governed(answering)
    if source is not None:
        rule = {"to": _peers(platform, answering), "ports": allowed}
        spec = {"podSelector": _pods(source), "policyTypes": ["Egress"], "egress": [rule]}
        made.append(Policy(f"{source.name}-to-{answering}", source.namespace, spec))
    if destination is not None:
        rule = {"from": _peers(platform, flow.source), "ports": allowed}
        spec = {"podSelector": _pods(destination), "policyTypes": ["Ingress"], "ingress": [rule]}
        made.append(Policy(f"{destination.name}-from-{flow.source}", destination.namespace, spec))
    return made


def _governed(zone: str) -> z.Part | None:
    """The part whose pods a zone is, where its namespace is the platform's."""
    part = z.part(zone)
    return part if part is not None and part.namespace in {*t.NAMESPACES, t.GPU} else None


def _peers(platform: Platform, zone: str) -> list[dict[str, Any]]:
    part = z.part(zone)
    if part is not None:
        namespace = {"matchLabels": {"kubernetes.io/metadata.name": part.namespace}}
        return [{"namespaceSelector": namespace, "podSelector": _pods(part)}]
    ranges = ["0.0.0.0/0"] if zone == z.ANYWHERE else [f"{address}/32" for address in z.addresses(platform, zone)]
    return [{"ipBlock": {"cidr": range_}} for range_ in ranges]


def _pods(part: z.Part) -> dict[str, Any]:
    return {"matchLabels": part.labels}
