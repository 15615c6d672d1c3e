"""The text of the agent's nftables table.

A packet that a pod sends passes ``leaving``, one that a pod receives passes ``arriving``; both look up the pod by its
address and go to the pod's own chain. An address that the agent does not know is dropped, so a pod that has just
started can do nothing until its policies are in place. The forward hook comes after kube-proxy's address translation:
the destination is the pod's own address, never a service's. What a pod sends to its own host passes the input hook
instead, and ``leaving`` there. What a host sends to its own pods passes neither, so probes always arrive.
"""

import ipaddress
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from .resolution import Allowance, Direction, Ports, allowances
from .world import Pod, World

TABLE = "inet llmaas_netpol"
POD_INTERFACES = "veth*"
COMMENT_LIMIT = 120


@dataclass(frozen=True, slots=True)
class Ruleset:
    """The table as text for ``nft -f -``, and what it holds in numbers."""

    text: str
    pods: int
    isolated: int
    rules: int


def closed_ruleset() -> str:
    """Before the policies are known: pods may only finish what they had begun."""
    return _table(
        [
            "\tchain forward {",
            *_hook("forward"),
            f'\t\tiifname "{POD_INTERFACES}" drop',
            f'\t\toifname "{POD_INTERFACES}" drop',
            "\t}",
            "\tchain input {",
            *_hook("input"),
            f'\t\tiifname "{POD_INTERFACES}" drop',
            "\t}",
        ]
    )


def ruleset(world: World, node: str) -> Ruleset:
    """The table for the pods of one node."""
    pods = sorted((pod for pod in world.pods.values() if pod.node == node), key=lambda pod: pod.title)
    chains: list[str] = []
    verdicts: dict[tuple[Direction, int], dict[str, str]] = defaultdict(dict)
    isolated = rules = 0
    for pod in pods:
        directions: tuple[Direction, Direction] = ("Egress", "Ingress")
        found = {direction: allowances(world, pod, direction) for direction in directions}
        isolated += any(allowed is not None for allowed in found.values())
        for direction, allowed in found.items():
            for address in pod.addresses:
                version = ipaddress.ip_address(address).version
                if allowed is None:
                    verdicts[direction, version][address] = "return"
                    continue
                name = _chain_name(direction, address)
                body = list(_chain_rules(direction, address, allowed))
                rules += len(body)
                chains += _chain(name, pod, body)
                verdicts[direction, version][address] = f"goto {name}"
    lines = [*_maps(verdicts), *_base_chains(), *chains]
    return Ruleset(_table(lines), len(pods), isolated, rules)


def _table(lines: Iterable[str]) -> str:
    # Deleting and filling the table in one transaction: no packet sees an empty one.
    return "\n".join([f"add table {TABLE}", f"delete table {TABLE}", f"table {TABLE} {{", *lines, "}", ""])


def _hook(name: str) -> list[str]:
    return [
        f"\t\ttype filter hook {name} priority filter; policy accept;",
        "\t\tct state established,related accept",
    ]


def _base_chains() -> list[str]:
    return [
        "\tchain forward {",
        *_hook("forward"),
        f'\t\tiifname "{POD_INTERFACES}" jump leaving',
        f'\t\toifname "{POD_INTERFACES}" jump arriving',
        "\t}",
        "\tchain input {",
        *_hook("input"),
        f'\t\tiifname "{POD_INTERFACES}" jump leaving',
        "\t}",
        "\tchain leaving {",
        # The address is the pod's identity: one that answers would not come back to is forged.
        "\t\tfib saddr . iif oif missing drop",
        "\t\tip saddr vmap @egress4",
        "\t\tip6 saddr vmap @egress6",
        "\t\tdrop",
        "\t}",
        "\tchain arriving {",
        "\t\tip daddr vmap @ingress4",
        "\t\tip6 daddr vmap @ingress6",
        "\t\tdrop",
        "\t}",
    ]


def _maps(verdicts: Mapping[tuple[Direction, int], Mapping[str, str]]) -> Iterator[str]:
    names: dict[tuple[Direction, int], str] = {
        ("Egress", 4): "egress4",
        ("Egress", 6): "egress6",
        ("Ingress", 4): "ingress4",
        ("Ingress", 6): "ingress6",
    }
    for key, name in names.items():
        elements = verdicts.get(key, {})
        yield f"\tmap {name} {{"
        yield f"\t\ttype ipv{key[1]}_addr : verdict"
        if elements:
            listed = ", ".join(f"{address} : {verdict}" for address, verdict in sorted(elements.items()))
            yield f"\t\telements = {{ {listed} }}"
        yield "\t}"


def _chain(name: str, pod: Pod, body: Iterable[str]) -> list[str]:
    rules = [f"\t\t{rule}" for rule in body]
    return [f"\tchain {name} {{", f'\t\tcomment "{pod.title[:COMMENT_LIMIT]}"', *rules, "\t\tdrop", "\t}"]


def _chain_name(direction: Direction, address: str) -> str:
    return f"{direction.lower()}_{address.replace('.', '_').replace(':', '_')}"


def _chain_rules(direction: Direction, own_address: str, allowed: Iterable[Allowance]) -> Iterator[str]:
    side = "daddr" if direction == "Egress" else "saddr"
    version = ipaddress.ip_address(own_address).version
    # A pod that reaches itself through its own service is never refused.
    yield f"{_family(version)} {side} {own_address} return"
    yield from sorted(
        " ".join([*match, *_port_match(ports), "return"])
        for networks, excepted, ports in _merged(allowed)
        for match in _address_matches(side, version, networks, excepted)
    )


def _merged(allowed: Iterable[Allowance]) -> Iterator[tuple[frozenset[str] | None, frozenset[str], Ports]]:
    """Permissions that differ only in their addresses become one set lookup."""
    by_ports: dict[Ports, set[str]] = defaultdict(set)
    for item in allowed:
        if item.networks is None or item.excepted:
            yield item.networks, item.excepted, item.ports
        else:
            by_ports[item.ports].update(item.networks)
    for ports, networks in by_ports.items():
        yield frozenset(networks), frozenset(), ports


def _address_matches(
    side: str, version: int, networks: frozenset[str] | None, excepted: frozenset[str]
) -> Iterator[list[str]]:
    if networks is None:
        yield []
        return
    inside = _collapsed(networks, version)
    if not inside:
        return
    match = [f"{_family(version)} {side} {{ {', '.join(inside)} }}"]
    outside = _collapsed(excepted, version)
    if outside:
        match.append(f"{_family(version)} {side} != {{ {', '.join(outside)} }}")
    yield match


def _collapsed(networks: Iterable[str], version: int) -> list[str]:
    """Sorted and without overlaps, which a set of nftables does not take."""
    parsed = [ipaddress.ip_network(network) for network in networks]
    if version == 4:
        four = ipaddress.collapse_addresses(item for item in parsed if isinstance(item, ipaddress.IPv4Network))
        return [_short(item) for item in four]
    six = ipaddress.collapse_addresses(item for item in parsed if isinstance(item, ipaddress.IPv6Network))
    return [_short(item) for item in six]


def _short(network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> str:
    return str(network.network_address) if network.prefixlen == network.max_prefixlen else str(network)


def _port_match(ports: Ports) -> list[str]:
    if ports.protocol is None:
        return []
    protocol = ports.protocol.lower()
    if ports.first is None:
        return [f"meta l4proto {protocol}"]
    return [
        f"{protocol} dport {ports.first}"
        if ports.first == ports.last
        else f"{protocol} dport {ports.first}-{ports.last}"
    ]


def _family(version: int) -> str:
    return "ip" if version == 4 else "ip6"
