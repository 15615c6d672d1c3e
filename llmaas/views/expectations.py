"""What the checks of a live environment expect of a connection and of a listener, by the flow matrix."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, Literal

from llmaas.settings import Platform
from llmaas.views import zones as z
from llmaas.views.flow_terms import Beyond, Flow, Protocol
from llmaas.views.flows import WIDE_RULES, flow_matrix

# ``tolerated``: no flow needs it, and a rule that cannot be narrower lets it through all the same.
Verdict = Literal["allowed", "forbidden", "tolerated"]
_BEYOND: Final = tuple(entry for rule in WIDE_RULES for entry in rule.beyond)


@dataclass(frozen=True)
class Listener:
    """What may accept connections in a zone; ``tls``: whoever asks must begin with TLS."""

    protocol: Protocol
    port: int
    tls: bool


class Expectations:
    """The matrix of one environment, asked about single connections and listeners."""

    def __init__(self, platform: Platform) -> None:
        self.flows: Final = flow_matrix(platform)

    def flows_for(
        self,
        sources: Collection[str],
        destinations: Collection[str],
        target: tuple[Protocol, int],
        *,
        own_pods: bool = False,
    ) -> tuple[Flow, ...]:
        """The flows by which somebody in all zones of ``sources`` may connect to somebody in all of ``destinations``.

        ``own_pods``: the destination is a pod of the host that connects.
        """
        protocol, port = target
        return tuple(
            flow
            for flow in self.flows
            if protocol in flow.protocols
            and (port in flow.ports or not flow.ports)
            and _concerns(flow, sources, destinations, own_pods=own_pods)
        )

    def verdict(
        self,
        sources: Collection[str],
        destinations: Collection[str],
        target: tuple[Protocol, int],
        *,
        own_pods: bool = False,
    ) -> Verdict:
        """Whether the connection may be opened; the arguments are those of ``flows_for``."""
        if self.flows_for(sources, destinations, target, own_pods=own_pods):
            return "allowed"
        protocol, port = target
        tolerated = any(
            entry.protocol in {"any", protocol}
            and (port in entry.ports or not entry.ports)
            and _concerns(entry, sources, destinations, own_pods=own_pods)
            for entry in _BEYOND
        )
        return "tolerated" if tolerated else "forbidden"

    def listeners(self, zones: Collection[str]) -> frozenset[Listener]:
        """Everything that may listen at an address of somebody in all of ``zones``: a host, or a pod of a part."""
        found: dict[tuple[Protocol, int], bool] = {}
        for flow in self.flows:
            destination = flow.answer.part if flow.answer else flow.destination
            for protocol in flow.protocols if destination in zones else ():
                for port in (flow.answer.port,) if flow.answer else flow.ports:
                    found[protocol, port] = found.get((protocol, port), False) or flow.encryption.startswith("TLS")
        return frozenset(Listener(protocol, port, tls) for (protocol, port), tls in found.items())

    def tcp_ports(self, kind: z.Kind) -> tuple[int, ...]:
        """Every TCP port at which anybody of that kind of zone listens, sorted."""
        names = [zone.name for zone in z.ZONES if zone.kind == kind]
        return tuple(sorted({each.port for each in self.listeners(names) if each.protocol == "tcp"}))


def _concerns(entry: Flow | Beyond, sources: Collection[str], destinations: Collection[str], *, own_pods: bool) -> bool:
    return entry.source in sources and entry.destination in destinations and (own_pods or not entry.own_pods)
