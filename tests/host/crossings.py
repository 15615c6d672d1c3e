"""Every connection to try between the zones of a live environment, and what the flow matrix expects of each."""

import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any, Final

from host.pods import RunningPod, one_of_each
from host.probing import Attempt, Machine, Start

from llmaas.paths import state_dir
from llmaas.settings import Platform
from llmaas.views import zones as z
from llmaas.views.expectations import Expectations, Verdict
from llmaas.views.flow_terms import Flow
from llmaas.views.flows import KUBERNETES_API_PORT, flow_matrix

# Nobody listens there, and no flow names it; a NodePort would be there.
NOBODYS_PORT: Final = 30000
# Programs behind their proxies.
LOOPBACK_PORTS: Final = {"litellm": (4000,), "vllm": (8000,)}
# Reserved for documentation: nobody is there, and no route may lead there.
OUTSIDE: Final = ("192.0.2.1", "198.51.100.1")
OUTSIDE_PORTS: Final = (53, 80, 443)
# What must open may be slow on a busy machine; what must not is waited for no longer than one repetition takes.
SECONDS: Final[dict[Verdict, float]] = {"allowed": 6.0, "forbidden": 1.5, "tolerated": 1.5}
# A question that the protocol answers, in hexadecimal: the address of kubernetes.default, and what time it is.
NAME_QUESTION: Final = b"\x4c\x4c\x01\0\0\1\0\0\0\0\0\0\x0akubernetes\7default\3svc\7cluster\5local\0\0\1\0\1".hex()
TIME_QUESTION: Final = (b"\x23" + bytes(47)).hex()

# Its pod ends with its work, so there is nobody to ask or to try it from.
PASSING_PART: Final = "litellm-migration"
# Of each there is one: nobody else of the zone could be asked.
ALONE: Final = frozenset({"postgres", "redis", "prometheus"})


@dataclass(frozen=True)
class End:
    """Somebody who may be at an end of a connection; ``pod``: the address of a pod, ``host``: where it runs."""

    name: str
    zones: tuple[str, ...]
    address: str
    host: str = ""
    pod: str = ""


@dataclass(frozen=True)
class Crossing:
    """A connection to try, or one that was tried: then with its outcome."""

    source: End
    destination: End
    attempt: Attempt
    verdict: Verdict
    flows: tuple[Flow, ...]
    outcome: str = field(default="")

    @property
    def is_as_expected(self) -> bool:
        """Open where a flow allows it; where none does, nobody may even say no."""
        if self.verdict == "allowed":
            return self.outcome == "open"
        return self.outcome.startswith(("silent", "unreachable"))

    def __str__(self) -> str:
        attempt = self.attempt
        where = f"{self.destination.name} ({attempt.address}) {attempt.protocol} {attempt.port}"
        return f"{self.source.name} to {where} is {self.verdict}, found {self.outcome}"


class Map:
    """Who is there, and all connections between them."""

    def __init__(self, platform: Platform, pods: Sequence[RunningPod], undeclared_listener: tuple[str, int]) -> None:
        self.platform = platform
        self.expectations: Final = Expectations(platform)
        self.hosts = [End(host.name, z.zones_of_host(host), str(host.address), host.name) for host in platform.hosts]
        self.pods = [
            End(f"{pod.part} on {pod.host}", (pod.part, z.PODS), pod.address, pod.host, pod.address) for pod in pods
        ]
        asking = {pod.address for pod in one_of_each(list(pods)).values()}
        self.asking_pods = [end for end in self.pods if end.pod in asking]
        self.bastion = End("this bastion", (z.BASTIONS, z.ANYWHERE), undeclared_listener[0])
        self.key_servers = [
            End(server.name, z.zones_of_host(server), str(server.address), server.name)
            for server in platform.key_servers
        ]
        self.undeclared_listener = undeclared_listener[1]

    def crossings(self) -> list[Crossing]:
        """All connections to try; what is merely tolerated shows nothing either way and is left out."""
        found = []
        for source in (*self.hosts, *self.asking_pods, *self.key_servers):
            for destination in (*self.hosts, *self.pods):
                if source != destination:
                    found += [self._crossing(source, destination, *each) for each in self._inside(destination)]
            for destination, attempts in self._around():
                if destination.address == source.address:
                    continue
                found += [self._crossing(source, destination, *each) for each in attempts]
        for destination in self.hosts:
            attempts = [*self._inside(destination), ("tcp", 443, ""), ("tcp", 8444, "")]
            found += [self._crossing(self.bastion, destination, *each) for each in attempts]
        for address in self.platform.gateway.public_addresses:
            entrance = End("the public entrance", (z.SERVICE,), str(address))
            attempts = [("tcp", port, "") for port in (443, 8444, NOBODYS_PORT)]
            found += [self._crossing(self.bastion, entrance, *each) for each in attempts]
        for destination in self.key_servers:
            found += [self._crossing(self.bastion, destination, *each) for each in self._at_key_servers()]
        return [crossing for crossing in found if crossing.verdict != "tolerated" and not self._is_odd(crossing)]

    def _inside(self, destination: End) -> Iterator[tuple[Any, int, str]]:
        """Protocol, port and question of what to try at a host or a pod."""
        yield "tcp", NOBODYS_PORT, ""
        if not destination.pod:
            for port in self.expectations.tcp_ports("hosts"):
                yield "tcp", port, ""
            yield "icmp", 0, ""
            return
        part = destination.zones[0]
        for port in LOOPBACK_PORTS.get(part, ()):
            yield "tcp", port, ""
        for each in sorted(self.expectations.listeners(destination.zones), key=lambda each: each.port):
            yield each.protocol, each.port, NAME_QUESTION if each.protocol == "udp" else ""

    def _at_key_servers(self) -> list[tuple[Any, int, str]]:
        flows = (flow for flow in self.expectations.flows if flow.destination == z.KEY_SERVERS)
        ports = sorted({NOBODYS_PORT, *(port for flow in flows for port in flow.ports)})
        return [*(("tcp", port, "") for port in ports), ("icmp", 0, "")]

    def _around(self) -> Iterator[tuple[End, list[tuple[Any, int, str]]]]:
        """The machines of the site, each once though it be in several zones, and the outside."""
        zones: dict[str, list[str]] = {}
        for name in (z.SITE, z.BASTIONS, z.TIME_SERVERS, z.KEY_SERVERS, z.API_BALANCERS, z.ALERT_RECEIVER):
            for address in z.addresses(self.platform, name):
                zones.setdefault(address, []).append(name)
        api = str(self.platform.kubernetes.api_address)
        if api not in {host.address for host in self.hosts}:
            # somebody of the site's answers there for the control hosts
            zones.setdefault(api, []).append(z.CONTROL)
        site = sorted(
            {
                (flow.protocols[0], port)
                for flow in self.expectations.flows
                for port in flow.ports
                if z.zone(flow.destination).kind == "site"
            }
        )
        for address, names in zones.items():
            attempts = [(protocol, port, TIME_QUESTION if protocol == "udp" else "") for protocol, port in site]
            attempts += [each for each in (("tcp", NOBODYS_PORT, ""), ("tcp", 22, "")) if each not in attempts]
            if z.SITE in names:
                attempts.append(("icmp", 0, ""))
            if z.CONTROL in names:
                attempts.append(("tcp", KUBERNETES_API_PORT, ""))
            if address == self.bastion.address:
                attempts.append(("tcp", self.undeclared_listener, ""))
            yield End(" and ".join(names), tuple(names), address), attempts
        for address in OUTSIDE:
            yield End(z.OUTSIDE, (z.OUTSIDE,), address), [("tcp", port, "") for port in OUTSIDE_PORTS]

    def _crossing(self, source: End, destination: End, protocol: Any, port: int, payload: str) -> Crossing:
        own = bool(destination.pod) and not source.pod and source.host == destination.host
        asked = (source.zones, destination.zones, (protocol, port))
        verdict = self.expectations.verdict(*asked, own_pods=own)
        flows = self.expectations.flows_for(*asked, own_pods=own)
        attempt = Attempt(destination.address, port, protocol=protocol, payload=payload, seconds=SECONDS[verdict])
        return Crossing(source, destination, attempt, verdict, flows)

    @staticmethod
    def _is_odd(crossing: Crossing) -> bool:
        """ICMP of pods: NetworkPolicies are silent about it, and engines differ."""
        return crossing.attempt.protocol == "icmp" and bool(crossing.source.pod)


def pairs_to_try(platform: Platform) -> list[tuple[str, str]]:
    """All pairs of zones between which something forbidden can be tried: from whom, to whom."""
    lone = ALONE | {name for name in ("control", "service", "gpu", "log") if len(platform.hosts_with_role(name)) == 1}
    kinds: dict[str, list[str]] = {}
    parts = {part.name for part in z.parts(platform)}
    for zone in z.ZONES:
        is_there = zone.name in parts if z.part(zone.name) else zone.kind != "site" or z.addresses(platform, zone.name)
        if is_there and not zone.members and zone.name != PASSING_PART:
            kinds.setdefault(zone.kind, []).append(zone.name)
    inside = [*kinds["hosts"], *kinds["pods"]]
    pairs = [*product(inside, [*inside, *kinds["site"], *kinds["outside"]]), *product([z.BASTIONS], kinds["hosts"])]
    if z.KEY_SERVERS in kinds["site"]:
        pairs += [(z.BASTIONS, z.KEY_SERVERS)]
        pairs += product([z.KEY_SERVERS], [*inside, *kinds["site"], *kinds["outside"]])
    return [pair for pair in pairs if not (pair[0] == pair[1] and pair[0] in lone)]


def flows_to_try(platform: Platform) -> list[str]:
    """All flows that somebody whom the checks command can open to somebody else, by their names."""
    left_out = flows_left_out(platform)
    return [flow.name for flow in flow_matrix(platform) if flow.name not in left_out]


def flows_left_out(platform: Platform) -> dict[str, str]:
    """The flows that nobody can try, by their names, and why."""
    alone = len(platform.hosts_with_role("control")) == 1
    found = {}
    for flow in flow_matrix(platform):
        if flow.source == PASSING_PART:
            found[flow.name] = "its pod ends with its work"
        elif flow.source in {z.SITE, z.TIME_SERVERS, z.API_BALANCERS}:
            found[flow.name] = "checks start nothing on the site's machines"
        elif alone and flow.source == flow.destination == z.CONTROL:
            found[flow.name] = "there is one control host, and no other to ask"
    return found


class _Here:
    """This machine, where no SSH is needed."""

    @staticmethod
    def check_output(command: str) -> str:
        return subprocess.run(["/bin/sh", "-c", command], check=True, capture_output=True, text=True).stdout


def try_all(crossings: Sequence[Crossing], machines: Mapping[str, Machine]) -> list[Crossing]:
    """Try every connection, from all hosts and pods at once; each comes back with its outcome."""
    by_machine: dict[str, dict[str, list[Crossing]]] = {}
    for crossing in crossings:
        places = by_machine.setdefault(crossing.source.host, {})
        places.setdefault(crossing.source.pod, []).append(crossing)

    def tried(name: str) -> list[Crossing]:
        machine = machines[name] if name else Machine(_Here())
        places = by_machine[name]
        outcomes = machine.attempt_from([Start([c.attempt for c in each], pod) for pod, each in places.items()])
        pairs = zip(places.values(), outcomes, strict=True)
        return [replace(c, outcome=text) for each, texts in pairs for c, text in zip(each, texts, strict=True)]

    with ThreadPoolExecutor(len(by_machine)) as pool:
        return [crossing for found in pool.map(tried, by_machine) for crossing in found]


def record(platform: Platform, tried: Sequence[Crossing]) -> dict[str, int]:
    """Write what was tried beside the log of the run, as evidence, and count it."""
    counts = {}
    for verdict in ("allowed", "forbidden"):
        found = [crossing for crossing in tried if crossing.verdict == verdict]
        counts |= {f"{verdict}_tried": len(found), f"{verdict}_as_expected": sum(c.is_as_expected for c in found)}
    lines = [
        {
            "from": crossing.source.name,
            "to": crossing.destination.name,
            "address": crossing.attempt.address,
            "protocol": crossing.attempt.protocol,
            "port": crossing.attempt.port,
            "expected": crossing.verdict,
            "found": crossing.outcome,
        }
        for crossing in tried
    ]
    folder = state_dir(platform.environment) / "logs"
    folder.mkdir(exist_ok=True)
    (folder / "flows.json").write_text(json.dumps({**counts, "tried": lines}, indent=1), encoding="utf-8")
    return counts


def figures(counts: Mapping[str, int], left_out: Mapping[str, str]) -> dict[str, str]:
    """What was counted, and which flows were not tried and why, as people read it."""
    counted = {
        f"{verdict} connections": f"{counts[f'{verdict}_tried']} tried, "
        f"{counts[f'{verdict}_as_expected']} found as the flow matrix says"
        for verdict in ("allowed", "forbidden")
    }
    return counted | {"flows not tried": "; ".join(f"{name}: {why}" for name, why in left_out.items()) or "none"}
