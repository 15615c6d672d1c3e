"""What the policies allow one pod: NetworkPolicy objects in, addresses and ports out.

A pod that no policy selects for a direction is open in that direction. A pod that some policy selects is isolated, and
may do what the sum of those policies allows. A policy that cannot be understood isolates what it might have selected
and allows nothing: a mistake closes, it never opens.
"""

import ipaddress
import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from .label_selectors import SelectorError, matches
from .world import Pod, Policy, World

LOG = logging.getLogger("network_policy_agent")

PROTOCOLS = ("TCP", "UDP", "SCTP")
Direction = Literal["Ingress", "Egress"]


@dataclass(frozen=True, slots=True)
class Ports:
    """A protocol and the ports of it; no protocol means all traffic, no first port means all ports."""

    protocol: str | None = None
    first: int | None = None
    last: int | None = None

    def covers(self, protocol: str, port: int) -> bool:
        """Whether a packet of this protocol to this port is meant."""
        if self.protocol is None:
            return True
        if self.protocol != protocol:
            return False
        return self.first is None or self.last is None or self.first <= port <= self.last


@dataclass(frozen=True, slots=True)
class Allowance:
    """One permission: the other side's addresses (None: anyone), what is cut out of them, and the ports."""

    networks: frozenset[str] | None
    excepted: frozenset[str]
    ports: Ports

    def covers(self, address: str, protocol: str, port: int) -> bool:
        """Whether this permission lets the packet through."""
        return self._covers_address(address) and self.ports.covers(protocol, port)

    def _covers_address(self, address: str) -> bool:
        if self.networks is None:
            return True
        if not any(_within(address, network) for network in self.networks):
            return False
        return not any(_within(address, network) for network in self.excepted)


@dataclass(frozen=True, slots=True)
class _Peers:
    """The other side of one rule entry. ``pods`` is None for addresses that are no pods."""

    networks: frozenset[str] | None
    excepted: frozenset[str]
    pods: tuple[Pod, ...] | None


def allowances(world: World, pod: Pod, direction: Direction) -> frozenset[Allowance] | None:
    """What the pod may receive or send; None when no policy isolates it in this direction."""
    isolating = [policy for policy in world.policies.values() if _isolates(policy, pod, direction)]
    if not isolating:
        return None
    found: set[Allowance] = set()
    for policy in isolating:
        try:
            found.update(_policy_allowances(world, policy, pod, direction))
        except (SelectorError, ValueError, KeyError, TypeError, AttributeError) as error:
            LOG.error("policy %s/%s allows nothing: %s", policy.namespace, policy.name, error)  # noqa: TRY400
    return frozenset(found)


def allows(world: World, source: Pod | str, destination: Pod | str, protocol: str, port: int) -> bool:
    """The verdict on a new connection between two ends, each a pod or a bare address."""
    if source == destination:
        return True
    out = allowances(world, source, "Egress") if isinstance(source, Pod) else None
    into = allowances(world, destination, "Ingress") if isinstance(destination, Pod) else None
    to_address, from_address = _address(destination), _address(source)
    may_leave = out is None or any(item.covers(to_address, protocol, port) for item in out)
    may_arrive = into is None or any(item.covers(from_address, protocol, port) for item in into)
    return may_leave and may_arrive


def _isolates(policy: Policy, pod: Pod, direction: Direction) -> bool:
    if policy.namespace != pod.namespace:
        return False
    try:
        return direction in _directions(policy.spec) and matches(policy.spec.get("podSelector") or {}, pod.labels)
    except (SelectorError, KeyError, TypeError, AttributeError):
        return True


def _directions(spec: Mapping[str, Any]) -> tuple[str, ...]:
    declared = spec.get("policyTypes")
    if declared:
        return tuple(declared)
    return ("Ingress", "Egress") if spec.get("egress") else ("Ingress",)


def _policy_allowances(world: World, policy: Policy, pod: Pod, direction: Direction) -> set[Allowance]:
    rules_field, peers_field = ("ingress", "from") if direction == "Ingress" else ("egress", "to")
    found: set[Allowance] = set()
    # Asked again because a selector that cannot be understood isolates the pod, and must raise here.
    if not matches(policy.spec.get("podSelector") or {}, pod.labels):
        return found
    for rule in policy.spec.get(rules_field) or ():
        for peers in _rule_peers(world, policy.namespace, rule.get(peers_field)):
            for port in rule.get("ports") or (None,):
                found.update(_combine(world, peers, port, pod, direction))
    return found


def _rule_peers(world: World, namespace: str, entries: Iterable[Mapping[str, Any]] | None) -> Iterator[_Peers]:
    if not entries:
        yield _Peers(None, frozenset(), None)
        return
    for entry in entries:
        block = entry.get("ipBlock")
        if block is not None:
            excepted = frozenset(_network(text) for text in block.get("except") or ())
            yield _Peers(frozenset({_network(block["cidr"])}), excepted, None)
            continue
        pods = tuple(pod for pod in world.pods.values() if _is_peer(world, namespace, entry, pod))
        yield _peer_pods(pods)


def _is_peer(world: World, namespace: str, entry: Mapping[str, Any], pod: Pod) -> bool:
    by_namespace, by_pod = entry.get("namespaceSelector"), entry.get("podSelector")
    if by_namespace is None and by_pod is None:
        return False
    if by_namespace is None:
        in_namespace = pod.namespace == namespace
    else:
        labels = world.namespaces.get(pod.namespace)
        in_namespace = labels is not None and matches(by_namespace, labels)
    return in_namespace and matches(by_pod or {}, pod.labels)


def _peer_pods(pods: tuple[Pod, ...]) -> _Peers:
    return _Peers(frozenset(address for pod in pods for address in pod.addresses), frozenset(), pods)


def _combine(
    world: World, peers: _Peers, port: Mapping[str, Any] | None, pod: Pod, direction: Direction
) -> Iterator[Allowance]:
    if port is None:
        yield Allowance(peers.networks, peers.excepted, Ports())
        return
    protocol, value = port.get("protocol") or "TCP", port.get("port")
    if protocol not in PROTOCOLS:
        raise ValueError(f"protocol {protocol!r} is none of {', '.join(PROTOCOLS)}")
    if value is None:
        yield Allowance(peers.networks, peers.excepted, Ports(protocol))
    elif isinstance(value, int):
        yield Allowance(peers.networks, peers.excepted, Ports(protocol, value, int(port.get("endPort") or value)))
    elif direction == "Ingress":
        for number in _numbers(pod, protocol, value):
            yield Allowance(peers.networks, peers.excepted, Ports(protocol, number, number))
    else:
        yield from _named_egress(world, peers, protocol, value)


def _named_egress(world: World, peers: _Peers, protocol: str, name: str) -> Iterator[Allowance]:
    """A port called by its name means what each receiving pod calls so; addresses that are no pods have no names."""
    candidates = tuple(world.pods.values()) if peers.networks is None else peers.pods or ()
    by_number: dict[int, list[Pod]] = {}
    for candidate in candidates:
        for number in _numbers(candidate, protocol, name):
            by_number.setdefault(number, []).append(candidate)
    for number, pods in by_number.items():
        yield Allowance(_peer_pods(tuple(pods)).networks, frozenset(), Ports(protocol, number, number))


def _numbers(pod: Pod, protocol: str, name: str) -> set[int]:
    return {port.number for port in pod.ports if port.name == name and port.protocol == protocol}


def _network(text: str) -> str:
    return str(ipaddress.ip_network(text, strict=False))


def _within(address: str, network: str) -> bool:
    parsed, block = ipaddress.ip_address(address), ipaddress.ip_network(network)
    return parsed.version == block.version and parsed in block


def _address(end: Pod | str) -> str:
    return end.addresses[0] if isinstance(end, Pod) else end
