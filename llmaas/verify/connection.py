"""How the checks reach an environment: hosts by SSH with pinned keys, the cluster by its kubeconfig."""

from pathlib import Path

from llmaas.paths import state_dir
from llmaas.settings import Platform

SSH_OPTIONS = {
    "User": "root",
    "IdentitiesOnly": "yes",
    "StrictHostKeyChecking": "yes",
    "GlobalKnownHostsFile": "/dev/null",
    "BatchMode": "yes",
    "ConnectTimeout": "10",
    "ControlMaster": "auto",
    "ControlPersist": "60s",
}


def write_ssh_configuration(platform: Platform, folder: Path) -> Path:
    """An SSH configuration for hosts and key servers, with their pinned keys; connections are shared."""
    state = state_dir(platform.environment) / "ssh"
    options = {
        **SSH_OPTIONS,
        "IdentityFile": str(state / "id_ed25519"),
        "UserKnownHostsFile": str(state / "known_hosts"),
        "ControlPath": str(folder / "%h"),
    }
    lines = []
    for host in platform.machines:
        lines += [f"Host {host.name}", f"  HostName {host.address}"]
        lines += [f"  {name} {value}" for name, value in options.items()]
    path = folder / "ssh_config"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def kubeconfig(environment: str) -> Path:
    """The administrator's way into the cluster."""
    return state_dir(environment) / "kubeconfig"
