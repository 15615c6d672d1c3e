"""What the flow matrix is made of: flows between zones, and the wider rules that carry some of them."""

from dataclasses import dataclass
from typing import Final, Literal

Protocol = Literal["tcp", "udp", "icmp"]
Encryption = Literal["TLS 1.3, mutual", "TLS 1.3", "SSH", "none"]
MUTUAL: Final[Encryption] = "TLS 1.3, mutual"
TLS: Final[Encryption] = "TLS 1.3"


@dataclass(frozen=True)
class Answer:
    """The pods that answer a connection which is addressed to a host, and their port."""

    part: str
    port: int


@dataclass(frozen=True)
class Flow:
    """One allowed kind of connection between two zones.

    ``ports`` is empty where the protocol has none. ``answer``: it is addressed to a host but a pod answers it, by a
    Service with the host as external address. ``own_pods``: only between a host and the pods that it runs.
    ``carried_by``: the wider rule of the hosts' firewalls that lets it through; empty where it has a rule of its own.
    """

    name: str
    source: str
    destination: str
    protocols: tuple[Protocol, ...]
    ports: tuple[int, ...]
    encryption: Encryption
    reason: str
    answer: Answer | None = None
    own_pods: bool = False
    carried_by: str = ""


@dataclass(frozen=True)
class Beyond:
    """What a wider rule lets through although no flow needs it; no ports mean all of them."""

    source: str
    destination: str
    protocol: Literal["tcp", "any"]
    ports: tuple[int, ...]
    reason: str
    own_pods: bool = False


@dataclass(frozen=True)
class WideRule:
    """A rule of the hosts' firewalls that is wider than the flows it carries: they know pods by one address range."""

    name: str
    source: str
    destination: str
    protocol: Literal["tcp", "any"]
    ports: tuple[int, ...]
    reason: str
    own_pods: bool = False
    beyond: tuple[Beyond, ...] = ()
