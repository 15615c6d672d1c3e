"""Who may talk to whom inside the cluster, and the NetworkPolicies that say so. What is not listed is dropped."""

from dataclasses import dataclass
from typing import Any, Final

from llmaas.settings import Platform
from llmaas.views import topology as t


@dataclass(frozen=True)
class Part:
    """The pods of one part."""

    namespace: str
    name: str


@dataclass(frozen=True)
class PodFlow:
    """``source`` opens TCP connections to ``port`` of ``destination``."""

    source: Part
    destination: Part
    port: int


@dataclass(frozen=True)
class Policy:
    """A NetworkPolicy as plain data; ``spec`` is written as in its YAML."""

    name: str
    namespace: str
    spec: dict[str, Any]


EDGE: Final = Part(t.EDGE, t.EDGE_SERVICE)
LITELLM: Final = Part(t.GATEWAY, t.GATEWAY_SERVICE)
MIGRATION: Final = Part(t.GATEWAY, t.MIGRATION_PART)
VLLM: Final = Part(t.SERVING, t.SERVING_PART)
POSTGRES: Final = Part(t.DATA, t.POSTGRES_SERVICE)
REDIS: Final = Part(t.DATA, t.REDIS_SERVICE)
PROMETHEUS: Final = Part(t.MONITORING, t.PROMETHEUS_SERVICE)

POD_FLOWS: Final = (
    PodFlow(EDGE, LITELLM, t.GATEWAY_PORT),
    PodFlow(LITELLM, VLLM, t.SERVING_PORT),
    PodFlow(LITELLM, POSTGRES, t.POSTGRES_PORT),
    PodFlow(MIGRATION, POSTGRES, t.POSTGRES_PORT),
    PodFlow(LITELLM, REDIS, t.REDIS_PORT),
    PodFlow(PROMETHEUS, EDGE, t.STATUS_PORT),
    PodFlow(PROMETHEUS, LITELLM, t.STATUS_PORT),
    PodFlow(PROMETHEUS, VLLM, t.STATUS_PORT),
)


def network_policies(platform: Platform) -> tuple[Policy, ...]:
    """All NetworkPolicies of the environment: every namespace denies both ways, then each flow is let through."""
    policies = [_deny_all(namespace) for namespace in t.NAMESPACES]
    policies += [_name_service(source) for source in dict.fromkeys(flow.source for flow in POD_FLOWS)]
    for flow in POD_FLOWS:
        policies += _both_ends(flow)
    anywhere = [{"ipBlock": {"cidr": "0.0.0.0/0"}}]
    bastions = [{"ipBlock": {"cidr": f"{address}/32"}} for address in platform.site.bastions]
    policies.append(_ingress("edge-from-anywhere", EDGE, anywhere, t.EDGE_PUBLIC_PORT))
    policies.append(_ingress("edge-from-bastions", EDGE, bastions, t.ADMINISTRATION_PORT))
    return tuple(policies)


def _deny_all(namespace: str) -> Policy:
    return Policy("deny-all", namespace, {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]})


def _name_service(source: Part) -> Policy:
    peer = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
        "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
    }
    ports = [{"protocol": protocol, "port": 53} for protocol in ("UDP", "TCP")]
    return Policy(
        f"{source.name}-to-name-service",
        source.namespace,
        {"podSelector": _pods(source), "policyTypes": ["Egress"], "egress": [{"to": [peer], "ports": ports}]},
    )


def _both_ends(flow: PodFlow) -> list[Policy]:
    egress = Policy(
        f"{flow.source.name}-to-{flow.destination.name}",
        flow.source.namespace,
        {
            "podSelector": _pods(flow.source),
            "policyTypes": ["Egress"],
            "egress": [{"to": [_peer(flow.destination)], "ports": [{"protocol": "TCP", "port": flow.port}]}],
        },
    )
    name = f"{flow.destination.name}-from-{flow.source.name}"
    return [egress, _ingress(name, flow.destination, [_peer(flow.source)], flow.port)]


def _ingress(name: str, destination: Part, peers: list[dict[str, Any]], port: int) -> Policy:
    return Policy(
        name,
        destination.namespace,
        {
            "podSelector": _pods(destination),
            "policyTypes": ["Ingress"],
            "ingress": [{"from": peers, "ports": [{"protocol": "TCP", "port": port}]}],
        },
    )


def _pods(part: Part) -> dict[str, Any]:
    return {"matchLabels": {t.PART_LABEL: part.name}}


def _peer(part: Part) -> dict[str, Any]:
    namespace = {"matchLabels": {"kubernetes.io/metadata.name": part.namespace}}
    return {"namespaceSelector": namespace, "podSelector": _pods(part)}
