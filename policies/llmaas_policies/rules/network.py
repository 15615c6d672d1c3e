"""Who may talk to whom: nothing by default, and to the outside only through the edge."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from llmaas_policies.model import MISSING, UNKNOWN, Parameters, Resource, Severity, Subject, Violation, must_not_be_set
from llmaas_policies.pods import containers_of

subject = Subject()
_EVERYWHERE: Final = {"0.0.0.0/0", "::/0"}


def _denies_by_default(policy: Resource) -> bool:
    """Whether a NetworkPolicy selects every pod, both ways, and allows nothing."""
    spec = policy.get("spec")
    if not isinstance(spec, Mapping):
        return False
    both = sorted(spec.get("policyTypes") or []) == ["Egress", "Ingress"]
    return both and spec.get("podSelector") == {} and not spec.get("ingress") and not spec.get("egress")


@subject.stack_rule(
    "namespace-default-deny", "Every namespace denies all traffic both ways unless a policy allows it.",
    Severity.CRITICAL, ("SecNumCloud 3.2 13.2.a", "CIS Kubernetes 5.3.2"),
    "Add a NetworkPolicy with podSelector {}, both policyTypes and no rules",
)  # fmt: skip
def namespace_default_deny(resources: Sequence[Resource], _: Parameters) -> Iterator[Violation]:
    """A pod that no policy selects may talk to everybody."""
    closed = {policy.namespace for policy in resources if policy.kind == "NetworkPolicy" and _denies_by_default(policy)}
    for namespace in (resource for resource in resources if resource.kind == "Namespace"):
        name = namespace.get("metadata.name")
        if name is UNKNOWN or name is MISSING:
            yield Violation("metadata.name", "the namespace's name is not known, so neither is whether it is closed")
        elif name not in closed:
            yield Violation(namespace.label, "has no NetworkPolicy that denies everything by default")
    declared = {resource.get("metadata.name") for resource in resources if resource.kind == "Namespace"}
    for workload in resources:
        if list(containers_of(workload)) and workload.namespace not in declared:
            yield Violation(workload.label, f"runs in {workload.namespace or 'default'!r}, which is not declared here")


def _peers(rule: Any, name: str) -> Sequence[Any]:
    found = rule.get(name) if isinstance(rule, Mapping) else None
    return found if isinstance(found, (list, tuple)) else ()


@subject.rule(
    "network-policy-names-its-peers", "A NetworkPolicy names who may talk; everybody and everywhere are not names.",
    Severity.HIGH, ("SecNumCloud 3.2 13.2.a", "SecNumCloud 3.2 12.14.a"),
    "Give from/to a selector or a narrow ipBlock, and name the ports",
)  # fmt: skip
def network_policy_names_its_peers(resource: Resource, parameters: Parameters) -> Iterator[Violation]:
    """An empty peer list means all the world, which reads like none of it."""
    if resource.kind != "NetworkPolicy":
        return
    for direction, key in (("ingress", "from"), ("egress", "to")):
        rules = resource.get(f"spec.{direction}")
        if rules is UNKNOWN:
            yield Violation(f"spec.{direction}", "is not known at preview")
        for index, rule in enumerate(rules if isinstance(rules, (list, tuple)) else ()):
            path = f"spec.{direction}[{index}]"
            public = direction == "ingress" and resource.namespace == parameters.edge_namespace
            if not _peers(rule, key) and not public:
                yield Violation(f"{path}.{key}", "names nobody, which allows everybody")
            if not _peers(rule, "ports"):
                yield Violation(f"{path}.ports", "names no port, which allows all")
            for peer in _peers(rule, key):
                block = peer.get("ipBlock") if isinstance(peer, Mapping) else UNKNOWN
                if peer is UNKNOWN or peer in ({}, None):
                    yield Violation(f"{path}.{key}", "a peer is empty or not known at preview")
                elif isinstance(block, Mapping) and block.get("cidr") in _EVERYWHERE and not public:
                    yield Violation(f"{path}.{key}", f"{block['cidr']} is everywhere")


@subject.rule(
    "no-exposed-service", "Only the edge is reachable from outside the cluster.", Severity.CRITICAL,
    ("SecNumCloud 3.2 13.2.a", "SecNumCloud 3.2 9.6.d"), "Use a ClusterIP service and let the edge lead to it",
)  # fmt: skip
def no_exposed_service(resource: Resource, parameters: Parameters) -> Iterator[Violation]:
    """A node port of a data store is one firewall rule away from the world."""
    if resource.kind != "Service":
        return
    kind = resource.get("spec.type")
    if kind is UNKNOWN or kind not in (MISSING, "ClusterIP"):
        yield Violation("spec.type", f"is {kind!r}; only ClusterIP is allowed")
    if resource.namespace != parameters.edge_namespace:
        for name in ("externalIPs", "externalName", "loadBalancerIP"):
            yield from must_not_be_set(resource.get(f"spec.{name}"), f"spec.{name}", "only the edge may have one")


@subject.rule(
    "no-host-port", "No container takes a port of its host.", Severity.HIGH,
    ("CIS Kubernetes 5.2.13",), "Remove hostPort; the edge's service leads to the pod",
)  # fmt: skip
def no_host_port(resource: Resource, _: Parameters) -> Iterator[Violation]:
    """A host port is a listener that the flow matrix does not know."""
    for part in containers_of(resource):
        if isinstance(part, Violation):
            yield part
            continue
        ports = part.get("ports")
        if ports is UNKNOWN:
            yield Violation(f"{part.path}.ports", "is not known at preview")
        for index, port in enumerate(ports if isinstance(ports, (list, tuple)) else ()):
            value = port.get("hostPort", MISSING) if isinstance(port, Mapping) else UNKNOWN
            yield from must_not_be_set(value, f"{part.path}.ports[{index}].hostPort", "no host port is allowed")


@subject.rule(
    "no-ingress-object", "Traffic from outside enters through the edge, not through an Ingress or a Gateway.",
    Severity.HIGH, ("SecNumCloud 3.2 13.2.a",), "Remove the object; the edge's configuration names its paths",
)  # fmt: skip
def no_ingress_object(resource: Resource, _: Parameters) -> Iterator[Violation]:
    """A second way in has no allow-list of paths."""
    if resource.get("kind") in (UNKNOWN, MISSING):
        yield Violation("kind", "is not known, so no rule can judge the object")
    elif resource.kind in {"Ingress", "Gateway", "HTTPRoute", "TCPRoute"}:
        yield Violation("kind", f"{resource.kind} opens a second way in")


@subject.rule(
    "pod-security-restricted", "Every namespace enforces the Pod Security level restricted.", Severity.HIGH,
    ("CIS Kubernetes 5.2.1",), "Label the namespace pod-security.kubernetes.io/enforce: restricted, or name a waiver",
)  # fmt: skip
def pod_security_restricted(resource: Resource, _: Parameters) -> Iterator[Violation]:
    """What preview lets through by mistake, the API server still refuses."""
    if resource.kind != "Namespace":
        return
    labels = resource.get("metadata.labels")
    value = labels.get("pod-security.kubernetes.io/enforce") if isinstance(labels, Mapping) else labels
    if value != "restricted":
        shown = "not known at preview" if value is UNKNOWN else "missing" if value in (None, MISSING) else repr(value)
        yield Violation("metadata.labels[pod-security.kubernetes.io/enforce]", f"is {shown}; it must be restricted")
