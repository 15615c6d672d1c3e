"""What runs GPUs is what the stack file says; simulated ones say so, and nothing of them counts as tried."""

import sys
from functools import cache

import kubernetes
import pytest
from host.conftest import PLATFORM
from host.probing import Machine

from llmaas.paths import PROJECT_ROOT
from llmaas.settings import Gpus, Host, Platform
from llmaas.settings.gpu_sets import device, runtime_set
from llmaas.verify import DECLARED

sys.path.append(str(PROJECT_ROOT / "ansible" / "collections"))
from ansible_collections.llmaas.host.plugins.module_utils.gpu_facts import QUERY
from ansible_collections.llmaas.host.plugins.module_utils.gpu_judgement import reported

# Written out here on purpose: a wrong setting must not weaken its own check.
COLUMNS = {"persistence_mode": "Enabled", "ecc.mode.current": "Enabled"}
MEMORY_TOLERANCE = 0.01


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that asks for ``gpu_host`` is run for every host that has GPUs, real or simulated."""
    if "gpu_host" in metafunc.fixturenames:
        hosts = [host for host in PLATFORM.hosts if host.gpus is not None]
        metafunc.parametrize("gpu_host", hosts, ids=lambda host: host.name)


@pytest.fixture
def gpus(gpu_host: Host) -> Gpus:
    assert gpu_host.gpus is not None
    return gpu_host.gpus


@pytest.fixture
def real(gpus: Gpus) -> Gpus:
    """GPUs that can be asked."""
    if gpus.kind == "simulated":
        pytest.skip(f"{DECLARED}simulated GPUs: there is no device, no driver and no nvidia-smi to ask")
    return gpus


@pytest.fixture
def gpu_machine(machines: dict[str, Machine], gpu_host: Host) -> Machine:
    return machines[gpu_host.name]


@cache
def cards(machine: Machine) -> list[dict[str, str]]:
    return reported(machine.output("nvidia-smi", f"--query-gpu={QUERY}", "--format=csv"))


def test_the_node_says_whether_its_gpus_are_real(
    cluster: kubernetes.client.CoreV1Api, gpu_host: Host, gpus: Gpus
) -> None:
    labels = cluster.read_node(gpu_host.name).metadata.labels
    assert (labels.get("llmaas.io/gpu-kind"), labels.get("llmaas.io/gpu-model")) == (gpus.kind, gpus.model)


def test_simulated_gpus_hide_no_real_ones(gpu_machine: Machine, gpus: Gpus) -> None:
    if gpus.kind != "simulated":
        pytest.skip(f"{DECLARED}real GPUs")
    # the bus of a container is that of the machine below it, whose devices are not the container's
    assert gpu_machine.output("sh", "-c", "ls /dev/nvidia* 2>/dev/null || true") == ""


@pytest.mark.usefixtures("real")
def test_the_driver_is_that_of_the_set(gpu_machine: Machine, platform: Platform) -> None:
    chosen = runtime_set(platform)
    assert chosen is not None
    assert {row["driver_version"] for row in cards(gpu_machine)} == {chosen.driver}
    assert "Dual MIT/GPL" in gpu_machine.output("modinfo", "--field", "license", "nvidia"), "not the open modules"


def test_the_gpus_are_the_declared_ones(gpu_machine: Machine, real: Gpus, platform: Platform) -> None:
    expected = device(platform, real.model)
    assert len(cards(gpu_machine)) == real.cards
    assert {row["name"] for row in cards(gpu_machine)} <= set(expected.names)
    for row in cards(gpu_machine):
        memory = int(row["memory.total"].split()[0])
        assert abs(memory - expected.memory_mib) <= expected.memory_mib * MEMORY_TOLERANCE


def test_gpus_stay_initialised_and_check_their_memory(gpu_machine: Machine, real: Gpus) -> None:
    rows = cards(gpu_machine)
    assert [{name: row[name] for name in COLUMNS} for row in rows] == [COLUMNS] * real.cards


def test_gpus_are_divided_as_declared(gpu_machine: Machine, real: Gpus) -> None:
    assert {row["mig.mode.current"] == "Enabled" for row in cards(gpu_machine)} == {real.mig is not None}
    parts = gpu_machine.output("nvidia-smi", "-L").count("  MIG ")
    assert parts == (real.count if real.mig else 0)


def test_gpus_behind_switches_are_joined(gpu_machine: Machine, real: Gpus) -> None:
    if not real.nvswitch:
        pytest.skip(f"{DECLARED}no NVSwitches")
    assert gpu_machine.output("systemctl", "is-active", "nvidia-fabricmanager.service") == "active"


def test_packages_are_those_of_the_set(gpu_machine: Machine, real: Gpus, platform: Platform) -> None:
    chosen = runtime_set(platform)
    assert chosen is not None
    expected = chosen.packages.driver | chosen.packages.toolkit
    expected |= chosen.packages.fabric_manager if real.nvswitch else {}
    shown = gpu_machine.output("dpkg-query", "--show", "--showformat=${Package}=${Version}\n", *expected)
    assert dict(line.split("=", 1) for line in shown.splitlines()) == expected
