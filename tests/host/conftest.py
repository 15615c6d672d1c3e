"""Needs: a live environment (``LLMAAS_ENVIRONMENT``, else the lab), this machine being one of its bastions."""

import os
from collections.abc import Iterator

import kubernetes
import pytest
from host.probing import Machine, reach

from llmaas.settings import Machine as Declared
from llmaas.settings import Platform, load_platform
from llmaas.verify.connection import kubeconfig

PLATFORM = load_platform(os.environ.get("LLMAAS_ENVIRONMENT") or "lab")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that asks for ``declared`` is run for every host of the stack file, a marked one for key servers too."""
    if "declared" in metafunc.fixturenames:
        marked = metafunc.definition.get_closest_marker("key_servers_too")
        machines = PLATFORM.machines if marked else PLATFORM.hosts
        metafunc.parametrize("declared", machines, ids=lambda machine: machine.name)


@pytest.fixture(scope="session")
def platform() -> Platform:
    return PLATFORM


@pytest.fixture(scope="session")
def machines(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Machine]:
    """Every host and key server by its name."""
    return reach(PLATFORM, tmp_path_factory.mktemp("ssh"))


@pytest.fixture
def machine(machines: dict[str, Machine], declared: Declared) -> Machine:
    return machines[declared.name]


@pytest.fixture(scope="session")
def control(machines: dict[str, Machine]) -> Machine:
    return machines[PLATFORM.hosts_with_role("control")[0].name]


@pytest.fixture(scope="session")
def cluster() -> Iterator[kubernetes.client.CoreV1Api]:
    path = kubeconfig(PLATFORM.environment)
    assert path.exists(), f"no kubeconfig at {path}; run: make up"
    with kubernetes.config.new_client_from_config(str(path)) as client:
        yield kubernetes.client.CoreV1Api(client)
