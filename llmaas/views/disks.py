"""Encrypted storage as Ansible sees it: groups, and the variables of the two roles that make it."""

from typing import Any, Final

from llmaas.paths import state_dir
from llmaas.settings import Host, KeyServer, Platform
from llmaas.views.logs import STORE

KEY_SERVER_PORT: Final = 7500
# where the role disk_encryption mounts each kind of data
MOUNTS: Final = {
    "containers": "/var/lib/containerd",
    "kubelet": "/var/lib/kubelet",
    "weights": "/var/lib/llmaas/models",
    "volumes": "/var/lib/llmaas/volumes",
    "logs": "/var/log/pods",
    "log_store": STORE,
}


def groups(platform: Platform) -> dict[str, list[str]]:
    """The hosts with data devices, and the key servers; both empty where nothing is declared."""
    return {
        "encrypted": [host.name for host in platform.hosts if host.data_devices],
        "key_servers": [server.name for server in platform.key_servers],
    }


def common(platform: Platform) -> dict[str, Any]:
    """Variables of all hosts."""
    encryption = platform.disk_encryption
    if encryption is None:
        return {}
    return {
        "disk_encryption_threshold": encryption.threshold,
        "disk_encryption_recovery_recipients": list(encryption.recovery_recipients),
        "disk_encryption_key_servers": [
            {
                "name": server.name,
                "url": f"http://{server.address}:{KEY_SERVER_PORT}",
                "thumbprint": server.thumbprint or "",
                "where": f"llmaas:disk_encryption.key_servers[{index}]",
            }
            for index, server in enumerate(encryption.key_servers)
        ],
    }


def of_host(platform: Platform, host: Host) -> dict[str, Any]:
    """Variables of one host; none where it has no data devices."""
    if not host.data_devices:
        return {}
    where = f"llmaas:hosts[{platform.hosts.index(host)}].data_devices"
    return {
        "disk_encryption_records": str(state_dir(platform.environment) / "disks" / host.name),
        "disk_encryption_devices": [
            {"purpose": device.purpose, "path": device.path, "where": f"{where}[{index}]"}
            for index, device in enumerate(host.data_devices)
        ],
    }


def of_key_server(server: KeyServer) -> dict[str, Any]:
    """Variables of one key server."""
    return {
        "key_server_address": str(server.address),
        "key_server_port": KEY_SERVER_PORT,
        "key_server_declared_thumbprint": server.thumbprint or "",
    }


def mounts(host: Host) -> tuple[str, ...]:
    """The folders of a host that lie on encrypted devices."""
    return tuple(MOUNTS[device.purpose] for device in host.data_devices)
