"""What the policies are told of an environment's disks."""

from datetime import date

from llmaas.settings import Platform, build_platform, load_platform
from llmaas.settings.source import sections_of_file
from llmaas.views.policies import policy_parameters

TODAY = date(2026, 11, 25)


def lab_with(kind: str) -> Platform:
    """The lab, one of whose hosts has GPUs of that kind."""
    _, sections = sections_of_file("lab")
    gpus = {"kind": kind, "model": "h100-80g", "count": 4, "memory_gib": 79}
    hosts = [host | {"gpus": gpus} if host["name"] == "gpu-host-12" else host for host in sections["hosts"]]
    alerts = {"receiver": {"address": "10.77.0.1", "host_name": "alerts.lab.llmaas.internal"}}
    return build_platform("stack", sections | {"hosts": hosts, "gpu_runtime": {"set": "2026-11"}, "alerts": alerts})


def test_only_what_serves_nobody_counts_as_simulated() -> None:
    assert policy_parameters(load_platform("lab"), TODAY).simulated
    assert not policy_parameters(load_platform("production"), TODAY).simulated
    assert policy_parameters(lab_with("simulated"), TODAY).simulated
    assert not policy_parameters(lab_with("nvidia"), TODAY).simulated


def test_encrypted_folders_are_those_of_declared_devices() -> None:
    mounts = policy_parameters(load_platform("production"), TODAY).encrypted_mounts
    assert "/var/lib/llmaas/volumes" in mounts["gpu-host-01"]
    assert "/var/lib/llmaas/volumes" not in mounts["gpu-host-04"]
    assert mounts["control-01"] == ()
