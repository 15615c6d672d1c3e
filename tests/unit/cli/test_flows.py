import json

import pytest
from typer.testing import CliRunner

from llmaas.cli.flows import app
from llmaas.settings import load_platform
from llmaas.views import zones
from llmaas.views.flows import WIDE_RULES, flow_matrix

RUNNER = CliRunner()


def told(*arguments: str) -> str:
    result = RUNNER.invoke(app, arguments)
    assert result.exit_code == 0, result.output
    return result.output


def named(*arguments: str) -> list[str]:
    return [flow["name"] for flow in json.loads(told(*arguments, "--json"))["flows"]]


@pytest.mark.parametrize("environment", ["lab", "production"])
def test_every_flow_is_printed_in_every_form(environment: str) -> None:
    flows = flow_matrix(load_platform(environment))
    assert named("-e", environment) == [flow.name for flow in flows]
    for output in (told("-e", environment), told("-e", environment, "--markdown")):
        for flow in flows:
            (line,) = [line for line in output.splitlines() if f" {flow.name} " in line and flow.reason in line]
            assert all(text in line for text in (flow.source, flow.destination, flow.encryption, *map(str, flow.ports)))


def test_what_lies_beyond_the_flows_is_printed_too() -> None:
    beyond = [(rule.name, entry.source, entry.destination) for rule in WIDE_RULES for entry in rule.beyond]
    printed = json.loads(told("--json"))["beyond"]
    assert [(entry["rule"], entry["source"], entry["destination"]) for entry in printed] == beyond
    for output in (told(), told("--markdown")):
        assert all(entry.reason in output for rule in WIDE_RULES for entry in rule.beyond)


def test_zones_are_printed_with_their_addresses() -> None:
    printed = {zone["name"]: zone["addresses"] for zone in json.loads(told("--json"))["zones"]}
    assert list(printed) == [zone.name for zone in zones.ZONES]
    assert printed["bastions"] == ["10.77.0.1"]
    assert len(printed["hosts"]) == 13


def test_a_filter_keeps_what_overlaps_its_zone() -> None:
    assert named("--from", "prometheus", "--to", "pods") == [
        "prometheus-to-edge",
        "prometheus-to-litellm",
        "prometheus-to-vllm",
        "prometheus-to-name-service",
    ]
    assert named("--from", "bastions", "--to", "gpu") == ["administration", "reachability-from-bastions"]
    assert named("--from", "anywhere", "--to", "edge") == ["public-api", "administration-api"]
    assert named("--to", "outside") == []


@pytest.mark.parametrize("option", ["--from", "--to"])
def test_an_unknown_zone_is_refused_with_those_that_are_known(option: str) -> None:
    result = RUNNER.invoke(app, [option, "moon"])
    assert result.exit_code == 2
    assert f"{option}: no zone 'moon'; zones are: anywhere, " in result.output
    assert all(zone.name in result.output for zone in zones.ZONES)


def test_an_unknown_environment_is_told() -> None:
    result = RUNNER.invoke(app, ["-e", "moon"])
    assert result.exit_code == 1
    assert "stacks/Pulumi.moon.yaml: no such file" in result.output


def test_two_forms_at_once_are_refused() -> None:
    assert RUNNER.invoke(app, ["--json", "--markdown"]).exit_code == 2
