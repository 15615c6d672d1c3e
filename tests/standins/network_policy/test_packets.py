import contextlib
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import pytest
from standins.network_policy import truth_table
from standins.network_policy.topology import Topology, inside, run, topology

from lab.standins.network_policy_agent.ruleset import closed_ruleset, ruleset
from lab.standins.network_policy_agent.world import Policy

host = pytest.fixture(scope="module")(topology)


def _row(start: str) -> truth_table.Row:
    return next(row for row in truth_table.rows() if row.name.startswith(start))


@pytest.mark.parametrize("row", truth_table.rows(), ids=lambda row: row.name)
def test_real_packets_agree_with_the_table(host: Topology, row: truth_table.Row) -> None:
    host.apply(ruleset(row.world, truth_table.HERE).text)

    def is_wrong(attempt: truth_table.Attempt) -> bool:
        answered = host.answers(attempt.source, attempt.destination, attempt.protocol, attempt.port)
        return answered is not attempt.allowed

    with ThreadPoolExecutor(8) as pool:
        wrong = [
            str(attempt) for attempt, bad in zip(row.attempts, pool.map(is_wrong, row.attempts), strict=True) if bad
        ]
    assert not wrong


def test_before_the_first_sync_no_pod_is_reached_and_none_reaches_out(host: Topology) -> None:
    host.apply(closed_ruleset())
    assert not host.answers("10.77.0.99", "web/server", "TCP", 8080)
    assert not host.answers("web/client", "10.77.0.99", "TCP", 8080)
    assert not host.answers("web/client", "web/server", "TCP", 8080)
    assert host.answers("10.77.0.99", "10.77.1.99", "TCP", 8080), "what is no pod's traffic must pass"


def test_an_open_connection_outlives_a_policy_that_forbids_new_ones(host: Topology) -> None:
    host.apply(ruleset(_row("without policies").world, truth_table.HERE).text)
    with host.connect("web/client", "web/server", 8080) as connection:
        host.apply(ruleset(_row("deny all both ways").world, truth_table.HERE).text)
        connection.send(b"?")
        assert connection.recv(8) == b"!"
        host.apply(closed_ruleset())
        connection.send(b"?")
        assert connection.recv(8) == b"!"
    assert not host.answers("web/client", "web/server", "TCP", 8080)


def test_a_pod_that_the_agent_does_not_know_yet_is_closed(host: Topology) -> None:
    world = _row("without policies").world
    pods = {name: pod for name, pod in world.pods.items() if name != "web/server"}
    host.apply(ruleset(type(world)(pods, world.namespaces), truth_table.HERE).text)
    assert not host.answers("10.77.0.99", "web/server", "TCP", 8080)
    assert not host.answers("web/server", "10.77.0.99", "TCP", 8080)
    assert host.answers("10.77.0.99", "web/client", "TCP", 8080)


def test_a_host_reaches_its_own_isolated_pods(host: Topology) -> None:
    host.apply(ruleset(_row("deny all both ways").world, truth_table.HERE).text)
    address = truth_table.address_of("web/server")
    script = f"import socket; socket.create_connection(('{address}', 8080), 2)"
    run("ip", "netns", "exec", host.router, "python3", "-c", script)


def test_a_pod_reaches_its_own_host_where_its_policies_let_it(host: Topology) -> None:
    own = "169.254.1.1"
    world = _row("deny all both ways").world
    rule = {"to": [{"ipBlock": {"cidr": f"{own}/32"}}], "ports": [{"port": 8080}]}
    letting = Policy("web", "to-host", {"podSelector": {}, "policyTypes": ["Egress"], "egress": [rule]})
    let = replace(world, policies={**world.policies, "web/to-host": letting})

    def reaches(text: str, port: int) -> bool:
        host.apply(text)
        try:
            host.connect("web/client", own, port).close()
        except TimeoutError:
            return False
        return True

    with (
        inside(host.router, partial(socket.create_server, (own, 8080))),
        inside(host.router, partial(socket.create_server, (own, 8081))),
    ):
        assert reaches(ruleset(_row("without policies").world, truth_table.HERE).text, 8080)
        assert not reaches(ruleset(world, truth_table.HERE).text, 8080)
        assert reaches(ruleset(let, truth_table.HERE).text, 8080)
        assert not reaches(ruleset(let, truth_table.HERE).text, 8081)
        assert not reaches(closed_ruleset(), 8080)


def test_a_pod_cannot_borrow_the_address_of_another(host: Topology) -> None:
    row = _row("a peer podSelector means")
    host.apply(ruleset(row.world, truth_table.HERE).text)
    thief, owner = host.namespace("web/plain"), truth_table.address_of("web/client")
    run("ip", "-n", thief, "address", "add", f"{owner}/32", "dev", "eth0")
    capture = inside(host.namespace("web/server"), _packet_socket)
    try:
        script = (
            "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM);"
            f"s.bind(('{owner}', 0)); s.sendto(b'forged', ('{truth_table.address_of('web/server')}', 8080))"
        )
        run("ip", "netns", "exec", thief, "python3", "-c", script)
        assert host.answers("web/client", "web/server", "UDP", 8080), "the owner itself must pass"
        assert b"forged" not in b"".join(_all_packets(capture))
    finally:
        capture.close()
        run("ip", "-n", thief, "address", "del", f"{owner}/32", "dev", "eth0")


def _all_packets(capture: socket.socket) -> Iterator[bytes]:
    capture.settimeout(0.5)
    with contextlib.suppress(TimeoutError):
        while True:
            yield capture.recv(2048)


def _packet_socket() -> socket.socket:
    return socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
