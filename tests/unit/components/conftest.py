"""The whole program of an environment, run once against Pulumi's mocks: what it would send to the cluster."""

from collections.abc import Callable

import pytest

from llmaas.materials import WORKLOAD_IMAGES
from llmaas.preview.placeholders import images_of, placeholder_materials
from llmaas.preview.recorder import Declared, record
from llmaas.settings import Platform, load_platform
from llmaas.views.litellm import TokenPrices

IMAGES = {name: f"registry.test:5000/llmaas/{name}@sha256:{'0' * 64}" for name in WORKLOAD_IMAGES}


@pytest.fixture(scope="session")
def platform() -> Platform:
    return load_platform("lab")


@pytest.fixture(scope="session")
def declared(platform: Platform) -> list[Declared]:
    return record(program_of(platform, IMAGES), "lab")


@pytest.fixture(scope="session")
def production(production_program: Callable[[], None]) -> list[Declared]:
    return record(production_program, "production")


def program_of(platform: Platform, images: dict[str, str]) -> Callable[[], None]:
    prices = {model.name: TokenPrices(1800, 8000, 8000) for model in platform.models}
    materials = placeholder_materials(platform, images, prices)

    def program() -> None:
        from llmaas.deployment import deploy  # noqa: PLC0415 - after the mocks are in place

        deploy(platform, materials)

    return program


@pytest.fixture(scope="session")
def workloads(declared: list[Declared]) -> list[Declared]:
    found = [each for each in declared if each.kind in {"Deployment", "StatefulSet", "Job", "DaemonSet", "CronJob"}]
    assert len(found) >= 8
    return found


@pytest.fixture(scope="session")
def production_program() -> Callable[[], None]:
    platform = load_platform("production")
    return program_of(platform, images_of(platform)[0])
