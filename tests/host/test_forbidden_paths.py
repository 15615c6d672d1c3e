import socket
from collections.abc import Iterator

import kubernetes
import pytest
from host.pods import RunningPod, network_of, one_of_each, running_pods
from host.probing import Attempt, Machine

from llmaas.settings import Host, Platform

# Who may open a connection to which port of whom inside the cluster. All other pairs must find silence.
ALLOWED = {
    ("edge", "litellm", 8443),
    ("litellm", "vllm", 8443),
    ("litellm", "postgres", 5432),
    ("litellm", "redis", 6379),
    ("prometheus", "edge", 9443),
    ("prometheus", "litellm", 9443),
    ("prometheus", "vllm", 9443),
}
PORTS = {
    "edge": (8443, 8444, 9443),
    "litellm": (8443, 9443, 4000),
    "vllm": (8443, 9443, 8000),
    "postgres": (5432,),
    "redis": (6379,),
    "prometheus": (9090, 9443),
}
PUBLIC_API = ("edge", 8443)
NEEDED_PARTS = {"edge", "litellm", "vllm", "postgres", "redis"}
# Reserved for documentation: nobody is there, and no route may lead there.
OUTSIDE = ("192.0.2.1", "198.51.100.1")
CLOSED = ("silent", "unreachable")


def _is_closed(outcome: str) -> bool:
    return outcome.startswith(CLOSED)


@pytest.fixture(scope="module")
def pods(cluster: kubernetes.client.CoreV1Api) -> list[RunningPod]:
    return running_pods(cluster)


@pytest.fixture(scope="module")
def undeclared_listener(platform: Platform) -> Iterator[int]:
    """A port of this machine that answers and that no flow names."""
    with socket.create_server((str(platform.site.bastions[0]), 0)) as server:
        yield server.getsockname()[1]


def test_a_host_opens_nothing_to_other_hosts_but_the_declared_flows(
    machine: Machine, declared: Host, platform: Platform
) -> None:
    is_control = "control" in declared.roles
    attempts, expected = [], []
    for other in platform.hosts:
        if other.name == declared.name:
            continue
        for port in (22, 2379, 2380, 6443, 10250, 30000):
            allowed = (is_control and port == 10250) or ("control" in other.roles and port == 6443)
            allowed = allowed or (is_control and "control" in other.roles and port in {2379, 2380})
            attempts.append(Attempt(str(other.address), port))
            expected.append(allowed)
    found = machine.attempt(attempts)
    wrong = [
        f"{attempt.address}:{attempt.port} is {outcome}"
        for attempt, outcome, allowed in zip(attempts, found, expected, strict=True)
        if (outcome == "open") is not allowed or not (allowed or _is_closed(outcome))
    ]
    assert wrong == []


def test_a_host_reaches_nothing_outside(machine: Machine) -> None:
    found = machine.attempt([Attempt(address, port) for address in OUTSIDE for port in (53, 80, 443)])
    assert all(_is_closed(outcome) for outcome in found), found


def test_a_host_reaches_the_site_s_declared_ports_only(
    machine: Machine, platform: Platform, undeclared_listener: int
) -> None:
    site = str(platform.site.address)
    registry = int(str(platform.site.registry).rpartition(":")[2])
    opened, silent = machine.attempt([Attempt(site, registry), Attempt(site, undeclared_listener)])
    assert opened == "open"
    assert _is_closed(silent), silent


def test_a_host_reaches_no_pod_of_another_host(machine: Machine, declared: Host, pods: list[RunningPod]) -> None:
    attempts = [
        Attempt(pod.address, port)
        for pod in pods
        if pod.host != declared.name
        for port in PORTS.get(pod.part, ())
        # The control host may send to pods, for webhooks; the public API takes calls from anywhere.
        if not ("control" in declared.roles and (pod.part, port) == PUBLIC_API)
    ]
    found = machine.attempt(attempts)
    wrong = [
        f"{item.address}:{item.port} is {out}" for item, out in zip(attempts, found, strict=True) if not _is_closed(out)
    ]
    assert wrong == []


def test_a_bastion_reaches_no_port_of_a_host_but_ssh_and_the_api(declared: Host) -> None:
    allowed = {22} | ({6443} if "control" in declared.roles else set())
    opened = {port for port in (22, 2379, 2380, 6443, 10250) if _opens(str(declared.address), port)}
    assert opened == allowed


def test_every_part_runs(pods: list[RunningPod]) -> None:
    assert NEEDED_PARTS - {pod.part for pod in pods} == set()


def test_pods_reach_each_other_only_where_allowed(machines: dict[str, Machine], pods: list[RunningPod]) -> None:
    chosen = one_of_each(pods)
    assert set(chosen) >= NEEDED_PARTS
    wrong = []
    for source in chosen.values():
        targets = [(pod, port) for pod in pods if pod.name != source.name for port in PORTS.get(pod.part, ())]
        machine = machines[source.host]
        found = machine.attempt([Attempt(pod.address, port) for pod, port in targets], network_of(machine, source))
        for (pod, port), outcome in zip(targets, found, strict=True):
            allowed = (source.part, pod.part, port) in ALLOWED
            if (outcome == "open") is not allowed or not (allowed or _is_closed(outcome)):
                wrong.append(f"{source.part} to {pod.part} {port} is {outcome}")
    assert wrong == []


def test_no_pod_reaches_a_host_the_site_or_the_outside(
    machines: dict[str, Machine], pods: list[RunningPod], platform: Platform, undeclared_listener: int
) -> None:
    site = str(platform.site.address)
    hosts = [(str(host.address), port) for host in platform.hosts for port in (22, 2379, 6443, 10250)]
    elsewhere = [(site, undeclared_listener), (site, 8443), *((address, 443) for address in OUTSIDE)]
    wrong = []
    for source in one_of_each(pods).values():
        machine = machines[source.host]
        attempts = [Attempt(address, port) for address, port in (*hosts, *elsewhere)]
        found = machine.attempt(attempts, network_of(machine, source))
        wrong += [
            f"{source.part} to {item.address}:{item.port} is {outcome}"
            for item, outcome in zip(attempts, found, strict=True)
            if not _is_closed(outcome)
        ]
    assert wrong == []


def test_a_pod_of_no_part_reaches_nothing(machines: dict[str, Machine], cluster: kubernetes.client.CoreV1Api) -> None:
    """The name service lives outside the platform's namespaces: it answers, and reaches none of the parts."""
    listed = cluster.list_namespaced_pod("kube-system", label_selector="k8s-app=kube-dns").items
    assert listed, "no name service runs"
    stranger = RunningPod(
        "dns", "kube-system", listed[0].metadata.name, listed[0].spec.node_name, listed[0].status.pod_ip
    )
    machine = machines[stranger.host]
    targets = [(pod, port) for pod in running_pods(cluster) for port in PORTS.get(pod.part, ()) if pod.part != "edge"]
    found = machine.attempt([Attempt(pod.address, port) for pod, port in targets], network_of(machine, stranger))
    wrong = [
        f"{pod.part} {port} is {out}" for (pod, port), out in zip(targets, found, strict=True) if not _is_closed(out)
    ]
    assert wrong == []


def _opens(address: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((address, port)) == 0
