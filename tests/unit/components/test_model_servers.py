"""What every model server is given on its host, by the kind of its GPUs, and in which order servers are renewed."""

from typing import Any

import pytest

from llmaas.planning.host_memory import HostMemory, server_memory
from llmaas.preview.recorder import Declared
from llmaas.settings import Gpus, Platform, load_platform

REAL = Gpus(kind="nvidia", model="h100-80g", count=8, memory_gib=79)


def servers(declared: list[Declared]) -> dict[str, dict[str, Any]]:
    """The pods of model servers by the names of their Deployments."""
    return {
        each.inputs["metadata"]["name"]: each.pod
        for each in declared
        if each.kind == "Deployment" and each.namespace == "llmaas-serving"
    }


def shared_memory(pod: dict[str, Any]) -> dict[str, str]:
    (volume,) = (each for each in pod["volumes"] if each["name"] == "shared-memory")
    return dict(volume["emptyDir"])


def test_a_server_has_memory_of_its_host_by_its_gpus_and_all_of_it_is_set_aside(production: list[Declared]) -> None:
    found = set()
    for pod in servers(production).values():
        resources = pod["containers"][0]["resources"]
        found.add((
            resources["limits"]["nvidia.com/gpu"],
            resources["requests"]["memory"],
            resources["limits"]["memory"],
            shared_memory(pod)["sizeLimit"],
        ))  # fmt: skip
        assert shared_memory(pod)["medium"] == "Memory"
    # 16 GiB and 8 for each GPU
    assert found == {("1", "24576Mi", "24576Mi", "1024Mi"), ("4", "49152Mi", "49152Mi", "4096Mi")}


def test_a_lab_s_servers_fit_a_small_machine(declared: list[Declared]) -> None:
    pods = servers(declared)
    assert len(pods) == 4
    for pod in pods.values():
        resources = pod["containers"][0]["resources"]
        assert (resources["requests"]["memory"], resources["limits"]["memory"]) == ("1024Mi", "5120Mi")
        assert shared_memory(pod)["sizeLimit"] == "1024Mi"


@pytest.mark.parametrize("kind", ["nvidia", "simulated"])
def test_the_stack_file_s_memory_goes_before_what_is_worked_out(platform: Platform, kind: str) -> None:
    gpus = REAL.model_copy(update={"kind": kind})
    model = platform.model("granite3.3:8b").model_copy(update={"memory_gib": 96})
    assert server_memory(model, gpus) == HostMemory(96 * 1024, 96 * 1024, 1024)


def test_shared_memory_leaves_room_for_the_server_itself() -> None:
    for model in load_platform("production").models:
        memory = server_memory(model, REAL)
        assert memory.limit_mib - memory.shared_mib >= 16 * 1024
