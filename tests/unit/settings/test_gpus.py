"""GPUs in the stack file and the set that runs them: what does not belong together is refused with its path."""

import copy
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from unit.settings.mistakes import problems

from llmaas import paths
from llmaas.settings import Gpus, Platform, SettingsError, build_platform, counted, load_platform
from llmaas.settings.gpu_sets import foreign_images, mixtures, runtime_set, upstream
from llmaas.settings.source import sections_of_file

GPUS = "llmaas:hosts[3].gpus"


@pytest.fixture
def sections() -> dict[str, Any]:
    return copy.deepcopy(sections_of_file("production")[1])


@pytest.fixture
def stacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the stack files that a test may spoil."""
    shutil.copytree(paths.PROJECT_ROOT / "stacks", tmp_path / "stacks")
    monkeypatch.setattr("llmaas.settings.gpu_sets.stack_file", lambda name: tmp_path / "stacks" / f"Pulumi.{name}.yaml")
    return tmp_path / "stacks"


def spoil(stacks: Path, *place: str, value: object) -> None:
    path = stacks / "gpu-runtime.yaml"
    content = yaml.safe_load(path.read_text())
    target = content["sets"]["2026-11"]
    for key in place[:-1]:
        target = target[key]
    target[place[-1]] = value
    path.write_text(yaml.safe_dump(content))


def refused(platform: Platform) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        runtime_set(platform)
    return [str(problem) for problem in caught.value.problems]


def test_real_gpus_need_a_set(sections: dict[str, Any]) -> None:
    del sections["gpu_runtime"]
    assert [text.split(": ")[0] for text in problems(sections)] == ["llmaas:gpu_runtime"]


def test_simulated_gpus_need_none() -> None:
    assert runtime_set(load_platform("lab")) is None


@pytest.mark.parametrize("change", [{"nvswitch": True}, {"mig": {"profile": "1g.10gb", "instances": 7}, "count": 56}])
def test_simulated_gpus_have_no_switches_and_no_parts(sections: dict[str, Any], change: dict[str, Any]) -> None:
    sections["hosts"][3]["gpus"] |= {"kind": "simulated", "nvswitch": False} | change
    assert [text.split(": ")[0] for text in problems(sections)] == [f"{GPUS}.{next(iter(change))}"]


def test_parts_of_gpus_are_counted_whole(sections: dict[str, Any]) -> None:
    sections["hosts"][3]["gpus"] |= {"mig": {"profile": "1g.10gb", "instances": 7}}
    (found,) = problems(sections)
    assert found.startswith(f"{GPUS}.count: 8 is no multiple of mig.instances (7)")


def test_no_replica_spans_parts_of_gpus(sections: dict[str, Any]) -> None:
    sections["hosts"][12]["gpus"] |= {"mig": {"profile": "1g.10gb", "instances": 7}, "count": 56}
    (found,) = problems(sections)
    assert found.startswith("llmaas:models[2].placement.gpu-host-10: its GPUs are divided")


def test_parts_are_made_of_the_gpus_on_the_bus() -> None:
    gpus = Gpus(kind="nvidia", model="h100-80g", count=56, memory_gib=9, mig={"profile": "1g.10gb", "instances": 7})
    assert gpus.cards == 8


def test_an_unknown_set_and_an_unknown_gpu_are_named_together(sections: dict[str, Any]) -> None:
    sections["gpu_runtime"]["set"] = "2020-01"
    sections["hosts"][3]["gpus"]["model"] = "h100-800g"
    found = refused(build_platform("stack", sections))
    assert [text.split(": ")[0] for text in found] == ["llmaas:gpu_runtime.set", f"{GPUS}.model"]


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (
            ("packages", "driver", "nvidia-persistenced"),
            "575.57.08-1",
            "packages.driver.nvidia-persistenced: is 575",
        ),
        (
            ("packages", "fabric_manager", "nvidia-fabricmanager"),
            "580.95.05-1",
            "packages.fabric_manager.nvidia-fabricmanager: is 580.95.05-1, but the driver is 580.126.20",
        ),
        (("packages", "toolkit", "libnvidia-container1"), "1.17.8-1", "packages.toolkit: mixes 1.17.8-1, 1.18.1-1"),
        (("least_driver", "CUDA 13.1"), "590.44.01", "driver: is 580.126.20, and CUDA 13.1 needs 590.44.01 or newer"),
        (("image_cuda",), "13.1", "image_cuda: is 13.1, newer than the CUDA 13.0 that the driver runs"),
    ],
    ids=["driver", "fabric manager", "toolkit", "part that needs a newer driver", "CUDA of the image"],
)
def test_a_mixed_set_is_refused(stacks: Path, place: tuple[str, ...], value: str, said: str) -> None:
    spoil(stacks, *place, value=value)
    (found,) = refused(load_platform("production"))
    assert found.startswith(f"sets.2026-11.{said}")


def test_a_set_without_a_version_is_refused(stacks: Path) -> None:
    spoil(stacks, "packages", "toolkit", value={})
    (found,) = refused(load_platform("production"))
    assert "packages.toolkit" in found


def test_images_are_those_of_the_set() -> None:
    chosen = runtime_set(load_platform("production"))
    assert chosen is not None
    assert list(mixtures(chosen)) == []
    digest = f"@sha256:{'0' * 64}"
    names = {name: f"registry:5000/{image}{digest}" for name, image in chosen.images.items()}
    assert list(foreign_images(chosen, names)) == []
    names["dcgm-exporter"] = f"registry:5000/nvidia/dcgm-exporter:4.9.0{digest}"
    # of the same tag, from another place: the one that is built here, for the CPU
    names["vllm"] = f"registry:5000/llmaas/{chosen.images['vllm'].rpartition('/')[2]}{digest}"
    del names["nvidia-device-plugin"]
    assert [name for name, _ in foreign_images(chosen, names)] == ["nvidia-device-plugin", "dcgm-exporter", "vllm"]


def test_a_set_without_a_model_server_is_refused(stacks: Path) -> None:
    kept = {
        "nvidia-device-plugin": "nvidia/k8s-device-plugin:v0.18.2",
        "dcgm-exporter": "nvidia/dcgm-exporter:4.5.3-4.8.2-distroless",
    }
    spoil(stacks, "images", value=kept)
    (found,) = refused(load_platform("production"))
    assert "images" in found


@pytest.mark.parametrize("image", ["v0.32.0", "vllm/vllm-openai", "registry.test:5000/vllm/vllm-openai:v0.32.0"])
def test_an_image_of_a_set_is_a_repository_and_a_tag(stacks: Path, image: str) -> None:
    spoil(stacks, "images", "vllm", value=image)
    (found,) = refused(load_platform("production"))
    assert "images.vllm" in found


@pytest.mark.parametrize(
    ("version", "expected"), [("580.126.20-1", "580.126.20"), ("1:3.9.0-4", "3.9.0"), ("1.18.1~rc.1-1", "1.18.1~rc.1")]
)
def test_the_upstream_version_of_a_package(version: str, expected: str) -> None:
    assert upstream(version) == expected


def test_simulated_gpus_are_counted_apart() -> None:
    def gpus(kind: str, count: int) -> Gpus:
        return Gpus(kind=kind, model="x", count=count, memory_gib=80)  # type: ignore[arg-type]

    assert counted([None, gpus("simulated", 4), gpus("simulated", 4)]) == "8 simulated GPUs"
    assert counted([gpus("nvidia", 8)]) == "8 GPUs"
    assert counted([gpus("nvidia", 8), gpus("simulated", 4)]) == "8 GPUs and 4 simulated ones"
