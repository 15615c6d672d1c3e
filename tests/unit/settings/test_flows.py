import copy
from typing import Any

import pytest
from unit.settings.mistakes import problems

from llmaas.settings import build_platform
from llmaas.settings.flows import HOST_ZONES, RESERVED_PORTS, SITE_ZONES
from llmaas.settings.source import sections_of_file
from llmaas.views import zones as z
from llmaas.views.flows import WIDE_RULES, flow_matrix
from llmaas.views.host_rules import host_rules

LOGS = {
    "name": "logs",
    "source": "hosts",
    "destination": "site",
    "port": 6514,
    "encryption": "TLS 1.3, mutual",
    "reason": "logs leave the host at once",
}


def sections(**flow: Any) -> dict[str, Any]:
    return {**copy.deepcopy(sections_of_file("lab")[1]), "flows": [{**LOGS, **flow}]}


def test_a_declared_flow_stands_in_the_matrix_and_in_the_rules_of_its_hosts() -> None:
    platform, before = build_platform("stack", sections()), build_platform("stack", sections_of_file("lab")[1])
    assert [flow for flow in flow_matrix(platform) if flow.name == "declared-logs"]
    for host in platform.hosts:
        new, old = host_rules(platform, host), host_rules(before, host)
        assert (new.input, new.forward) == (old.input, old.forward)
        (rule,) = set(new.output) - set(old.output)
        assert (rule.destinations, rule.protocol, rule.ports) == (("10.77.0.1",), "tcp", (6514,))


@pytest.mark.parametrize(
    ("flow", "problem"),
    [
        ({"destination": "sight"}, "destination: 'sight' is no zone of hosts or of the site; did you mean site?"),
        ({"source": "host"}, "source: 'host' is no zone of hosts or of the site; did you mean hosts?"),
        ({"destination": "outside"}, "destination: 'outside' is no zone of hosts or of the site; "),
        ({"source": "anywhere"}, "source: 'anywhere' is no zone of hosts or of the site; "),
        ({"destination": "vllm"}, "destination: 'vllm' is no zone of hosts or of the site; "),
        ({"source": "bastions"}, " has no host at either end, so no rule of ours; give one of hosts, control,"),
        ({"source": "site", "destination": "gpu", "port": 22}, "port: 22 on hosts is the platform's own;"),
        ({"destination": "hosts", "port": 30001}, "port: 30001 on hosts is the platform's own;"),
        ({"port": 0}, "port: 0 is too small; give a TCP port, 1 to 65535"),
        ({"port": 70000}, "port: 70000 is too large; give a TCP port, 1 to 65535"),
        ({"encryption": "none"}, "encryption: 'none' is not one of the allowed values; give \"TLS 1.3, mutual\","),
        ({"reason": "because"}, "reason: 'because' is not of the right form; give why it is needed, one line of 10 to"),
        ({"name": "Logs!"}, "name: 'Logs!' is not of the right form; give a name of its own"),
    ],
    ids=str,
)
def test_a_flow_that_must_not_be_is_named_with_its_path(flow: dict[str, Any], problem: str) -> None:
    (found,) = problems(sections(**flow))
    head = "llmaas:flows[0]:" if problem.startswith(" ") else "llmaas:flows[0]."
    assert found.startswith(f"{head}{problem}"), found


def test_two_flows_of_one_name_are_a_mistake() -> None:
    raw = sections()
    raw["flows"].append({**LOGS, "port": 6515})
    assert problems(raw) == ["llmaas:flows[1].name: 'logs' is already the name of llmaas:flows[0]; give each its own"]


def test_the_zones_of_the_stack_file_are_those_of_hosts_and_site() -> None:
    assert set(HOST_ZONES) == {zone.name for zone in z.ZONES if zone.kind == "hosts"}
    # Key servers, balancers of the Kubernetes API and the receiver of alerts do what they are for and nothing else.
    others = {z.KEY_SERVERS, z.API_BALANCERS, z.ALERT_RECEIVER}
    assert {*SITE_ZONES, *others} == {zone.name for zone in z.ZONES if zone.kind == "site"}


def test_every_port_of_the_platform_on_hosts_is_reserved() -> None:
    matrix = flow_matrix(build_platform("stack", sections_of_file("lab")[1]))
    taken = {port for flow in matrix for port in flow.ports if z.zone(flow.destination).kind == "hosts"}
    taken |= {port for rule in WIDE_RULES for port in rule.ports if z.zone(rule.destination).kind == "hosts"}
    assert taken == RESERVED_PORTS
