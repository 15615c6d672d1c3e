"""Who knows its callers by certificate answers nobody else: in the cluster, and where the cluster keeps its state."""

from collections import defaultdict

import kubernetes
import pytest
from host.pods import running_pods
from host.probing import Attempt, Machine

from llmaas.settings import Platform
from llmaas.views.flow_terms import MUTUAL
from llmaas.views.flows import ETCD_PORTS, flow_matrix
from llmaas.views.zones import parts

REFUSED = ("rejected", "HTTP/1.1 403")


def _asks(path: str) -> str:
    return f"GET {path} HTTP/1.1\r\nHost: part\r\nConnection: close\r\n\r\n"


def test_every_listener_of_every_part_that_knows_its_callers_answers_nobody_else(
    machines: dict[str, Machine], cluster: kubernetes.client.CoreV1Api, platform: Platform
) -> None:
    listeners: dict[str, set[int]] = defaultdict(set)
    for flow in flow_matrix(platform):
        if flow.encryption == MUTUAL and flow.destination in {part.name for part in parts(platform)}:
            listeners[flow.destination].update(flow.ports)
    pods = [pod for pod in running_pods(cluster) if pod.part in listeners]
    assert {pod.part for pod in pods} == set(listeners)
    wrong = []
    for pod in pods:
        asked = [(port, path) for port in sorted(listeners[pod.part]) for path in ("/metrics", "/v1/models")]
        attempts = [Attempt(pod.address, port, tls="1.3", request=_asks(path)) for port, path in asked]
        # from within the pod: hosts are let in for probes alone
        outcomes = machines[pod.host].attempt(attempts, pod.address)
        pairs = zip(asked, outcomes, strict=True)
        wrong += [
            f"{pod.name}: {asked}: {outcome[:200]}" for asked, outcome in pairs if not outcome.startswith(REFUSED)
        ]
    assert wrong == []


@pytest.mark.parametrize("path", ["/v1/models", "/metrics", "/tokenize", "/health", "/invocations", "/pause"])
def test_vllm_answers_nobody_without_the_gateway_s_certificate(
    machines: dict[str, Machine], cluster: kubernetes.client.CoreV1Api, path: str
) -> None:
    pods = [pod for pod in running_pods(cluster) if pod.part == "vllm"]
    assert pods
    for pod in pods:
        attempt = Attempt(pod.address, 8443, tls="1.3", request=_asks(path))
        (answer,) = machines[pod.host].attempt([attempt], pod.address)
        assert answer.startswith("rejected"), f"{pod.name}: {answer[:200]}"


def test_etcd_answers_nobody_without_a_certificate_of_its_own_authority(
    machines: dict[str, Machine], platform: Platform
) -> None:
    controls = platform.hosts_with_role("control")
    assert controls
    for host in controls:
        attempts = [Attempt(str(host.address), port, tls="1.3", request=_asks("/version")) for port in ETCD_PORTS]
        outcomes = machines[host.name].attempt(attempts)
        assert [outcome for outcome in outcomes if not outcome.startswith("rejected")] == [], host.name
