import pytest

from lab.standins.network_policy_agent.ruleset import ruleset
from lab.standins.network_policy_agent.world import Node, Pod, Policy, World, node_from_api, pod_from_api


def _world(spec: dict[str, object], *addresses: str) -> World:
    pod = Pod("web", "server", "here", {}, addresses or ("10.244.1.12",))
    return World(pods={"web/server": pod}, namespaces={"web": {}}, policies={"web/p": Policy("web", "p", spec)})


def test_sctp_ports_are_rules_of_sctp() -> None:
    spec = {"podSelector": {}, "ingress": [{"ports": [{"protocol": "SCTP", "port": 9999}, {"protocol": "SCTP"}]}]}
    text = ruleset(_world(spec), "here").text
    assert "sctp dport 9999 return" in text
    assert "meta l4proto sctp return" in text


def test_a_pod_with_two_families_is_isolated_in_both() -> None:
    spec = {"podSelector": {}, "ingress": [{"from": [{"ipBlock": {"cidr": "fd00::/8"}}]}]}
    text = ruleset(_world(spec, "10.244.1.12", "fd00::12"), "here").text
    assert "elements = { 10.244.1.12 : goto ingress_10_244_1_12 }" in text
    assert "elements = { fd00::12 : goto ingress_fd00__12 }" in text
    assert text.count("ip6 saddr { fd00::/8 } return") == 1


def test_an_unknown_protocol_allows_nothing() -> None:
    spec = {"podSelector": {}, "ingress": [{"ports": [{"protocol": "QUIC", "port": 443}]}]}
    assert "443" not in ruleset(_world(spec), "here").text


def test_the_same_world_gives_the_same_text() -> None:
    peers = [{"podSelector": {}}, {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16", "10.2.0.0/16"]}}]
    spec = {"podSelector": {}, "ingress": [{"from": peers, "ports": [{"port": 2}, {"port": 1}]}]}
    assert len({ruleset(_world(spec), "here").text for _ in range(5)}) == 1


def test_pods_of_other_nodes_have_no_chains_here() -> None:
    found = ruleset(_world({"podSelector": {}}), "there")
    assert (found.pods, found.rules) == (0, 0)


@pytest.mark.parametrize(
    ("spec", "status"),
    [
        ({"hostNetwork": True}, {"podIP": "10.77.0.21", "phase": "Running"}),
        ({}, {"podIP": "10.244.1.5", "phase": "Succeeded"}),
        ({}, {"podIP": "10.244.1.5", "phase": "Failed"}),
        ({}, {"phase": "Pending"}),
    ],
)
def test_what_has_no_address_of_its_own_is_no_pod_for_policies(spec: dict, status: dict) -> None:
    assert pod_from_api({"metadata": {"namespace": "web", "name": "x"}, "spec": spec, "status": status}) is None


def test_ports_of_sidecars_have_names_too() -> None:
    containers = {"initContainers": [{"restartPolicy": "Always", "ports": [{"name": "tls", "containerPort": 8443}]}]}
    body = {"metadata": {"namespace": "web", "name": "x"}, "spec": containers, "status": {"podIP": "10.244.1.5"}}
    pod = pod_from_api(body)
    assert pod is not None
    assert [(port.name, port.protocol, port.number) for port in pod.ports] == [("tls", "TCP", 8443)]


def test_a_node_without_a_pod_network_has_no_route() -> None:
    addresses = [{"type": "Hostname", "address": "n"}, {"type": "InternalIP", "address": "10.77.0.22"}]
    body = {"metadata": {"name": "n"}, "spec": {}, "status": {"addresses": addresses}}
    assert node_from_api(body) is None
    body["spec"] = {"podCIDR": "10.244.2.0/24"}
    assert node_from_api(body) == Node("n", "10.77.0.22", ("10.244.2.0/24",))
