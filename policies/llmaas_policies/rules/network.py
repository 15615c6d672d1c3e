"""Who may talk to whom: nothing by default, then by name."""

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from llmaas_policies.model import MISSING, UNKNOWN, Parameters, Resource, Severity, Subject, Violation
from llmaas_policies.pods import Part, parts

subject = Subject()

_WITHOUT_NAMESPACE: Final = {
    "Namespace",
    "PersistentVolume",
    "StorageClass",
    "PriorityClass",
    "RuntimeClass",
    "ClusterRole",
    "ClusterRoleBinding",
}
# Wider than this is no name of anybody: a network of hosts or of bastions is a /24 at most, one of pods is wider.
_WIDEST: Final = {4: 24, 6: 64}
_INSIDE: Final = tuple(
    ipaddress.ip_network(each) for each in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
)


def _denies_by_default(policy: Resource) -> bool:
    """Whether a NetworkPolicy selects every pod, both ways, and allows nothing."""
    spec = policy.get("spec")
    if not isinstance(spec, Mapping):
        return False
    types = spec.get("policyTypes")
    both = isinstance(types, (list, tuple)) and sorted(map(str, types)) == ["Egress", "Ingress"]
    return both and spec.get("podSelector") == {} and not spec.get("ingress") and not spec.get("egress")


@subject.stack_rule(
    "namespace-default-deny", "Every namespace denies all traffic both ways unless a policy allows it.",
    Severity.CRITICAL, ("SecNumCloud 3.2 13.2.a", "CIS Kubernetes 5.3.2"),
    "Add a NetworkPolicy with podSelector {}, both policyTypes and no rules",
)  # fmt: skip
def namespace_default_deny(resources: Sequence[Resource], _: Parameters) -> Iterator[Violation]:
    """A pod that no policy selects may talk to everybody; so every namespace in use is declared here."""
    closed = {policy.namespace for policy in resources if policy.kind == "NetworkPolicy" and _denies_by_default(policy)}
    declared: set[str] = set()
    for namespace in (resource for resource in resources if resource.kind == "Namespace"):
        name = namespace.get("metadata.name")
        if isinstance(name, str):
            declared.add(name)
        else:
            yield Violation("metadata.name", "the namespace's name is not known, so neither is whether it is closed")
        if isinstance(name, str) and name not in closed:
            yield Violation(namespace.label, "has no NetworkPolicy that denies everything by default")
    for resource in resources:
        if resource.kind and resource.kind not in _WITHOUT_NAMESPACE and resource.namespace not in declared:
            where = resource.namespace or "default"
            yield Violation(resource.label, f"metadata.namespace is {where!r}, which is not declared here")


def _selector_of_all(selector: Any) -> bool:
    """Whether a label selector takes everything there is, or cannot be read."""
    if not isinstance(selector, Mapping):
        return True
    labels, expressions = selector.get("matchLabels"), selector.get("matchExpressions")
    named = isinstance(labels, Mapping) and bool(labels) and UNKNOWN not in labels.values()
    for expression in expressions if isinstance(expressions, (list, tuple)) else ():
        if isinstance(expression, Mapping) and expression.get("operator") == "In" and expression.get("values"):
            named = True
    return not named


def _wide(cidr: Any) -> str | None:
    """Why an address range names nobody."""
    try:
        network = ipaddress.ip_network(str(cidr), strict=False)
    except ValueError:
        return f"{cidr!r} is no address range that is known at preview"
    if network.prefixlen < _WIDEST[network.version]:
        return f"{cidr} is everywhere"
    return None


def is_inside(cidr: Any) -> bool:
    """Whether an address or a range is one that the internet does not know; addresses of metadata services are not."""
    try:
        network = ipaddress.ip_network(str(cidr), strict=False)
    except ValueError:
        return False
    return any(network.version == each.version and network.subnet_of(each) for each in _INSIDE)  # type: ignore[arg-type]


def _wrong_peer(peer: Part, direction: str) -> Iterator[Violation]:
    if peer.get("ipBlock") is not MISSING:
        cidr = peer.get("ipBlock.cidr")
        wide = _wide(cidr)
        if wide:
            yield Violation(f"{peer.path}.ipBlock.cidr", wide)
        elif direction == "egress" and not is_inside(cidr):
            yield Violation(f"{peer.path}.ipBlock.cidr", f"{cidr} is outside the site; nothing may leave it")
        return
    namespaces, pods = peer.get("namespaceSelector"), peer.get("podSelector")
    if namespaces is MISSING and pods is MISSING:
        yield Violation(peer.path, "a peer is empty, which allows everybody")
    elif namespaces is not MISSING and _selector_of_all(namespaces):
        yield Violation(f"{peer.path}.namespaceSelector", "selects every namespace, or is not known at preview")
    elif _selector_of_all(pods):
        yield Violation(f"{peer.path}.podSelector", "selects every pod of the namespace, or is not known at preview")


def _wrong_ports(rule: Part) -> Iterator[Violation]:
    ports = rule.get("ports")
    if ports in (MISSING, [], ()):
        yield Violation(f"{rule.path}.ports", "names no port, which allows all")
    for port in parts(rule, "ports"):
        if isinstance(port, Violation):
            yield port
        elif port.get("port") in (MISSING, UNKNOWN):
            yield Violation(f"{port.path}.port", "names no port, which allows all")
        elif port.get("endPort") is not MISSING:
            yield Violation(f"{port.path}.endPort", "is a range; name each port")


@subject.rule(
    "network-policy-names-its-peers", "A NetworkPolicy names who may talk; everybody and everywhere are not names.",
    Severity.HIGH, ("SecNumCloud 3.2 13.2.a", "SecNumCloud 3.2 12.14.a"),
    "Give from/to a selector or a narrow ipBlock inside the site, and name the ports",
)  # fmt: skip
def network_policy_names_its_peers(resource: Resource, parameters: Parameters) -> Iterator[Violation]:
    """An empty peer list means all the world, which reads like none of it; only tenants at the edge may be anybody."""
    if resource.kind != "NetworkPolicy":
        return
    for direction, key in (("ingress", "from"), ("egress", "to")):
        # What may come from everywhere at the edge is judged by administration-not-public.
        public = direction == "ingress" and resource.namespace == parameters.edge_namespace
        for rule in parts(Part("spec", _mapping(resource.get("spec"))), direction):
            if isinstance(rule, Violation):
                yield rule
                continue
            yield from _wrong_ports(rule)
            if not public and rule.get(key) in (MISSING, [], ()):
                yield Violation(f"{rule.path}.{key}", "names nobody, which allows everybody")
            for peer in parts(rule, key) if not public else ():
                yield from [peer] if isinstance(peer, Violation) else _wrong_peer(peer, direction)
    if resource.get("spec") is UNKNOWN:
        yield Violation("spec", "is not known at preview")


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


@subject.rule(
    "pod-security-restricted", "Every namespace enforces the Pod Security level restricted.", Severity.HIGH,
    ("CIS Kubernetes 5.2.1",), "Label the namespace pod-security.kubernetes.io/enforce: restricted, or name a waiver",
    waivable=True,
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
