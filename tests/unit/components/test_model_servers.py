"""What every model server is given on its host, by the kind of its GPUs, and in which order servers are renewed."""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pulumi
import pytest
from pulumi.runtime import MockCallArgs, MockResourceArgs, Mocks

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


def test_a_lab_s_slowfit_a_small_machine(declared: list[Declared]) -> None:
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


def written_to(pod: dict[str, Any]) -> dict[str, str]:
    """The folders that the server may write, with the size of each."""
    sizes = {each["name"]: each["emptyDir"]["sizeLimit"] for each in pod["volumes"] if "emptyDir" in each}
    mounts = pod["containers"][0]["volumeMounts"]
    return {each["mountPath"]: sizes[each["name"]] for each in mounts if not each.get("readOnly")}


def test_what_is_compiled_for_a_gpu_has_a_folder_that_the_server_may_write(production: list[Declared]) -> None:
    for pod in servers(production).values():
        variables = {each["name"]: each["value"] for each in pod["containers"][0]["env"]}
        folders = written_to(pod)
        assert folders["/cache"] == "8192Mi"
        caches = {"VLLM_CACHE_ROOT", "TRITON_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR", "FLASHINFER_WORKSPACE_BASE"}
        for name in caches | {"CUDA_CACHE_PATH"}:
            assert variables[name].startswith("/cache/"), name
        # the rest of what programs keep goes below the home
        assert variables["HOME"] in folders


def test_a_lab_s_server_keeps_the_cache_of_its_image(declared: list[Declared]) -> None:
    for pod in servers(declared).values():
        names = {each["name"] for each in pod["containers"][0]["env"]}
        assert not names & {"HOME", "VLLM_CACHE_ROOT"}
        assert "/cache" not in written_to(pod)


class _SlowServers(Mocks):
    """Lets every model server take a moment to become ready, and counts how many of a model are renewed at once."""

    def __init__(self) -> None:
        self.under_way: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.most_of_all = 0
        self.lock = threading.Lock()

    def new_resource(self, args: MockResourceArgs) -> tuple[str | None, dict[Any, Any]]:
        labels = args.inputs["spec"]["template"]["metadata"]["labels"] if args.typ.endswith(":Deployment") else {}
        if (model := labels.get("llmaas.io/model")) is not None:
            with self.lock:
                self.under_way[model] += 1
                self.most[model] = max(self.most[model], self.under_way[model])
                self.most_of_all = max(self.most_of_all, self.under_way.total())
            time.sleep(0.1)
            with self.lock:
                self.under_way[model] -= 1
        return f"{args.name}-id", dict(args.inputs)

    def call(self, _: MockCallArgs) -> tuple[dict[Any, Any], None]:
        return {}, None


def test_an_update_renews_one_server_of_a_model_at_a_time_and_models_beside_each_other(
    production_program: Callable[[], None],
) -> None:
    asyncio.set_event_loop(asyncio.new_event_loop())
    slow = _SlowServers()
    pulumi.runtime.set_mocks(slow, project="llmaas", stack="production")
    pulumi.runtime.test(production_program)()  # type: ignore[no-untyped-call]
    assert slow.most == {"granite3-3-8b": 1, "llama3-2-3b": 1, "llama3-1-70b": 1}
    assert slow.most_of_all > 1
