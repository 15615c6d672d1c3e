"""The flow matrix, narrowed down to one host or key server; the firewall role writes it as nftables rules."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from llmaas.settings import KeyServer, Machine, Platform
from llmaas.views import zones as z
from llmaas.views.flow_terms import Flow, WideRule
from llmaas.views.flows import entries


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


def host_rules(platform: Platform, host: Machine) -> HostRules:
    """The part of the flow matrix that concerns one host or key server; key servers forward nothing."""
    zones = z.zones_of_host(host)
    own = _with_rules(platform)
    through = () if isinstance(host, KeyServer) else own
    forwarded = tuple(_rule(platform, entry) for entry in through if _is_forwarded(entry, zones))
    return HostRules(_accepted(platform, own, zones), _opened(platform, own, zones), forwarded)


def _with_rules(platform: Platform) -> list[Flow | WideRule]:
    """What has a rule of its own: all but the flows that a wider rule carries."""
    return [entry for entry in entries(platform) if not (isinstance(entry, Flow) and entry.carried_by)]


def _accepted(platform: Platform, own: Collection[Flow | WideRule], zones: Collection[str]) -> tuple[Rule, ...]:
    rules = (_rule(platform, entry) for entry in own if entry.destination in zones)
    return tuple(rule for rule in rules if not rule.published)


def _opened(platform: Platform, own: Collection[Flow | WideRule], zones: Collection[str]) -> tuple[Rule, ...]:
    return tuple(_rule(platform, entry) for entry in own if entry.source in zones)


def _rule(platform: Platform, entry: Flow | WideRule) -> Rule:
    sources, destinations = z.addresses(platform, entry.source), z.addresses(platform, entry.destination)
    if isinstance(entry, WideRule):
        return Rule(entry.name, sources, destinations, entry.protocol, entry.ports)
    (protocol,) = entry.protocols
    return Rule(entry.name, sources, destinations, protocol, entry.ports, published=entry.answer is not None)


def _is_forwarded(entry: Flow | WideRule, zones: Collection[str]) -> bool:
    """Whether packets pass through the host on their way to or from a pod of its own."""
    if isinstance(entry, Flow) and entry.answer is not None:
        return entry.destination in zones
    return z.PODS in {entry.source, entry.destination} and not entry.own_pods
