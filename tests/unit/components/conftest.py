"""The whole program of the lab, run once against Pulumi's mocks: what it would send to the cluster."""

import asyncio
from dataclasses import dataclass
from typing import Any

import pulumi
import pytest
from pulumi.runtime import MockCallArgs, MockResourceArgs, Mocks

from llmaas.materials import WORKLOAD_IMAGES, LeafFiles, Materials
from llmaas.settings import Platform, load_platform
from llmaas.views.leaves import leaf_requests
from llmaas.views.litellm import TokenPrices


@dataclass(frozen=True)
class Declared:
    """One resource as the program declared it."""

    kind: str
    name: str
    inputs: dict[str, Any]

    @property
    def namespace(self) -> str:
        return str(self.inputs["metadata"].get("namespace"))

    @property
    def pod(self) -> dict[str, Any]:
        return dict(self.inputs["spec"]["template"]["spec"])


class _Recorder(Mocks):
    def __init__(self) -> None:
        self.declared: list[Declared] = []

    def new_resource(self, args: MockResourceArgs) -> tuple[str | None, dict[Any, Any]]:
        self.declared.append(Declared(args.typ.rsplit(":", 1)[-1], args.name, _plain(args.inputs)))
        return f"{args.name}-id", dict(args.inputs)

    def call(self, args: MockCallArgs) -> dict[Any, Any]:  # noqa: ARG002 - the interface's signature
        return {}


_SECRET_MARK = "4dabf18193072939515e22adb298388d"


def _plain(value: Any) -> Any:
    """Without the wrapping of secrets, so that tests see what would be sent."""
    if isinstance(value, dict):
        if _SECRET_MARK in value:
            return _plain(value["value"])
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return value


def materials_of(platform: Platform) -> Materials:
    leaves = {
        request.name: LeafFiles(request, f"certificate of {request.name}\n", "key\n", "ca\n", "0123456789ab")
        for request in leaf_requests(platform)
    }
    return Materials(
        images={name: f"registry.test:5000/llmaas/{name}@sha256:{'0' * 64}" for name in WORKLOAD_IMAGES},
        leaves=leaves,
        postgres_superuser="superuser-password",
        postgres_litellm="litellm-password",
        redis="redis-password",
        litellm_master_key="sk-master",
        litellm_salt_key="sk-salt",
        kubeconfig="/nowhere/kubeconfig",
        version_key="version-key",
        prices={model.name: TokenPrices(1800, 8000, 8000) for model in platform.models},
    )


@pytest.fixture(scope="session")
def platform() -> Platform:
    return load_platform("lab")


@pytest.fixture(scope="session")
def declared(platform: Platform) -> list[Declared]:
    # Pulumi's mocks want a loop to be there; tests that ran asyncio before leave none.
    asyncio.set_event_loop(asyncio.new_event_loop())
    recorder = _Recorder()
    pulumi.runtime.set_mocks(recorder, project="llmaas", stack="lab")
    from llmaas.deployment import deploy  # noqa: PLC0415 - after the mocks are in place

    pulumi.runtime.test(lambda: deploy(platform, materials_of(platform)))()
    return recorder.declared


@pytest.fixture(scope="session")
def workloads(declared: list[Declared]) -> list[Declared]:
    found = [each for each in declared if each.kind in {"Deployment", "StatefulSet", "Job", "DaemonSet", "CronJob"}]
    assert len(found) >= 8
    return found
