"""The rendered rules and policies, judged packet by packet, against the matrix that they are made of."""

from itertools import product

import pytest
from unit.views.packets import Judge, Place

from llmaas.settings import Machine, Platform, build_platform, load_platform
from llmaas.settings.source import sections_of_file
from llmaas.views import zones as z
from llmaas.views.expectations import Expectations
from llmaas.views.flow_terms import Flow, Protocol, WideRule
from llmaas.views.flows import WIDE_RULES, entries, flow_matrix
from llmaas.views.host_rules import host_rules
from llmaas.views.network_policies import network_policies

# Ports of the platform, and some that are nobody's: NodePorts, programs behind their proxies, the web.
STRANGE_PORTS = (80, 4000, 8000, 30000)
# Nobody is there; what may come from anywhere may come from there.
NOBODY = "192.0.2.1"
# The ports at a service host's address, and those of the edge's pod behind them.
PUBLISHED = {443: 8443, 8444: 8444}
Party = tuple[Place, tuple[str, ...]]


# What a site may need besides: from its hosts, among them, and to them; and who unlocks disks.
DECLARED = [
    {"name": "logs", "source": "hosts", "destination": "site", "port": 6514},
    {"name": "storage", "source": "gpu", "destination": "service", "port": 2049},
    {"name": "metrics", "source": "bastions", "destination": "gpu", "port": 9100},
]
KEY_SERVERS = {
    "key_servers": [{"name": "key-01", "address": "10.77.0.5"}, {"name": "key-02", "address": "10.77.0.6"}],
    "recovery_recipients": ["age1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq5cu47z"],
}


@pytest.fixture(scope="module", params=["lab", "production", "lab with more flows"])
def platform(request: pytest.FixtureRequest) -> Platform:
    environment, _, more = request.param.partition(" with ")
    if not more:
        return load_platform(environment)
    flows = [{**flow, "encryption": "TLS 1.3", "reason": "the site asks for it"} for flow in DECLARED]
    sections = {**sections_of_file(environment)[1], "flows": flows, "disk_encryption": KEY_SERVERS}
    return build_platform("stack", sections)


def test_hosts_unlock_at_key_servers_where_disks_are_encrypted_and_no_others_do(platform: Platform) -> None:
    flows = {(flow.source, *flow.ports) for flow in flow_matrix(platform) if flow.destination == z.KEY_SERVERS}
    expected = set() if platform.disk_encryption is None else {("hosts", 7500), ("bastions", 22), ("bastions",)}
    assert flows == expected


@pytest.fixture(scope="module")
def judge(platform: Platform) -> Judge:
    return Judge(platform)


def hosts_of(platform: Platform) -> list[Machine]:
    """Two hosts of every kind where there are two, key servers too: rules are the same for all of a kind."""
    kinds: dict[tuple[str, ...], list[Machine]] = {}
    for host in platform.machines:
        kinds.setdefault(z.zones_of_host(host), []).append(host)
    return [host for found in kinds.values() for host in found[:2]]


def on_hosts(platform: Platform) -> list[Party]:
    return [(Place(str(host.address), host), z.zones_of_host(host)) for host in hosts_of(platform)]


def in_pods(platform: Platform) -> list[Party]:
    """A pod of every part on a host of every kind."""
    network = platform.network.pods.network_address
    found: list[Party] = []
    one_of_each = {z.zones_of_host(host): host for host in platform.hosts}
    for number, (host, part) in enumerate(product(one_of_each.values(), z.parts(platform))):
        place = Place(str(network + 256 + number), host, part.namespace, tuple(part.labels.items()))
        found.append((place, (part.name, z.PODS)))
    return found


def around(platform: Platform) -> list[Party]:
    """The site's machines as they are reached, each of which may be in several zones, and somebody outside."""
    zones: dict[str, list[str]] = {}
    for name in (z.BASTIONS, z.SITE, z.TIME_SERVERS, z.API_BALANCERS, z.ALERT_RECEIVER):
        for address in z.addresses(platform, name):
            zones.setdefault(address, []).append(name)
    found: list[Party] = [(Place(address), (*names, z.ANYWHERE)) for address, names in zones.items()]
    return [*found, (Place(NOBODY), (z.OUTSIDE, z.ANYWHERE))]


def ports(platform: Platform) -> list[tuple[Protocol, int]]:
    tcp = {port for flow in flow_matrix(platform) for port in flow.ports if "tcp" in flow.protocols}
    return [*(("tcp", port) for port in sorted(tcp | set(STRANGE_PORTS))), ("udp", 53), ("udp", 123)]


def test_what_the_rendered_rules_let_through_is_what_the_matrix_says(platform: Platform, judge: Judge) -> None:
    expectations, wrong, seen = Expectations(platform), [], set()
    parties = [*on_hosts(platform), *in_pods(platform), *around(platform)]
    for (source, sources), (destination, destinations) in product(parties, parties):
        if source == destination or (source.host is None and (destination.host is None or destination.is_pod)):
            continue  # a machine and itself; connections that never meet a host of ours
        own = source.host == destination.host and destination.is_pod and not source.is_pod
        for target in ports(platform):
            expected = expectations.verdict(sources, destinations, target, own_pods=own)
            passes = judge.passes(source, destination, *target)
            if source.host is None and target[1] in PUBLISHED:
                passes = passes or published(platform, judge, source, destination, target[1])
            seen.add((expected, passes))
            if passes is not (expected in {"allowed", "tolerated"}):
                wrong.append(f"{sources} to {destinations} {target} is {expected}, passes: {passes}")
    assert wrong == []
    assert seen == {("allowed", True), ("tolerated", True), ("forbidden", False)}


def published(platform: Platform, judge: Judge, caller: Place, service: Place, port: int) -> bool:
    """Whether a caller gets through to the edge's pod on a host, by that host's own address."""
    (edge,) = [part for part in z.PARTS if part.name == "edge"]
    address = str(platform.network.pods.network_address + 9)
    pod = Place(address, service.host, edge.namespace, tuple(edge.labels.items()))
    return judge.published(caller, service, "tcp", port, pod, PUBLISHED[port])


def test_service_hosts_publish_the_public_api_to_all_and_administration_to_bastions(
    platform: Platform, judge: Judge
) -> None:
    for (host, kinds), (caller, zones) in product(on_hosts(platform), around(platform)):
        opened = {port for port in PUBLISHED if published(platform, judge, caller, host, port)}
        assert opened == ({443} if "service" in kinds else set()) | (
            {8444} if "service" in kinds and z.BASTIONS in zones else set()
        )


def test_every_flow_stands_in_the_rules_of_the_hosts_and_every_rule_is_of_a_flow(platform: Platform) -> None:
    machines = [host_rules(platform, machine) for machine in platform.machines]
    rendered = {
        rule.name for rules in machines for chain in (rules.input, rules.output, rules.forward) for rule in chain
    }
    carrying = {flow.carried_by or flow.name for flow in flow_matrix(platform)}
    assert rendered == carrying


def test_a_wider_rule_covers_what_it_carries(platform: Platform) -> None:
    wide = {entry.name: entry for entry in entries(platform) if isinstance(entry, WideRule)}
    carried = [flow for flow in flow_matrix(platform) if flow.carried_by]
    assert carried
    for flow in carried:
        rule = wide[flow.carried_by]
        assert z.overlap(flow.source, rule.source), flow.name
        assert z.overlap(flow.destination, rule.destination), flow.name
        assert rule.protocol == "any" or set(flow.protocols) == {rule.protocol}, flow.name
        assert not rule.ports or set(flow.ports) <= set(rule.ports), flow.name
        assert flow.own_pods == rule.own_pods, flow.name


def test_every_flow_of_a_part_has_its_policies_and_every_policy_a_flow(platform: Platform) -> None:
    parts = [part for part in z.parts(platform) if part.namespace.startswith("llmaas-")]
    governed = {part.name for part in parts}
    wanted = {f"deny-all {namespace}" for namespace in {part.namespace for part in parts}}
    for flow in flow_matrix(platform):
        destination = flow.answer.part if flow.answer else flow.destination
        if flow.source in governed:
            wanted.add(f"{flow.source}-to-{destination} {_namespace(flow.source)}")
        if destination in governed and not flow.own_pods:
            wanted.add(f"{destination}-from-{flow.source} {_namespace(destination)}")
    policies = [f"{policy.name} {policy.namespace}" for policy in network_policies(platform)]
    assert sorted(policies) == sorted(wanted)


def test_each_wider_rule_stands_before_what_it_carries(platform: Platform) -> None:
    seen: set[str] = set()
    for entry in entries(platform):
        if isinstance(entry, Flow):
            assert not entry.carried_by or entry.carried_by in seen
        else:
            seen.add(entry.name)
    assert seen >= {rule.name for rule in WIDE_RULES}


def test_hosts_and_pods_listen_where_somebody_asks_them(platform: Platform) -> None:
    expectations = Expectations(platform)

    def tcp(*zones: str) -> set[tuple[int, bool]]:
        return {(each.port, each.tls) for each in expectations.listeners(zones) if each.protocol == "tcp"}

    declared = {(flow.port, True) for flow in platform.flows if flow.destination == "gpu"}
    assert tcp("hosts", "gpu") == {(22, False), (10250, True)} | declared
    assert tcp("hosts", "control") == {(22, False), (10250, True), (6443, True), (2379, True), (2380, True)}
    assert tcp("edge", "pods") == {(8443, True), (8444, True), (9443, True)}
    assert tcp("litellm", "pods") == tcp("vllm", "pods") == {(8443, True), (9443, True)}
    assert tcp("postgres", "pods") == {(5432, True)}
    assert tcp("redis", "pods") == {(6379, True)}
    assert tcp("litellm-migration", "pods") == set()


def _namespace(name: str) -> str:
    part = z.part(name)
    assert part is not None
    return part.namespace
