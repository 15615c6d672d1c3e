"""The administration listener: reached from the bastions alone, at a port of its own."""

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from llmaas_policies.model import MISSING, UNKNOWN, Parameters, Resource, Severity, Subject, Violation, number
from llmaas_policies.pods import Part, parts

subject = Subject()


def in_bastions(cidr: Any, bastions: Sequence[str]) -> bool:
    """Whether an address or range lies within those that administrators come from."""
    try:
        network = ipaddress.ip_network(str(cidr), strict=False)
        allowed = [ipaddress.ip_network(each) for each in bastions]
        return any(network.version == each.version and network.subnet_of(each) for each in allowed)  # type: ignore[arg-type]
    except ValueError:
        return False


def _ports_of(rule: Part) -> set[Any]:
    """The ports that a rule of a NetworkPolicy opens; numbers where they are, names or ``UNKNOWN`` otherwise."""
    found: set[Any] = set()
    for port in parts(rule, "ports"):
        if isinstance(port, Violation) or port.get("endPort") is not MISSING:
            found.add(UNKNOWN)
            continue
        value = port.get("port")
        found.add(value if isinstance(value, str) else UNKNOWN if number(value) is None else number(value))
    return found or {UNKNOWN}


def _policy(resource: Resource, parameters: Parameters) -> Iterator[Violation]:
    spec = resource.get("spec")
    if not isinstance(spec, Mapping):
        yield Violation("spec", "is missing or not known at preview")
        return
    for rule in parts(Part("spec", spec), "ingress"):
        if isinstance(rule, Violation):
            yield rule
            continue
        if _ports_of(rule) <= {float(parameters.public_port)}:
            continue
        if rule.get("from") in (MISSING, [], ()):
            yield Violation(f"{rule.path}.from", "lets everybody reach more than the public port")
        for peer in parts(rule, "from"):
            if isinstance(peer, Violation):
                yield peer
                continue
            block = peer.get("ipBlock.cidr")
            if block is MISSING:
                yield from _inside_peer(peer, _ports_of(rule), parameters)
            elif not in_bastions(block, parameters.bastions):
                yield Violation(
                    f"{peer.path}.ipBlock.cidr", f"{block} is no bastion, and the port is not the public one"
                )


def _inside_peer(peer: Part, ports: set[Any], parameters: Parameters) -> Iterator[Violation]:
    """Pods may ask the edge for its status, never for its administration."""
    named = any(isinstance(peer.get(name), Mapping) and peer.get(name) for name in ("namespaceSelector", "podSelector"))
    if not named:
        yield Violation(peer.path, "a peer that names nobody reaches more than the public port")
    elif ports & {float(parameters.administration_port), UNKNOWN, "administration"}:
        yield Violation(peer.path, "pods have no business at the administration listener")


def _service(resource: Resource, parameters: Parameters) -> Iterator[Violation]:
    spec = resource.get("spec")
    if not isinstance(spec, Mapping) or not spec.get("externalIPs"):
        return
    administration, public = float(parameters.administration_port), float(parameters.public_port)
    for port in parts(Part("spec", spec), "ports"):
        if isinstance(port, Violation):
            yield port
            continue
        outside, target = number(port.get("port")), port.get("targetPort")
        inside = outside if target is MISSING else number(target)
        if inside == public or (inside == administration and outside == administration):
            continue
        yield Violation(
            f"{port.path}.targetPort",
            f"port {port.get('port')} leads to {target}; only {parameters.public_port} is public, "
            f"and administration is at {parameters.administration_port}",
        )


@subject.rule(
    "administration-not-public", "Administration is reached from the bastions alone, at a port of its own.",
    Severity.CRITICAL, ("SecNumCloud 3.2 9.6.a", "SecNumCloud 3.2 9.6.d"),
    "Open only the public port to everybody, and the administration port to the bastions of the stack file",
)  # fmt: skip
def administration_not_public(resource: Resource, parameters: Parameters) -> Iterator[Violation]:
    """Whoever reaches LiteLLM's administration and has a stolen key owns every tenant."""
    if resource.namespace != parameters.edge_namespace:
        return
    if resource.kind == "NetworkPolicy":
        yield from _policy(resource, parameters)
    if resource.kind == "Service":
        yield from _service(resource, parameters)
