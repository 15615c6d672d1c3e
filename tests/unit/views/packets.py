"""Follows a packet through rendered rules and policies, as nftables and a NetworkPolicy engine would judge it."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from ipaddress import ip_address, ip_network
from typing import Any

from llmaas.settings import Machine, Platform
from llmaas.views.host_rules import HostRules, Rule, host_rules
from llmaas.views.network_policies import name_service_policy, network_policies


@dataclass(frozen=True)
class Place:
    """Where a packet comes from or goes to: a host or key server, a pod on a host, or somebody around the platform."""

    address: str
    host: Machine | None = None
    namespace: str = ""
    labels: tuple[tuple[str, str], ...] = ()

    @property
    def is_pod(self) -> bool:
        return bool(self.namespace)


class Judge:
    """All rendered rules of an environment; ``passes`` says whether a new connection gets through."""

    def __init__(self, platform: Platform) -> None:
        self.rules: dict[str, HostRules] = {each.name: host_rules(platform, each) for each in platform.machines}
        self.policies = (*network_policies(platform), name_service_policy(platform))

    def passes(self, source: Place, destination: Place, protocol: str, port: int) -> bool:
        """To a host or a pod directly, not by an address that a Service publishes."""
        return self._by_hosts(source, destination, protocol, port) and self._by_policies(
            source, destination, protocol, port
        )

    def published(  # noqa: PLR0917 - both halves of a connection
        self, source: Place, service: Place, protocol: str, port: int, answering: Place, target: int
    ) -> bool:
        """To a host's own address where a Service sends it on to a pod of that host."""
        accepted = service.host is not None and any(
            rule.published and _covers(rule, source.address, service.address, protocol, port)
            for rule in self.rules[service.host.name].forward
        )
        return accepted and self._by_policies(source, answering, protocol, target)

    def _by_hosts(self, source: Place, destination: Place, protocol: str, port: int) -> bool:
        """A packet is let out, through and in by every chain that it meets."""
        own = source.host is not None and source.host == destination.host
        met: list[tuple[tuple[Rule, ...], str, str]] = []
        if source.host is not None and not source.is_pod:
            # A host's own packets are not asked where they come from,
            met.append((self.rules[source.host.name].output, "", destination.address))
        if source.host is not None and source.is_pod and not (own and not destination.is_pod):
            met.append((self.rules[source.host.name].forward, source.address, destination.address))
        if destination.host is not None and not destination.is_pod:
            # and what arrives at a host is not asked by which of its addresses.
            met.append((self.rules[destination.host.name].input, source.address, ""))
        if destination.host is not None and destination.is_pod and not own:
            met.append((self.rules[destination.host.name].forward, source.address, destination.address))
        return all(
            any(not rule.published and _covers(rule, come, go, protocol, port) for rule in chain)
            for chain, come, go in met
        )

    def _by_policies(self, source: Place, destination: Place, protocol: str, port: int) -> bool:
        own_host = source.host is not None and source.host == destination.host and not source.is_pod
        ingress = own_host or self._allowed("Ingress", "ingress", "from", destination, source, protocol, port)
        return ingress and self._allowed("Egress", "egress", "to", source, destination, protocol, port)

    def _allowed(  # noqa: PLR0917 - one direction of one packet
        self, kind: str, rules: str, peers: str, pod: Place, other: Place, protocol: str, port: int
    ) -> bool:
        if not pod.is_pod:
            return True
        selecting = [
            policy
            for policy in self.policies
            if policy.namespace == pod.namespace
            and kind in policy.spec["policyTypes"]
            and _selects(policy.spec["podSelector"], dict(pod.labels))
        ]
        wanted = {"protocol": protocol.upper(), "port": port}
        return not selecting or any(
            wanted in rule["ports"] and any(_is_peer(peer, other) for peer in rule[peers])
            for policy in selecting
            for rule in policy.spec.get(rules, ())
        )


def _covers(rule: Rule, source: str, destination: str, protocol: str, port: int) -> bool:
    return (
        _among(source, rule.sources)
        and _among(destination, rule.destinations)
        and rule.protocol in {"any", protocol}
        and (not rule.ports or port in rule.ports)
    )


@cache
def _among(address: str, ranges: tuple[str, ...]) -> bool:
    return not (ranges and address) or any(ip_address(address) in ip_network(text) for text in ranges)


def _selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())


def _is_peer(peer: Mapping[str, Any], place: Place) -> bool:
    if "ipBlock" in peer:
        return ip_address(place.address) in ip_network(peer["ipBlock"]["cidr"])
    namespace = {"kubernetes.io/metadata.name": place.namespace}
    return (
        place.is_pod
        and _selects(peer["namespaceSelector"], namespace)
        and _selects(peer["podSelector"], dict(place.labels))
    )
