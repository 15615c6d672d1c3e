"""Flows that can be tried pass, and between zones nothing else does; what to try is made from the flow matrix."""

import contextlib
import os
import socket
from collections.abc import Iterator

import kubernetes
import pytest
from host.crossings import Crossing, Map, figures, flows_left_out, flows_to_try, pairs_to_try, record, try_all
from host.pods import name_service_pods, running_pods
from host.probing import Machine

from llmaas.paths import ENVIRONMENT_VARIABLE
from llmaas.settings import Platform, load_platform
from llmaas.verify.recorder import note

PLATFORM = load_platform(os.environ.get(ENVIRONMENT_VARIABLE) or "lab")
NEEDED_PARTS = {"edge", "litellm", "vllm", "postgres", "redis", "prometheus", "name-service"}


@pytest.fixture(scope="module")
def undeclared_listener(platform: Platform) -> Iterator[tuple[str, int]]:
    """Where this machine, under its address as a bastion, answers and no flow says so."""
    for address in platform.site.bastions:
        with contextlib.suppress(OSError), socket.create_server((str(address), 0)) as server:
            yield server.getsockname()
            return
    pytest.fail(f"this machine is no bastion: none of {[*map(str, platform.site.bastions)]} is its own")


@pytest.fixture(scope="module")
def tried(
    platform: Platform,
    machines: dict[str, Machine],
    cluster: kubernetes.client.CoreV1Api,
    undeclared_listener: tuple[str, int],
) -> list[Crossing]:
    """Every connection, tried from all hosts and pods at once."""
    pods = [*running_pods(cluster), *name_service_pods(cluster)]
    assert NEEDED_PARTS - {pod.part for pod in pods} == set()
    found = try_all(Map(platform, pods, undeclared_listener).crossings(), machines)
    note(figures(record(platform, found), flows_left_out(platform)))
    return found


@pytest.mark.parametrize("name", flows_to_try(PLATFORM))
def test_an_allowed_flow_passes(tried: list[Crossing], name: str) -> None:
    crossings = [crossing for crossing in tried if any(flow.name == name for flow in crossing.flows)]
    assert crossings, "nothing was tried"
    (flow,) = {flow for crossing in crossings for flow in crossing.flows if flow.name == name}
    targets = {(each.attempt.protocol, each.attempt.port) for each in crossings}
    assert targets >= {(protocol, port) for protocol in flow.protocols for port in flow.ports}
    assert [str(crossing) for crossing in crossings if not crossing.is_as_expected] == []


@pytest.mark.parametrize("pair", pairs_to_try(PLATFORM), ids="-to-".join)
def test_nothing_passes_that_no_flow_names(tried: list[Crossing], pair: tuple[str, str]) -> None:
    source, destination = pair
    crossings = [
        crossing
        for crossing in tried
        if crossing.verdict == "forbidden"
        and source in crossing.source.zones
        and destination in crossing.destination.zones
    ]
    assert crossings, "nothing was tried"
    assert [str(crossing) for crossing in crossings if not crossing.is_as_expected] == []
