"""The flow matrix, narrowed down to one host; the firewall role writes it as nftables rules."""

from dataclasses import dataclass
from typing import Literal

from llmaas.settings import Host, Platform
from llmaas.views import zones as z
from llmaas.views.flows import Flow, WideRule, entries


@dataclass(frozen=True)
class Rule:
    """One accepted kind of connection on one host; an empty tuple does not narrow it down."""

    name: str
    sources: tuple[str, ...]
    destinations: tuple[str, ...]
    protocol: Literal["tcp", "udp", "icmp", "any"]
    ports: tuple[int, ...]
    published: bool = False


@dataclass(frozen=True)
class HostRules:
    """What one host accepts, opens and forwards; everything else is dropped."""

    input: tuple[Rule, ...]
    output: tuple[Rule, ...]
    forward: tuple[Rule, ...]


def host_rules(platform: Platform, host: Host) -> HostRules:
    """The part of the flow matrix that concerns one host."""
    incoming, outgoing, forwarded = [], [], []
    for entry in entries(platform):
        if isinstance(entry, Flow) and entry.carried_by:
            continue
        rule = _rule(platform, entry)
        if _is_in(host, entry.destination) and not rule.published:
            incoming.append(rule)
        if _is_in(host, entry.source):
            outgoing.append(rule)
        if _is_forwarded(entry, host):
            forwarded.append(rule)
    return HostRules(tuple(incoming), tuple(outgoing), tuple(forwarded))


def _rule(platform: Platform, entry: Flow | WideRule) -> Rule:
    sources, destinations = z.addresses(platform, entry.source), z.addresses(platform, entry.destination)
    if isinstance(entry, WideRule):
        return Rule(entry.name, sources, destinations, entry.protocol, entry.ports)
    (protocol,) = entry.protocols
    return Rule(entry.name, sources, destinations, protocol, entry.ports, published=entry.answer is not None)


def _is_in(host: Host, zone: str) -> bool:
    return zone in z.zones_of_host(host)


def _is_forwarded(entry: Flow | WideRule, host: Host) -> bool:
    """Whether packets pass through the host on their way to or from a pod of its own."""
    if isinstance(entry, Flow) and entry.answer is not None:
        return _is_in(host, entry.destination)
    return z.PODS in {entry.source, entry.destination} and not entry.own_pods
