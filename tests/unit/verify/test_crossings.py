"""What the live checks will try, worked out without a live environment; the script that tries it, on this machine."""

import socket
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path

import pytest
from host.crossings import Crossing, End, Map, figures, flows_left_out, flows_to_try, pairs_to_try, record
from host.pods import RunningPod
from host.probing import Attempt, Machine, Socket
from host.test_cluster import PART_LISTENERS

from llmaas.settings import Platform, load_platform
from llmaas.views import zones as z
from llmaas.views.expectations import Expectations
from llmaas.views.flows import flow_matrix

REPLICAS = {"edge": 2, "litellm": 2, "vllm": 3, "name-service": 2, "dcgm-exporter": 2, "nvidia-device-plugin": 2}


@pytest.fixture(scope="module", params=["lab", "production"])
def platform(request: pytest.FixtureRequest) -> Platform:
    return load_platform(request.param)


@pytest.fixture(scope="module")
def crossings(platform: Platform) -> list[Crossing]:
    return crossings_of(platform)


def crossings_of(platform: Platform, moved: int = 0) -> list[Crossing]:
    """What is tried when every part's pods run ``moved`` hosts further on."""
    names = {
        "edge": [host.name for host in platform.hosts_with_role("service")],
        "name-service": [platform.hosts_with_role("control")[0].name],
    }
    names = {part: [*hosts[moved % len(hosts) :], *hosts[: moved % len(hosts)]] for part, hosts in names.items()}
    gpu_hosts = [host.name for host in platform.hosts_with_role("gpu")]
    gpu_hosts = [*gpu_hosts[moved:], *gpu_hosts[:moved]]
    pods = [
        RunningPod(part.name, part.namespace, f"{part.name}-{number}", host, f"10.244.{place}.{number}")
        for place, part in enumerate(z.parts(platform))
        if part.name != "litellm-migration"
        for number, host in enumerate(islice(cycle(names.get(part.name, gpu_hosts)), REPLICAS.get(part.name, 1)), 1)
    ]
    return Map(platform, pods, undeclared_listener=(str(platform.site.bastions[0]), 40000)).crossings()


def test_every_flow_that_can_be_tried_is_tried(platform: Platform, crossings: list[Crossing]) -> None:
    tried = {flow.name for crossing in crossings for flow in crossing.flows}
    assert tried >= set(flows_to_try(platform))
    assert {flow.name for flow in flow_matrix(platform)} == {*flows_to_try(platform), *flows_left_out(platform)}


def test_a_flow_that_cannot_be_tried_is_named_with_its_reason(platform: Platform) -> None:
    migration = dict.fromkeys(
        ("litellm-migration-to-postgres", "litellm-migration-to-name-service"), "its pod ends with its work"
    )
    of_environment = {
        "lab": {"etcd": "there is one control host, and no other to ask"},
        "production": {"api-from-balancers": "checks start nothing on the site's machines"},
    }
    assert flows_left_out(platform) == migration | of_environment[platform.environment]


def test_the_api_is_asked_at_its_address_in_front_of_several_control_hosts_by_every_host_and_no_part() -> None:
    platform = load_platform("production")
    front = str(platform.kubernetes.api_address)
    verdicts = {
        each.source.name.split(" on ")[0]: each.verdict
        for each in crossings_of(platform)
        if (each.attempt.address, each.attempt.port) == (front, 6443)
    }
    askers = {*(host.name for host in platform.hosts), "name-service"}
    assert {name for name, verdict in verdicts.items() if verdict == "allowed"} == askers
    parts = {part.name for part in z.parts(platform)} - {"litellm-migration"}
    assert set(verdicts) == {*askers, *parts, *(server.name for server in platform.key_servers)}


def test_the_public_entrance_is_tried_at_the_address_that_outlives_a_host() -> None:
    (address,) = map(str, load_platform("production").gateway.public_addresses)
    found = {
        (each.source.name, each.attempt.port, each.verdict)
        for each in crossings_of(load_platform("production"))
        if each.attempt.address == address
    }
    ways = ((443, "allowed"), (8444, "allowed"), (30000, "forbidden"))
    assert found == {("this bastion", port, verdict) for port, verdict in ways}


def test_balancers_are_asked_nothing_that_they_may_answer() -> None:
    platform = load_platform("production")
    balancers = {str(address) for address in platform.kubernetes.api_balancers}
    asked = [each for each in crossings_of(platform) if each.attempt.address in balancers]
    assert {each.attempt.address for each in asked} == balancers
    assert {each.verdict for each in asked} == {"forbidden"}


def test_between_every_two_zones_something_forbidden_is_tried(platform: Platform, crossings: list[Crossing]) -> None:
    for source, destination in pairs_to_try(platform):
        assert any(
            crossing.verdict == "forbidden"
            and source in crossing.source.zones
            and destination in crossing.destination.zones
            for crossing in crossings
        ), (source, destination)


def test_every_part_that_speaks_tls_is_asked_for_its_versions(platform: Platform) -> None:
    expectations = Expectations(platform)
    listening = {
        (part.name, each.port)
        for part in z.parts(platform)
        for each in expectations.listeners((part.name, z.PODS))
        if each.tls
    }
    asked = {(part, port) for part, listeners in PART_LISTENERS.items() for port, _ in listeners}
    # the edge's administration ends connections that come from no bastion before TLS begins; it has a check of its own
    assert listening - asked == {("edge", 8444)}


def test_no_connection_is_tried_twice_or_from_a_zone_to_itself(crossings: list[Crossing]) -> None:
    keys = [
        (each.source.name, each.source.pod, each.attempt.address, each.attempt.protocol, each.attempt.port)
        for each in crossings
    ]
    assert len(set(keys)) == len(keys)
    assert all(each.source.address != each.attempt.address for each in crossings)


def test_how_many_connections_are_tried_does_not_hang_on_where_pods_run(
    platform: Platform, crossings: list[Crossing]
) -> None:
    assert Counter(each.verdict for each in crossings_of(platform, moved=3)) == Counter(
        each.verdict for each in crossings
    )


def test_what_was_tried_is_counted_by_what_the_matrix_says(
    platform: Platform, crossings: list[Crossing], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLMAAS_STATE", str(tmp_path))
    count = Counter(each.verdict for each in crossings)
    good = [replace(each, outcome="open" if each.verdict == "allowed" else "silent") for each in crossings]
    leak = next(index for index, each in enumerate(good) if each.verdict == "forbidden")
    good[leak] = replace(good[leak], outcome="open")
    assert figures(record(platform, good), {"etcd": "one host", "time": "no clock"}) == {
        "allowed connections": f"{count['allowed']} tried, {count['allowed']} found as the flow matrix says",
        "forbidden connections": f"{count['forbidden']} tried, {count['forbidden'] - 1} found as the flow matrix says",
        "flows not tried": "etcd: one host; time: no clock",
    }


@pytest.mark.parametrize(
    ("verdict", "outcome", "good"),
    [
        ("allowed", "open", True),
        ("allowed", "silent", False),
        ("allowed", "refused", False),
        ("forbidden", "silent", True),
        ("forbidden", "unreachable: No route to host", True),
        # Somebody said no: the packet arrived.
        ("forbidden", "refused", False),
        ("forbidden", "rejected: Connection reset by peer", False),
        ("forbidden", "open", False),
        ("forbidden", "", False),
    ],
)
def test_what_is_forbidden_must_meet_silence(verdict: str, outcome: str, good: bool) -> None:  # noqa: FBT001
    end = End("somebody", ("hosts",), "192.0.2.1")
    crossing = Crossing(end, end, Attempt("192.0.2.1", 1), verdict, (), outcome)  # type: ignore[arg-type]
    assert crossing.is_as_expected is good


class ThisMachine:
    @staticmethod
    def check_output(command: str) -> str:
        return subprocess.run(["/bin/sh", "-c", command], check=True, capture_output=True, text=True).stdout


@pytest.fixture
def answering() -> Iterator[int]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(20)
        thread = threading.Thread(target=lambda: server.sendto(*server.recvfrom(100)))
        thread.start()
        yield server.getsockname()[1]
        thread.join()


def test_the_script_tells_open_from_refused_and_silent(answering: int) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=8) as server, socket.create_server(("127.0.0.1", 0)) as closed:
        port, nobodys = server.getsockname()[1], closed.getsockname()[1]
        closed.close()
        attempts = [
            Attempt("127.0.0.1", port),
            Attempt("127.0.0.1", nobodys),
            Attempt("127.0.0.1", answering, protocol="udp", payload="00ff"),
            Attempt("127.0.0.1", port, tls="1.3", seconds=0.2),
            Attempt("127.0.0.1", nobodys, tls="1.2"),
        ]
        assert Machine(ThisMachine()).attempt(attempts) == ["open", "refused", "open", "silent", "refused"]


def test_the_script_lists_what_can_be_reached_from_outside() -> None:
    with socket.create_server(("127.0.0.1", 0)) as inside, socket.create_server(("0.0.0.0", 0)) as outside:  # noqa: S104
        listed = {each.port for each in Machine(ThisMachine()).sockets()[""] if isinstance(each, Socket)}
        assert outside.getsockname()[1] in listed
        assert inside.getsockname()[1] not in listed


def test_a_pod_that_is_not_there_fails_the_check() -> None:
    with pytest.raises(subprocess.CalledProcessError) as caught:
        Machine(ThisMachine()).sockets(["192.0.2.7"])
    assert "no network on this host has the address 192.0.2.7" in caught.value.stderr
