"""What the role gpu_runtime writes for NVIDIA's GPUs, read by the programs that are given it. Needs no host."""

import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
from role_templates import render

from llmaas.settings import build_platform
from llmaas.settings.source import sections_of_file
from llmaas.views.inventory import inventory

TEMPLATES = {
    "gpu_runtime": (
        "preferences.j2",
        "modprobe.conf.j2",
        "nvidia-container-runtime.toml.j2",
        "llmaas-gpu-devices.service.j2",
        "llmaas-mig.service.j2",
    ),
    "container_runtime": ("config.toml.j2",),
}
MIG = {"mig": {"profile": "1g.10gb", "instances": 7}, "count": 56, "memory_gib": 9}


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a production host whose GPUs are divided, as Ansible renders them."""
    folder = tmp_path_factory.mktemp("rendered")
    _, sections = sections_of_file("production")
    sections["hosts"][3]["gpus"] = sections["hosts"][3]["gpus"] | MIG
    view = inventory(build_platform("stack", sections))
    variables = view["all"] | view["hosts"]["gpu-host-01"]
    variables["ansible_facts"] = {"host_kernel": {"cgroups": "v2", "sys_resource": True}}
    render(folder, TEMPLATES, variables)
    return folder


def test_no_image_can_ask_for_gpus_by_a_variable(rendered: Path) -> None:
    found = tomllib.loads((rendered / "nvidia-container-runtime.toml").read_text())
    assert found["accept-nvidia-visible-devices-envvar-when-unprivileged"] is False
    assert found["accept-nvidia-visible-devices-as-volume-mounts"] is True
    assert found["nvidia-container-runtime"]["mode"] == "cdi"


def test_containerd_knows_nvidia_s_runtime_and_runs_others_as_before(rendered: Path) -> None:
    found = tomllib.loads((rendered / "config.toml").read_text())
    cri: dict[str, Any] = found["plugins"]["io.containerd.grpc.v1.cri"]["containerd"]
    assert cri["default_runtime_name"] == "runc"
    assert cri["runtimes"]["nvidia"]["options"]["BinaryName"] == "/usr/bin/nvidia-container-runtime"
    assert cri["runtimes"]["nvidia"]["options"]["SystemdCgroup"] is True
    assert set(cri["runtimes"]) == {"runc", "nvidia"}


def test_gpus_are_divided_and_described_before_anything_hands_them_out(rendered: Path) -> None:
    divide = (rendered / "llmaas-mig.service").read_text()
    assert "--profile 1g.10gb --parts 7" in divide
    assert "Before=containerd.service kubelet.service" in divide
    describe = (rendered / "llmaas-gpu-devices.service").read_text()
    assert "llmaas-mig.service" in next(line for line in describe.splitlines() if line.startswith("After="))
    assert "Before=containerd.service kubelet.service" in describe


@pytest.mark.parametrize("unit", ["llmaas-mig.service", "llmaas-gpu-devices.service"])
def test_systemd_reads_the_units(rendered: Path, tmp_path: Path, unit: str) -> None:
    # its program is not on this machine
    text = (
        (rendered / unit)
        .read_text()
        .replace("/usr/bin/nvidia-ctk", "/bin/true")
        .replace("/usr/bin/python3", "/bin/true")
    )
    (tmp_path / unit).write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert unit not in done.stderr, done.stderr


def test_apt_takes_the_pinned_versions_and_no_others(rendered: Path, tmp_path: Path) -> None:
    """Of a mirror with a newer driver, an older toolkit and the set's versions apt chooses the set's."""
    offered = {
        "nvidia-kernel-open-dkms": ("580.126.20-1", "590.44.01-1"),
        "nvidia-driver-cuda": ("575.57.08-1", "580.126.20-1", "590.44.01-1"),
        "libnvidia-ml1": ("580.126.20-1", "590.44.01-1"),
        "libcuda1": ("580.126.20-1", "590.44.01-1"),
        "nvidia-container-toolkit": ("1.17.8-1", "1.18.1-1", "1.19.0-1"),
        "nvidia-fabricmanager": ("580.126.20-1", "590.44.01-1"),
        "nvidia-settings": ("590.44.01-1",),
    }
    wanted = dict.fromkeys(offered, "580.126.20-1") | {
        "nvidia-container-toolkit": "1.18.1-1",
        # nothing of another driver, not even where the pinned one lacks it
        "nvidia-settings": "(none)",
    }
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    (mirror / "Packages").write_text(
        "".join(
            f"Package: {name}\nVersion: {version}\nArchitecture: amd64\nMaintainer: x <x@example.org>\n"
            f"Filename: {name}_{version}.deb\nSize: 1\nSHA256: {'0' * 64}\nDescription: x\n\n"
            for name, versions in offered.items()
            for version in versions
        )
    )
    (tmp_path / "sources.list").write_text(f"deb [trusted=yes] file:{mirror} ./\n")
    for name in ("lists/partial", "cache/archives/partial"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "status").touch()
    options = {
        "Dir::Etc::SourceList": tmp_path / "sources.list",
        "Dir::Etc::SourceParts": "/nonexistent",
        "Dir::Etc::Preferences": rendered / "preferences",
        "Dir::Etc::PreferencesParts": "/nonexistent",
        "Dir::State": tmp_path,
        "Dir::State::Lists": tmp_path / "lists",
        "Dir::State::status": tmp_path / "status",
        "Dir::Cache": tmp_path / "cache",
        "APT::Sandbox::User": "root",
    }
    given = [f"-o{name}={value}" for name, value in options.items()]
    subprocess.run(["apt-get", *given, "update"], check=True, capture_output=True)
    shown = subprocess.run(
        ["apt-cache", *given, "policy", *offered], check=True, capture_output=True, text=True, env={"LC_ALL": "C"}
    ).stdout
    candidates = [line.partition(":")[2].strip() for line in shown.splitlines() if line.startswith("  Candidate:")]
    assert dict(zip(offered, candidates, strict=True)) == wanted
