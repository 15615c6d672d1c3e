"""Needs root, the lab's toolchain (etcd, kube-apiserver), nftables and iproute2."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from standins.network_policy import truth_table
from standins.network_policy.control_plane import AGENT_USER, ControlPlane
from standins.network_policy.topology import Topology, run, topology

from lab.standins import network_policy_agent

host = pytest.fixture(scope="module")(topology)

POLICIES = "/apis/networking.k8s.io/v1/namespaces/web/networkpolicies"
WAIT_SECONDS = 15.0
MEMORY_LIMIT_KIB = 30 * 1024


class Agent:
    """The agent as systemd would run it: Python of the host, nothing of the project on its path."""

    def __init__(self, router: str, kubeconfig: Path, log: Path) -> None:
        self._command = ["ip", "netns", "exec", router, "/usr/bin/python3", "-m", "network_policy_agent"]
        self._command += ["--kubeconfig", str(kubeconfig), "--node", truth_table.HERE]
        self._log = log
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        folder = Path(network_policy_agent.__file__).parent.parent
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PYTHONPATH": str(folder), "PYTHONUNBUFFERED": "1"}
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(self._command, stdout=log, stderr=log, env=environment)

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)
        if number in {signal.SIGKILL, signal.SIGTERM}:
            self.process.wait()

    def log(self) -> str:
        return self._log.read_text()


@pytest.fixture(scope="module")
def cluster(host: Topology, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    made = ControlPlane(tmp_path_factory.mktemp("control-plane"), host.router)
    try:
        made.start()
        _populate(made)
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="module")
def agent(host: Topology, cluster: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    made = Agent(host.router, cluster.agent_kubeconfig(), tmp_path_factory.mktemp("agent") / "log")
    made.start()
    try:
        eventually(lambda: "applied:" in made.log())
        yield made
    finally:
        made.signal(signal.SIGKILL)


@pytest.fixture(autouse=True)
def _no_policies_left(cluster: ControlPlane) -> Iterator[None]:
    yield
    cluster.call("DELETE", POLICIES)


def _populate(cluster: ControlPlane) -> None:
    for name, labels in truth_table.CONTENT["namespaces"].items():
        cluster.call("POST", "/api/v1/namespaces", {"metadata": {"name": name, "labels": labels}})
    for name, number in ((truth_table.HERE, 1), ("there", 2)):
        cluster.call("POST", "/api/v1/nodes", _node(name, f"10.244.{number}.0/24"))
        status = {"status": {"addresses": [{"type": "InternalIP", "address": f"169.254.77.{number}"}]}}
        cluster.call("PATCH", f"/api/v1/nodes/{name}/status", status)
    for title, entry in truth_table.CONTENT["pods"].items():
        namespace, _, name = title.partition("/")
        _add_pod(cluster, namespace, name, entry)


def _node(name: str, network: str) -> dict[str, object]:
    return {"metadata": {"name": name}, "spec": {"podCIDR": network, "podCIDRs": [network]}}


def _add_pod(cluster: ControlPlane, namespace: str, name: str, entry: dict) -> None:
    body = {
        "metadata": {"name": name, "labels": entry["labels"]},
        "spec": {
            "nodeName": entry.get("node", truth_table.HERE),
            "containers": [{"name": "c", "image": "registry.lab.llmaas.internal:5000/none@sha256:" + "0" * 64}],
        },
    }
    path = f"/api/v1/namespaces/{namespace}/pods"
    cluster.call("POST", path, body)
    status = {"phase": "Running", "podIP": entry["address"], "podIPs": [{"ip": entry["address"]}]}
    cluster.call("PATCH", f"{path}/{name}/status", {"status": status})


def _policy(name: str, spec: dict) -> dict[str, object]:
    return {"metadata": {"name": name}, "spec": spec}


def eventually(condition: Callable[[], bool]) -> None:
    """Wait until the condition holds; failing after 15 seconds."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "not within 15 seconds"
        time.sleep(0.1)


def _client_reaches_server(host: Topology) -> bool:
    return host.answers("web/client", "web/server", "TCP", 8080)


@pytest.mark.usefixtures("agent")
def test_policies_take_effect_and_stop_when_they_go(host: Topology, cluster: ControlPlane) -> None:
    eventually(lambda: _client_reaches_server(host))
    cluster.call("POST", POLICIES, _policy("deny", {"podSelector": {}, "policyTypes": ["Ingress"]}))
    eventually(lambda: not _client_reaches_server(host))
    peer = {"podSelector": {"matchLabels": {"app": "client"}}}
    cluster.call("POST", POLICIES, _policy("allow", {"podSelector": {}, "ingress": [{"from": [peer]}]}))
    eventually(lambda: _client_reaches_server(host))
    cluster.call("PATCH", "/api/v1/namespaces/web/pods/client", {"metadata": {"labels": {"app": "changed"}}})
    eventually(lambda: not _client_reaches_server(host))
    cluster.call("PATCH", "/api/v1/namespaces/web/pods/client", {"metadata": {"labels": {"app": "client"}}})
    eventually(lambda: _client_reaches_server(host))


def test_a_table_that_someone_flushed_comes_back(host: Topology, cluster: ControlPlane, agent: Agent) -> None:
    cluster.call("POST", POLICIES, _policy("deny", {"podSelector": {}, "policyTypes": ["Ingress"]}))
    eventually(lambda: not _client_reaches_server(host))
    run("ip", "netns", "exec", host.router, "nft", "flush", "ruleset")
    eventually(lambda: "someone else had changed the table" in agent.log())
    assert not _client_reaches_server(host)


def test_a_killed_agent_leaves_the_rules_and_takes_over_again(
    host: Topology, cluster: ControlPlane, agent: Agent
) -> None:
    cluster.call("POST", POLICIES, _policy("deny", {"podSelector": {}, "policyTypes": ["Ingress"]}))
    eventually(lambda: not _client_reaches_server(host))
    agent.signal(signal.SIGKILL)
    assert not _client_reaches_server(host)
    assert host.answers("web/client", "data/db", "TCP", 5432)
    cluster.call("DELETE", f"{POLICIES}/deny")
    agent.start()
    eventually(lambda: _client_reaches_server(host))


def test_a_restarted_api_server_that_forgot_our_version_is_listed_again(
    host: Topology, cluster: ControlPlane, agent: Agent
) -> None:
    agent.signal(signal.SIGSTOP)
    cluster.call("POST", POLICIES, _policy("deny", {"podSelector": {}, "policyTypes": ["Ingress"]}))
    cluster.call("POST", POLICIES, _policy("other", {"podSelector": {"matchLabels": {"app": "x"}}}))
    cluster.stop_server()
    cluster.compact()
    agent.signal(signal.SIGCONT)
    assert _client_reaches_server(host), "without the API server the last known rules must stay"
    cluster.start_server()
    eventually(lambda: not _client_reaches_server(host))


@pytest.mark.usefixtures("agent")
def test_routes_follow_the_nodes_and_nothing_else_is_touched(host: Topology, cluster: ControlPlane) -> None:
    run("ip", "-n", host.router, "route", "add", "10.200.0.0/24", "dev", "api0")
    eventually(lambda: _routes(host).get("10.244.2.0/24") == "169.254.77.2")
    run("ip", "-n", host.router, "route", "del", "10.244.2.0/24")
    eventually(lambda: "10.244.2.0/24" in _routes(host))
    cluster.call("DELETE", "/api/v1/nodes/there")
    eventually(lambda: "10.244.2.0/24" not in _routes(host))
    assert "10.200.0.0/24" in _routes(host)


def _routes(host: Topology) -> dict[str, str]:
    routes = json.loads(run("ip", "-n", host.router, "-j", "route", "show"))
    return {route["dst"]: route.get("gateway", "") for route in routes}


@pytest.mark.usefixtures("agent")
def test_the_agent_may_read_what_it_needs_and_write_nothing(cluster: ControlPlane) -> None:
    assert cluster.request("GET", "/api/v1/pods", user=AGENT_USER).status_code == 200
    assert cluster.request("GET", "/api/v1/secrets", user=AGENT_USER).status_code == 403
    denied = cluster.request("DELETE", "/api/v1/namespaces/web/pods/client", user=AGENT_USER)
    assert denied.status_code == 403


def test_an_idle_agent_is_small_and_asleep(agent: Agent) -> None:
    assert agent.process is not None
    status = Path(f"/proc/{agent.process.pid}/status").read_text()
    resident = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
    assert resident < MEMORY_LIMIT_KIB
    time.sleep(3)
    before = _cpu_ticks(agent.process.pid)
    time.sleep(5)
    assert _cpu_ticks(agent.process.pid) - before <= 0.01 * 5 * os.sysconf("SC_CLK_TCK")


def _cpu_ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    # own and finished children's time, user and system
    return sum(int(field) for field in fields[11:15])


def test_one_line_is_logged_for_each_change(agent: Agent) -> None:
    lines = [line for line in agent.log().splitlines() if "applied:" in line]
    assert lines
    assert len(lines) < 60
    assert "Traceback" not in agent.log()
