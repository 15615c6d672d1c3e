"""Whatever accepts connections from outside its host or its pod is in the flow matrix."""

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import kubernetes
import pytest
from host.conftest import PLATFORM
from host.pods import RunningPod, name_service_pods, running_pods
from host.probing import Attempt, Machine, Socket

from llmaas.settings import Host, Platform
from llmaas.settings import Machine as Declared
from llmaas.views import zones as z
from llmaas.views.expectations import Expectations, Listener

# Who must be at a port of a host; behind a port that the stack file declares stands whom the site put there.
PROGRAMS = {
    22: "sshd",
    10250: "kubelet",
    6443: "kube-apiserver",
    2379: "etcd",
    2380: "etcd",
    6514: "syslog-ng",
    # it hands each question to tangd
    7500: "systemd",
    9443: "prometheus-node",
}
LASTING_PARTS = sorted({part.name for part in z.parts(PLATFORM)} - {"litellm-migration"})
Sockets = Mapping[str, Mapping[str, set[Socket]]]


@pytest.fixture(scope="module")
def pods(cluster: kubernetes.client.CoreV1Api) -> list[RunningPod]:
    return [*running_pods(cluster), *name_service_pods(cluster)]


@pytest.fixture(scope="module")
def sockets(machines: dict[str, Machine], pods: list[RunningPod]) -> Sockets:
    """By the name of the host, then by the address of the pod: what listens there; the host's own at ""."""
    addresses = {name: [pod.address for pod in pods if pod.host == name] for name in machines}
    with ThreadPoolExecutor(len(machines)) as pool:
        found = pool.map(lambda name: machines[name].sockets(addresses[name]), machines)
        return dict(zip(machines, found, strict=True))


@pytest.fixture(scope="module")
def expectations(platform: Platform) -> Expectations:
    return Expectations(platform)


def _declared(listeners: Iterable[Listener]) -> set[tuple[str, int]]:
    return {(each.protocol, each.port) for each in listeners}


@pytest.mark.key_servers_too
def test_nothing_listens_that_was_not_declared(
    sockets: Sockets, declared: Declared, expectations: Expectations
) -> None:
    allowed = _declared(expectations.listeners(z.zones_of_host(declared)))
    assert {each for each in sockets[declared.name][""] if (each.protocol, each.port) not in allowed} == set()


@pytest.mark.key_servers_too
def test_everything_declared_listens_and_is_the_right_program(
    sockets: Sockets, declared: Declared, expectations: Expectations
) -> None:
    ports = {each.port for each in expectations.listeners(z.zones_of_host(declared))}
    found = {each.port: each.program for each in sockets[declared.name][""] if each.port in ports}
    assert {port: PROGRAMS.get(port, found.get(port, "nobody")) for port in ports} == found


def test_every_pod_with_a_network_of_its_own_is_of_a_part_of_the_matrix(
    cluster: kubernetes.client.CoreV1Api,
) -> None:
    strangers = [
        f"{pod.metadata.namespace}/{pod.metadata.name}"
        for pod in cluster.list_pod_for_all_namespaces(field_selector="status.phase=Running").items
        if not pod.spec.host_network
        and not any(
            part.namespace == pod.metadata.namespace and part.labels.items() <= (pod.metadata.labels or {}).items()
            for part in z.parts(PLATFORM)
        )
    ]
    assert strangers == []


@pytest.mark.parametrize("part", LASTING_PARTS)
def test_a_pod_listens_where_somebody_may_ask_it_and_nowhere_else(
    sockets: Sockets, pods: list[RunningPod], expectations: Expectations, part: str
) -> None:
    declared = _declared(expectations.listeners((part, z.PODS)))
    asked = [pod for pod in pods if pod.part == part]
    assert asked, "no pod of the part runs"
    for pod in asked:
        found = sockets[pod.host][pod.address]
        assert {(each.protocol, each.port) for each in found} == declared, f"{pod.name}: {sorted(found, key=str)}"


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_tls_listeners_of_the_host_speak_1_3_only(
    machine: Machine, declared: Host, expectations: Expectations, version: str
) -> None:
    ports = sorted(each.port for each in expectations.listeners(z.zones_of_host(declared)) if each.tls)
    assert 10250 in ports
    found = machine.attempt([Attempt(str(declared.address), port, tls=version) for port in ports])
    if version == "1.3":
        assert found == ["TLSv1.3"] * len(ports)
    else:
        assert all(text.startswith("rejected") for text in found), dict(zip(ports, found, strict=True))


@pytest.mark.parametrize("server", PLATFORM.site.urls)
def test_a_server_of_the_site_speaks_tls_1_3_only(control: Machine, platform: Platform, server: str) -> None:
    """Packages, images and weights, asked at the address that hosts ask."""
    address, port = str(platform.site.address), urlsplit(platform.site.urls[server]).port or 443
    old, new = control.attempt([Attempt(address, port, tls="1.2"), Attempt(address, port, tls="1.3")])
    assert old.startswith("rejected"), old
    assert new == "TLSv1.3"
