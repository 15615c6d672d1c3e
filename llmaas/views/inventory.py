"""The Ansible inventory of an environment: groups, and the variables of every role, as plain data."""

import os
import shutil
from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final

from llmaas.paths import state_dir
from llmaas.settings import Host, Machine, Platform, Problem, SettingsError
from llmaas.settings.recorded import manifest_file
from llmaas.views import disks, gpus, hardening, logs
from llmaas.views import topology as t
from llmaas.views.host_rules import Rule, host_rules
from llmaas.views.network_policies import name_service_policy
from llmaas.views.site import name_in, site_names

LABEL_PREFIX: Final = "llmaas.io/"
PAUSE_TAG: Final = "3.10.2"
# Numbers of the accounts that the data stores run as in their images.
DATA_UID: Final = 999
BASE_PACKAGES: Final = (
    "ca-certificates",
    "chrony",
    "iproute2",
    "iputils-ping",
    "kmod",
    "libpam-passwdqc",
    "nftables",
    "procps",
    "sudo",
)
RUNTIME_PACKAGES: Final = ("conntrack", "containerd", "containernetworking-plugins", "ethtool", "runc")
# What must not start by being installed: it would fill a folder on which an encrypted disk is mounted later.
RUNTIME_UNITS: Final = ("containerd.service",)


def inventory(platform: Platform, today: date | None = None) -> dict[str, Any]:
    """Groups with their hosts, variables of all hosts, and variables of each host.

    The result has the keys ``groups`` (name -> host names), ``all`` (variables) and ``hosts`` (name -> variables).

    Args:
        platform: the environment.
        today: the day that exceptions from the hardening are judged on; the clock's if it is left away.

    Raises:
        SettingsError: the file of approved updates is wrong; or a model is left to the plan and none was recorded, so
            which hosts get its weights is not known.
    """
    _require_placements(platform)
    groups: dict[str, list[str]] = {"control": [], "service": [], "gpu": [], "log": [], "nodes": [], "weights": []}
    for host in platform.hosts:
        groups["nodes"].append(host.name)
        for role in host.roles:
            groups[role].append(host.name)
        if any(host.name in model.placement for model in platform.models):
            groups["weights"].append(host.name)
    hosts = {
        host.name: _host(platform, host) | gpus.of_host(platform, host) | disks.of_host(platform, host)
        for host in platform.hosts
    }
    key_servers = {
        server.name: _machine(platform, server) | {"base_carries_pods": False} | disks.of_key_server(server)
        for server in platform.key_servers
    }
    return {
        "groups": groups | disks.groups(platform) | {"machines": [machine.name for machine in platform.machines]},
        "all": _common(platform)
        | disks.common(platform)
        | logs.common(platform)
        | hardening.common(platform, today or datetime.now(UTC).date()),
        "hosts": hosts | key_servers,
    }


def _require_placements(platform: Platform) -> None:
    remedy = f"run: llmaas plan -e {platform.environment} --write"
    unknown = [
        Problem(f"llmaas:models[{index}].placement", f"is left to the plan, and none is recorded yet; {remedy}")
        for index, model in enumerate(platform.models)
        if model.placed_by_plan and not model.placement and model.phase != "removed" and model.minimum_replicas
    ]
    if unknown:
        raise SettingsError(f"stacks/Pulumi.{platform.environment}.yaml", unknown)


def kubernetes_programs() -> str:
    """The folder of kubelet, kubeadm and kubectl to place on hosts; empty when there is none.

    ``LLMAAS_KUBERNETES_BINARIES``, else the folder of the ``kubelet`` on ``PATH``.
    """
    named = os.environ.get("LLMAAS_KUBERNETES_BINARIES")
    if named:
        return named
    found = shutil.which("kubelet")
    return str(Path(found).resolve().parent) if found else ""


def _common(platform: Platform) -> dict[str, Any]:
    state = state_dir(platform.environment)
    site, kubernetes = platform.site, platform.kubernetes
    root = str(state / "pki" / "root.crt")
    known_hosts = state / "ssh" / "known_hosts"
    names = {str(host.address): [f"{host.name}.{platform.domain}", host.name] for host in platform.hosts}
    names[str(site.address)] = [*site_names(platform)]
    names.setdefault(str(kubernetes.api_address), []).extend(kubernetes.control_plane_host_names)
    of_key_servers = {str(each.address): [f"{each.name}.{platform.domain}", each.name] for each in platform.key_servers}
    return {
        "ansible_user": "root",
        "ansible_ssh_private_key_file": str(state / "ssh" / "id_ed25519"),
        "ansible_ssh_common_args": f"-o UserKnownHostsFile={known_hosts} -o StrictHostKeyChecking=yes",
        "ansible_python_interpreter": "/usr/bin/python3",
        "platform_environment": platform.environment,
        "packages_url": str(site.packages_url),
        "packages_mirror_name": name_in(str(site.packages_url)),
        "packages_mirror_address": str(site.address),
        "packages_ca_certificate": root,
        "packages_signing_key": str(state / "site" / "packages.asc"),
        "packages_dpkg_options": ["force-unsafe-io"] if _disposable(platform) else [],
        "base_domain": platform.domain,
        "base_host_names": names | of_key_servers,
        "base_time_servers": [str(address) for address in site.time_servers],
        "trust_environment": platform.environment,
        "trust_ca_certificate": root,
        "trust_pki_folder": str(state / "pki"),
        "container_runtime_registry": site.registry,
        "container_runtime_pause_image": f"{site.registry}/pause:{PAUSE_TAG}",
        "control_plane_environment": platform.environment,
        "control_plane_version": kubernetes.version,
        "control_plane_endpoint": f"{kubernetes.api_address}:6443",
        "control_plane_registry": site.registry,
        "control_plane_pod_network": str(platform.network.pods),
        "control_plane_service_network": str(platform.network.services),
        "control_plane_certificate_names": [*kubernetes.control_plane_host_names, str(kubernetes.api_address)],
        "control_plane_kubeconfig": str(state / "kubeconfig"),
        "control_plane_host_names": {address: found[:1] for address, found in names.items()},
        "control_plane_domain": platform.domain,
        "control_plane_name_service_policy": asdict(name_service_policy(platform)),
        "kubernetes_node_version": kubernetes.version,
        "kubernetes_node_binaries_source": kubernetes_programs(),
        "kubernetes_node_cluster_dns": str(platform.network.services.network_address + 10),
        "kubernetes_node_endpoint": f"{kubernetes.api_address}:6443",
        "node_labels_prefix": LABEL_PREFIX,
        "node_labels_nodes": {host.name: _node_state(host) for host in platform.hosts},
        "pod_network_role": platform.network.pod_network_role,
        "pod_network_pods": str(platform.network.pods),
        "pod_network_services": str(platform.network.services),
        "pod_network_endpoint": f"{kubernetes.api_address}:6443",
        "model_weights_url": str(site.artefacts_url),
    }


def _disposable(platform: Platform) -> bool:
    """Whether the hosts can be made again at will: then dpkg need not wait for the disk."""
    return all(host.gpus is None or host.gpus.kind == "simulated" for host in platform.hosts)


def _node_state(host: Host) -> dict[str, Any]:
    labels = {f"{LABEL_PREFIX}role-{role}": "true" for role in host.roles}
    labels |= {f"{LABEL_PREFIX}{name}": value for name, value in gpus.node_labels(host).items()}
    return {"labels": labels, "taints": []}


def _host(platform: Platform, host: Host) -> dict[str, Any]:
    models = [model for model in platform.models if host.name in model.placement]
    artefacts = sorted({model.artefact for model in models})
    counted = t.served_artefacts(platform) if "service" in host.roles else ()
    return _machine(platform, host, RUNTIME_PACKAGES) | {
        "packages_held_units": list(RUNTIME_UNITS),
        "control_plane_name": host.name,
        "control_plane_address": str(host.address),
        "kubernetes_node_name": host.name,
        "kubernetes_node_address": str(host.address),
        "pod_network_node": host.name,
        "volumes_entries": _volumes(host),
        "model_weights_artefacts": _artefacts(platform, artefacts),
        # The gateway may run there, and counts with them.
        "model_weights_tokenizers_folder": t.TOKENIZERS_ROOT,
        "model_weights_tokenizers": _artefacts(platform, counted),
    }


def _machine(platform: Platform, machine: Machine, packages: Iterable[str] = ()) -> dict[str, Any]:
    """What hosts and key servers have in common; ``packages``: what is installed besides."""
    rules = host_rules(platform, machine)
    return {
        "ansible_host": str(machine.address),
        "packages_names": sorted({*BASE_PACKAGES, *packages, *logs.packages(platform, machine)}),
        "packages_masked_units": list(logs.masked_units(platform, machine)),
        "base_name": machine.name,
        "trust_names": [f"{machine.name}.{platform.domain}", machine.name],
        "trust_addresses": [str(machine.address)],
        **{f"firewall_{chain}": _rules(getattr(rules, chain)) for chain in ("input", "output", "forward")},
        **logs.of_host(platform, machine, t.STATUS_PORT),
    }


def _artefacts(platform: Platform, names: Iterable[str]) -> list[dict[str, str]]:
    return [{"name": name, "manifest_file": str(manifest_file(platform, name))} for name in names]


def _rules(rules: tuple[Rule, ...]) -> list[dict[str, Any]]:
    found = []
    for rule in rules:
        entry = asdict(rule)
        entry.update({key: list(entry[key]) for key in ("sources", "destinations", "ports")})
        found.append(entry)
    return found


def _volumes(host: Host) -> list[dict[str, Any]]:
    """Folders of the data stores; local PersistentVolumes lie on them."""
    if "service" not in host.roles:
        return []
    return [{"name": name, "uid": DATA_UID} for name in ("postgres", "prometheus", "redis")]
