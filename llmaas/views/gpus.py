"""GPUs as Ansible, the cluster and people see them."""

from typing import Any, Final

from llmaas.settings import Host, Platform
from llmaas.settings.gpu_sets import device, runtime_set

PREFIX: Final = "llmaas.io/"
KIND_LABEL: Final = "gpu-kind"
MODEL_LABEL: Final = "gpu-model"
# what containers with GPUs are run by
RUNTIME_CLASS: Final = "nvidia"


def of_host(platform: Platform, host: Host) -> dict[str, Any]:
    """Variables of the roles ``gpu_runtime`` and ``container_runtime``."""
    gpus = host.gpus
    found: dict[str, Any] = {
        "gpu_runtime_kind": gpus.kind if gpus else "none",
        "gpu_runtime_count": gpus.count if gpus else 0,
        "gpu_runtime_node": host.name,
        "gpu_runtime_endpoint": f"{platform.kubernetes.api_address}:6443",
        "container_runtime_nvidia": gpus is not None and gpus.kind == "nvidia",
    }
    chosen = runtime_set(platform)
    if gpus is None or gpus.kind != "nvidia" or chosen is None:
        return found
    shown = device(platform, gpus.model)
    packages = chosen.packages.driver | chosen.packages.toolkit
    if gpus.nvswitch:
        packages = packages | chosen.packages.fabric_manager
    return found | {
        "gpu_runtime_packages": [f"{name}={version}" for name, version in sorted(packages.items())],
        "gpu_runtime_declared": {
            "where": f"llmaas:hosts[{platform.hosts.index(host)}].gpus",
            "model": gpus.model,
            "pci_ids": list(shown.pci_ids),
            "names": list(shown.names),
            "memory_mib": shown.memory_mib,
            "cards": gpus.cards,
            "nvswitch": gpus.nvswitch,
            "mig": gpus.mig.profile if gpus.mig else "",
            "mig_instances": gpus.mig.instances if gpus.mig else 0,
            "driver": chosen.driver,
        },
    }


def node_labels(host: Host) -> dict[str, str]:
    """Labels of the host's node, without their prefix; a simulated GPU is told there."""
    return {} if host.gpus is None else {MODEL_LABEL: host.gpus.model, KIND_LABEL: host.gpus.kind}


def selector() -> dict[str, str]:
    """The label of nodes with real GPUs."""
    return {f"{PREFIX}{KIND_LABEL}": "nvidia"}


def runtime_class(host: Host) -> str | None:
    """What runs containers with GPUs of a host; the cluster's usual runtime where they are simulated."""
    return RUNTIME_CLASS if host.gpus is not None and host.gpus.kind == "nvidia" else None
