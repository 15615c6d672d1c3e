from ipaddress import ip_network

import pytest

from llmaas.paths import PROJECT_ROOT
from llmaas.settings import Host, Platform, load_platform
from llmaas.views import zones as z
from llmaas.views.flow_document import markdown, select_beyond, select_flows
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


def test_an_address_that_outlives_a_host_is_published_on_every_service_host_and_on_no_other() -> None:
    production = load_platform("production")
    (address,) = map(str, production.gateway.public_addresses)
    for each in production.hosts:
        rules = host_rules(production, each)
        published = {rule.name for rule in rules.forward if rule.published and address in rule.destinations}
        assert published == ({"public-api", "administration-api"} if "service" in each.roles else set())
        assert not [rule.name for rule in rules.output if address in rule.destinations]


def test_only_control_hosts_accept_the_kubernetes_api_and_etcd(lab: Platform) -> None:
    for each in lab.hosts:
        ports = {port for rule in host_rules(lab, each).input for port in rule.ports}
        assert ({6443, 2379, 2380} <= ports) == ("control" in each.roles)
        assert "control" in each.roles or not ports & {6443, 2379, 2380}


def test_balancers_reach_the_api_of_control_hosts_and_nothing_else() -> None:
    production = load_platform("production")
    balancers = {str(address) for address in production.kubernetes.api_balancers}
    for each in production.hosts:
        rules = host_rules(production, each).input
        opened = {(rule.name, *rule.ports) for rule in rules if balancers & set(rule.sources)}
        assert opened == ({("api-from-balancers", 6443)} if "control" in each.roles else set())


def test_no_balancer_means_no_rule_for_one(lab: Platform) -> None:
    # A rule without sources would be open to everybody.
    assert not lab.kubernetes.api_balancers
    for each in lab.hosts:
        assert not named(host_rules(lab, each).input, "api-from-balancers")


@pytest.mark.parametrize("environment", ["lab", "production"])
def test_every_host_may_call_the_api_at_its_address(environment: str) -> None:
    platform = load_platform(environment)
    for each in platform.hosts:
        (rule,) = named(host_rules(platform, each).output, "api-from-hosts")
        assert str(platform.kubernetes.api_address) in rule.destinations
        assert (rule.protocol, rule.ports) == ("tcp", (6443,))


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


@pytest.mark.parametrize("environment", ["lab", "production"])
def test_the_matrix_is_stable_and_sorted(environment: str) -> None:
    flows = flow_matrix(load_platform(environment))
    assert flows == flow_matrix(load_platform(environment))
    places = [[zone.name for zone in z.ZONES].index(flow.source) for flow in flows]
    assert places == sorted(places)
    again = sorted(flows, key=lambda flow: (z.place(flow.source), z.place(flow.destination), flow.name))
    assert list(flows) == again


@pytest.mark.parametrize("environment", ["lab", "production"])
def test_no_flow_is_of_an_unknown_zone_or_to_the_outside(environment: str) -> None:
    for flow in flow_matrix(load_platform(environment)):
        for name in (flow.source, flow.destination, *([flow.answer.part] if flow.answer else [])):
            assert z.zone(name).name == name
        assert flow.destination not in {z.OUTSIDE, z.ANYWHERE, z.PODS}
        assert flow.source not in {z.OUTSIDE, z.PODS}


def test_only_what_carries_no_data_of_the_platform_is_not_encrypted(lab: Platform) -> None:
    plain = {(flow.destination, *flow.protocols, *flow.ports) for flow in flow_matrix(lab) if flow.encryption == "none"}
    probes = {("redis", "tcp", 6379), ("prometheus", "tcp", 9090), ("name-service", "tcp", 8080, 8181)}
    names, time = {("name-service", "udp", "tcp", 53)}, {("time-servers", "udp", 123)}
    assert plain == probes | names | time | {("hosts", "icmp"), ("site", "icmp")}


def test_parts_reach_each_other_only_by_these_flows(lab: Platform) -> None:
    parts = {part.name for part in z.PARTS} - {"name-service"}
    found = {
        (flow.source, flow.destination, *flow.ports, flow.encryption)
        for flow in flow_matrix(lab)
        if flow.source in parts and flow.destination in parts
    }
    assert found == {
        ("edge", "litellm", 8443, "TLS 1.3, mutual"),
        ("litellm", "vllm", 8443, "TLS 1.3, mutual"),
        ("litellm", "postgres", 5432, "TLS 1.3"),
        ("litellm-migration", "postgres", 5432, "TLS 1.3"),
        ("litellm", "redis", 6379, "TLS 1.3"),
        ("prometheus", "edge", 9443, "TLS 1.3, mutual"),
        ("prometheus", "litellm", 9443, "TLS 1.3, mutual"),
        ("prometheus", "vllm", 9443, "TLS 1.3, mutual"),
    }


def test_no_part_reaches_a_host_or_the_site_but_prometheus_where_logs_are_kept(lab: Platform) -> None:
    parts = {part.name for part in z.PARTS} - {"name-service"}
    found = {
        (flow.source, flow.destination, *flow.ports, flow.encryption)
        for flow in flow_matrix(lab)
        if flow.source in parts and z.zone(flow.destination).kind != "pods"
    }
    assert found == {("prometheus", "log", 9443, "TLS 1.3, mutual")}


def test_prometheus_alone_tells_the_site_and_only_where_a_receiver_is_named(lab: Platform) -> None:
    production = load_platform("production")
    (flow,) = select_flows(production, destination=z.ALERT_RECEIVER)
    assert (flow.source, flow.protocols, flow.ports, flow.encryption) == (
        "prometheus",
        ("tcp",),
        (9093,),
        "TLS 1.3, mutual",
    )
    for each in production.hosts:
        rules = host_rules(production, each)
        (rule,) = [rule for rule in rules.forward if "10.20.0.6" in rule.destinations]
        assert (rule.sources, rule.destinations, rule.ports) == (("10.244.0.0/16",), ("10.20.0.6",), (9093,))
        others = {end for rule in rules.input for end in rule.sources}
        others |= {end for rule in rules.output for end in rule.destinations}
        assert "10.20.0.6" not in others
    assert select_flows(lab, destination=z.ALERT_RECEIVER) == ()
    assert not any(named(host_rules(lab, each).forward, "alerts-from-pods") for each in lab.hosts)


def test_zones_within_a_zone_exist_and_every_part_is_a_zone() -> None:
    for zone in z.ZONES:
        assert all(z.overlap(zone.name, member) for member in zone.members)
    assert {part.name for part in (*z.PARTS, *z.GPU_PARTS)} == set(z.zone(z.PODS).members)


def test_key_servers_open_nothing_but_what_disks_md_says() -> None:
    production = load_platform("production")
    to = {(flow.destination, *flow.protocols, *flow.ports) for flow in select_flows(production, source=z.KEY_SERVERS)}
    assert to == {("site", "tcp", 8443), ("time-servers", "udp", 123), ("log", "tcp", 6514)}
    for server in production.key_servers:
        assert {rule.name for rule in host_rules(production, server).output} == {
            "packages-of-key-servers",
            "time-of-key-servers",
            "logs-of-key-servers",
        }


def test_an_unknown_zone_is_named_with_those_that_are_known() -> None:
    with pytest.raises(ValueError, match="no zone 'nowhere'; zones are: anywhere, outside, bastions"):
        z.zone("nowhere")


def test_the_document_of_production_is_up_to_date() -> None:
    production = load_platform("production")
    wanted = markdown(production, select_flows(production), select_beyond())
    written = (PROJECT_ROOT / "docs" / "flows.md").read_text(encoding="utf-8")
    assert written == wanted, "run: bin/llmaas flows -e production --markdown > docs/flows.md"


def test_the_inventory_has_every_host_in_the_groups_of_its_roles(lab: Platform) -> None:
    view = inventory(lab)
    for each in lab.hosts:
        groups = {group for group, names in view["groups"].items() if each.name in names}
        assert groups - {"weights"} == {"machines", "nodes", *each.roles}
        assert view["hosts"][each.name]["ansible_host"] == str(each.address)


def test_only_hosts_of_a_model_get_its_weights(lab: Platform) -> None:
    view = inventory(lab)
    for each in lab.hosts:
        wanted = {model.artefact for model in lab.models if each.name in model.placement}
        assert {entry["name"] for entry in view["hosts"][each.name]["model_weights_artefacts"]} == wanted


def test_the_inventory_pins_host_keys(lab: Platform) -> None:
    assert "StrictHostKeyChecking=yes" in inventory(lab)["all"]["ansible_ssh_common_args"]
