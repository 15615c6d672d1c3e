"""Data of PostgreSQL, Redis, Prometheus, the audit and log hosts lies on encrypted disks of declared devices alone."""

import kubernetes
import pytest
from host.probing import Machine

from llmaas.settings import Host, Platform
from llmaas.verify import DECLARED

# Written out here on purpose: a wrong setting must not weaken its own check.
MOUNTS = {
    "containers": "/var/lib/containerd",
    "kubelet": "/var/lib/kubelet",
    "weights": "/var/lib/llmaas/models",
    "volumes": "/var/lib/llmaas/volumes",
    "logs": "/var/log/pods",
    "log_store": "/var/lib/llmaas/logs",
}
CIPHER, KEY_BITS = "aes-xts-plain64", "512"


def encrypted(declared: Host) -> Host:
    if not declared.data_devices:
        pytest.skip(f"{DECLARED}no data devices for this host, so nothing on it is encrypted by the platform")
    return declared


def serves_nobody(platform: Platform) -> bool:
    return all(host.gpus is None or host.gpus.kind == "simulated" for host in platform.hosts)


def status(machine: Machine, purpose: str) -> dict[str, str]:
    """What cryptsetup says of an open volume."""
    lines = machine.output("cryptsetup", "status", f"llmaas-{purpose}").splitlines()
    return {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}


def test_every_declared_device_is_open_and_mounted_as_luks2(machine: Machine, declared: Host) -> None:
    for device in encrypted(declared).data_devices:
        source = machine.output("findmnt", "--noheadings", "--output", "SOURCE", MOUNTS[device.purpose])
        assert source == f"/dev/mapper/llmaas-{device.purpose}"
        found = status(machine, device.purpose)
        assert (found["type"], found["cipher"]) == ("LUKS2", CIPHER)
        assert found["keysize"].split()[0] == KEY_BITS
        assert found["device"] == machine.output("readlink", "--canonicalize", device.path)


def test_every_volume_of_the_cluster_lies_on_an_encrypted_device(
    machine: Machine, declared: Host, cluster: kubernetes.client.CoreV1Api
) -> None:
    encrypted(declared)
    paths = [
        volume.spec.local.path
        for volume in cluster.list_persistent_volume().items
        if declared.name in str(volume.spec.node_affinity)
    ]
    for path in paths:
        source = machine.output("findmnt", "--noheadings", "--output", "SOURCE", "--target", path)
        assert source.startswith("/dev/mapper/llmaas-"), f"{path} lies on {source}"
        assert status(machine, source.removeprefix("/dev/mapper/llmaas-"))["type"] == "LUKS2"


def test_a_platform_with_real_gpus_declares_encrypted_disks_under_its_volumes(
    platform: Platform, cluster: kubernetes.client.CoreV1Api
) -> None:
    if serves_nobody(platform):
        pytest.skip(f"{DECLARED}simulated GPUs alone: a lab, whose volumes hold nobody's data")
    for volume in cluster.list_persistent_volume().items:
        terms = volume.spec.node_affinity.required.node_selector_terms
        hosts = {value for term in terms for each in term.match_expressions for value in each.values}
        assert hosts, volume.metadata.name
        for host in hosts:
            mounts = [MOUNTS[device.purpose] for device in platform.host(host).data_devices]
            assert any(volume.spec.local.path.startswith(f"{mount}/") for mount in mounts), (volume.metadata.name, host)


def test_the_logs_of_all_hosts_lie_on_an_encrypted_device(machines: dict[str, Machine], platform: Platform) -> None:
    if serves_nobody(platform):
        pytest.skip(f"{DECLARED}simulated GPUs alone: a lab, whose logs tell of nobody")
    for host in platform.hosts_with_role("log"):
        source = machines[host.name].output(
            "findmnt", "--noheadings", "--output", "SOURCE", "--target", MOUNTS["log_store"]
        )
        assert source == "/dev/mapper/llmaas-log_store", (host.name, source)
        assert status(machines[host.name], "log_store")["type"] == "LUKS2"


def test_no_swap_writes_memory_in_the_clear(machine: Machine, platform: Platform) -> None:
    if serves_nobody(platform) and machine.output("sh", "-c", "ls /run/systemd/container 2>/dev/null || true"):
        pytest.skip(f"{DECLARED}simulated GPUs alone: a lab, and this container's swap is that of the machine below it")
    areas = machine.output("swapon", "--noheadings", "--show=NAME").split()
    plain = [
        area
        for area in areas
        if not area.startswith("/dev/zram")
        # lsblk knows no files
        and not (
            area.startswith("/dev/")
            and "crypt" in machine.output("lsblk", "--noheadings", "--inverse", "--output", "TYPE", area).split()
        )
    ]
    assert plain == []
