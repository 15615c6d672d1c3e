"""Policies as the engine of the lab understands them, against the matrix; those of the name service word by word."""

from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest

from lab.standins.network_policy_agent.resolution import allows
from lab.standins.network_policy_agent.world import Pod, Policy, World
from llmaas.settings import Platform, load_platform
from llmaas.views import zones as z
from llmaas.views.expectations import Expectations
from llmaas.views.flow_terms import Protocol
from llmaas.views.flows import flow_matrix
from llmaas.views.network_policies import name_service_policy, network_policies

NOBODY = "192.0.2.1"
STRANGE_PORTS = (80, 9153, 30000)
# An end of a connection as the engine knows it, and the zones that it lies in.
End = tuple[Pod | str, tuple[str, ...]]


@pytest.fixture(scope="module", params=["lab", "production"])
def platform(request: pytest.FixtureRequest) -> Platform:
    return load_platform(request.param)


def asking(namespace: str, part: str) -> dict[str, Any]:
    """The rule that lets a part ask for names."""
    peer = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        "podSelector": {"matchLabels": {"app.kubernetes.io/name": part}},
    }
    return {"from": [peer], "ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]}


def test_the_name_service_answers_those_who_may_ask_and_asks_the_kubernetes_api_alone() -> None:
    policy = name_service_policy(load_platform("lab"))
    assert (policy.namespace, policy.name) == ("kube-system", "name-service")
    assert policy.spec == {
        "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [
            asking("llmaas-edge", "edge"),
            asking("llmaas-gateway", "litellm"),
            asking("llmaas-gateway", "litellm-migration"),
            asking("llmaas-monitoring", "prometheus"),
        ],
        "egress": [
            {"to": [{"ipBlock": {"cidr": "10.77.0.10/32"}}], "ports": [{"protocol": "TCP", "port": 6443}]},
        ],
    }


def test_the_name_service_finds_the_kubernetes_api_on_every_control_host() -> None:
    (rule,) = name_service_policy(load_platform("production")).spec["egress"]
    assert {peer["ipBlock"]["cidr"] for peer in rule["to"]} == {f"10.20.0.{last}/32" for last in (10, 11, 12, 13)}


def test_the_platform_s_own_policies_stand_in_its_own_namespaces(platform: Platform) -> None:
    namespaces = {policy.namespace for policy in network_policies(platform)}
    assert namespaces == {part.namespace for part in z.parts(platform)} - {"kube-system"}


def world(platform: Platform, *strangers: Pod) -> World:
    """Two pods of every part, and all policies."""
    network = platform.network.pods.network_address
    parts = [part for part in z.parts(platform) for _ in range(2)]
    pods = [
        Pod(part.namespace, f"{part.name}-{number}", "node", part.labels, (str(network + 256 + number),))
        for number, part in enumerate(parts)
    ]
    policies = [*network_policies(platform), name_service_policy(platform)]
    return World(
        pods={pod.title: pod for pod in (*pods, *strangers)},
        namespaces={part.namespace: {"kubernetes.io/metadata.name": part.namespace} for part in parts},
        policies={f"{each.namespace}/{each.name}": Policy(each.namespace, each.name, each.spec) for each in policies},
    )


def connections(platform: Platform, there: World) -> Iterator[tuple[End, End]]:
    """From every pod to every other, to hosts and to the outside; from these to every pod that is not for anybody."""
    inside: list[End] = [(pod, (pod.name.rpartition("-")[0], z.PODS)) for pod in there.pods.values()]
    kinds = {z.zones_of_host(host): str(host.address) for host in platform.hosts}
    others: list[End] = [(address, zones) for zones, address in kinds.items()]
    others.append((NOBODY, (z.OUTSIDE,)))
    yield from (pair for pair in product(inside, [*inside, *others]) if pair[0] != pair[1])
    yield from ((other, pod) for other, pod in product(others, inside) if "edge" not in pod[1])


def test_the_lab_s_engine_lets_through_what_the_matrix_says(platform: Platform) -> None:
    there, expectations = world(platform), Expectations(platform)
    tcp = {port for flow in flow_matrix(platform) for port in flow.ports if "tcp" in flow.protocols}
    targets: list[tuple[Protocol, int]] = [*(("tcp", port) for port in {*tcp, *STRANGE_PORTS}), ("udp", 53)]
    wrong, seen = [], set()
    for ((source, sources), (destination, destinations)), target in product(connections(platform, there), targets):
        wanted = expectations.verdict(sources, destinations, target) == "allowed"
        seen.add(wanted)
        if allows(there, source, destination, target[0].upper(), target[1]) is not wanted:
            wrong.append(f"{sources} to {destinations} {target}, allowed by the matrix: {wanted}")
    assert wrong == []
    assert seen == {True, False}


def test_a_pod_beside_the_name_service_is_left_alone_and_may_not_ask_it(platform: Platform) -> None:
    stranger = Pod("kube-system", "stranger", "node", {"k8s-app": "stranger"}, ("10.244.9.9",))
    there = world(platform, stranger)
    one, other = (there.pods[title] for title in sorted(there.pods) if title.startswith("kube-system/name-service"))
    assert allows(there, stranger, NOBODY, "TCP", 443)
    assert allows(there, NOBODY, stranger, "TCP", 443)
    assert not allows(there, stranger, one, "UDP", 53)
    assert not allows(there, one, other, "UDP", 53)
    assert not allows(there, one, stranger, "TCP", 443)
