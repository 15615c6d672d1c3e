from ipaddress import ip_network

import pytest

from llmaas.settings import Host, Platform, load_platform
from llmaas.views.flows import flow_matrix
from llmaas.views.host_rules import Rule, host_rules
from llmaas.views.inventory import inventory


@pytest.fixture(scope="module")
def lab() -> Platform:
    return load_platform("lab")


def host(lab: Platform, name: str) -> Host:
    return lab.host(name)


def named(rules: tuple[Rule, ...], name: str) -> list[Rule]:
    return [rule for rule in rules if rule.name == name]


def test_ssh_comes_from_bastions_alone(lab: Platform) -> None:
    bastions = {str(address) for address in lab.site.bastions}
    for each in lab.hosts:
        rules = [rule for rule in host_rules(lab, each).input if 22 in rule.ports]
        assert rules
        assert all(set(rule.sources) <= bastions and rule.sources for rule in rules)


def test_nothing_but_the_public_api_is_open_to_everybody(lab: Platform) -> None:
    for each in lab.hosts:
        rules = host_rules(lab, each)
        assert all(rule.sources for rule in rules.input)
        assert {rule.name for rule in rules.forward if not rule.sources} <= {"public-api"}


def test_the_administration_api_is_open_to_bastions_alone(lab: Platform) -> None:
    bastions = tuple(str(address) for address in lab.site.bastions)
    for each in lab.hosts_with_role("service"):
        rule = named(host_rules(lab, each).forward, "administration-api")[0]
        assert rule.sources == bastions
        assert rule.ports == (8444,)


def test_only_service_hosts_publish(lab: Platform) -> None:
    for each in lab.hosts:
        published = [rule for rule in host_rules(lab, each).forward if rule.published]
        assert bool(published) == ("service" in each.roles)


def test_only_control_hosts_accept_the_kubernetes_api_and_etcd(lab: Platform) -> None:
    for each in lab.hosts:
        ports = {port for rule in host_rules(lab, each).input for port in rule.ports}
        assert ({6443, 2379, 2380} <= ports) == ("control" in each.roles)
        assert "control" in each.roles or not ports & {6443, 2379, 2380}


def test_kubelets_answer_control_hosts_alone(lab: Platform) -> None:
    control = {str(each.address) for each in lab.hosts_with_role("control")} | {str(lab.kubernetes.api_address)}
    for each in lab.hosts:
        for rule in host_rules(lab, each).input:
            if 10250 in rule.ports:
                assert set(rule.sources) <= control


def test_no_host_opens_a_connection_to_the_outside(lab: Platform) -> None:
    inside = [lab.network.hosts, lab.network.pods]
    site = {str(lab.site.address), *(str(address) for address in lab.site.time_servers)}
    for each in lab.hosts:
        for rule in host_rules(lab, each).output:
            assert rule.destinations
            for text in rule.destinations:
                network = ip_network(text)
                assert text in site or any(network.subnet_of(ip_network(str(range_))) for range_ in inside), rule.name


def test_every_flow_has_a_name_of_its_own_and_a_reason(lab: Platform) -> None:
    flows = flow_matrix(lab)
    assert len({flow.name for flow in flows}) == len(flows)
    assert all(flow.reason for flow in flows)


def test_the_inventory_has_every_host_in_the_groups_of_its_roles(lab: Platform) -> None:
    view = inventory(lab)
    for each in lab.hosts:
        groups = {group for group, names in view["groups"].items() if each.name in names}
        assert groups - {"weights"} == {"nodes", *each.roles}
        assert view["hosts"][each.name]["ansible_host"] == str(each.address)


def test_only_hosts_of_a_model_get_its_weights(lab: Platform) -> None:
    view = inventory(lab)
    for each in lab.hosts:
        wanted = {model.artefact for model in lab.models if each.name in model.placement}
        assert {entry["name"] for entry in view["hosts"][each.name]["model_weights_artefacts"]} == wanted


def test_the_inventory_pins_host_keys(lab: Platform) -> None:
    assert "StrictHostKeyChecking=yes" in inventory(lab)["all"]["ansible_ssh_common_args"]
