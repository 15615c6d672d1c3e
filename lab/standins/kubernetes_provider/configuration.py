"""The provider's own settings: from its arguments, else from the environment."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lab.standins.kubernetes_provider import kubeconfig
from lab.standins.kubernetes_provider.cluster import Cluster
from lab.standins.kubernetes_provider.errors import ProviderError
from lab.standins.kubernetes_provider.values import has_unknown, plain

_UNSUPPORTED = ("renderYamlToDirectory", "alwaysRender", "deleteUnreachable", "skipUpdateUnreachable")


@dataclass(frozen=True)
class Configuration:
    """What the user set on the provider."""

    kubeconfig: str = ""
    context: str = ""
    cluster: str = ""
    cluster_identifier: str = ""
    namespace: str = ""
    patch_force: bool = False
    config_map_mutable: bool = False
    secret_mutable: bool = False
    upsert: bool = False
    is_known: bool = True
    """False at a preview in which, say, the kubeconfig comes from a resource that is still to be created."""

    def connect(self) -> Cluster:
        """Make the client for the API server; nothing is sent yet."""
        if not self.is_known:
            raise ProviderError("the provider's configuration is not known yet")
        return Cluster(kubeconfig.load(self.kubeconfig, self.context, self.cluster))

    def server(self) -> str:
        """Give the API server's address, empty if it cannot be told."""
        return kubeconfig.server_of(self.kubeconfig, self.context) if self.is_known else ""


def parse(arguments: Mapping[str, Any]) -> Configuration:
    """Read the provider's arguments; values may come as text, as from `pulumi config set kubernetes:…`.

    Raises:
        ProviderError: an argument asks for what only the official plugin can do.
    """
    values = {key: plain(value) for key, value in arguments.items() if value is not None}
    for key in _UNSUPPORTED:
        if str(values.get(key, "")).lower() not in {"", "false"}:
            raise ProviderError(f"provider argument {key} needs the official pulumi-resource-kubernetes; remove it")
    if str(values.get("enableServerSideApply", "true")).lower() == "false":
        raise ProviderError("enableServerSideApply=false needs the official pulumi-resource-kubernetes; remove it")

    def flag(key: str, variable: str) -> bool:
        return str(values.get(key, os.environ.get(variable, ""))).lower() in {"true", "1"}

    def text(key: str, variable: str = "") -> str:
        value = values.get(key)
        return value if isinstance(value, str) else os.environ.get(variable, "") if variable else ""

    return Configuration(
        kubeconfig=text("kubeconfig"),
        context=text("context", "PULUMI_K8S_CONTEXT"),
        cluster=text("cluster", "PULUMI_K8S_CLUSTER"),
        cluster_identifier=text("clusterIdentifier"),
        namespace=text("namespace", "PULUMI_K8S_NAMESPACE"),
        patch_force=flag("enablePatchForce", "PULUMI_K8S_ENABLE_PATCH_FORCE"),
        config_map_mutable=flag("enableConfigMapMutable", "PULUMI_K8S_ENABLE_CONFIGMAP_MUTABLE"),
        secret_mutable=flag("enableSecretMutable", "PULUMI_K8S_ENABLE_SECRET_MUTABLE"),
        upsert=flag("upsertExistingObjects", "PULUMI_K8S_UPSERT_EXISTING_OBJECTS"),
        is_known=not has_unknown(dict(arguments)),
    )


def replaces(old: Configuration, new: Configuration) -> list[str]:
    """Say which arguments make the new provider unable to manage the old one's objects: another cluster."""
    if old.cluster_identifier or new.cluster_identifier:
        return ["clusterIdentifier"] if old.cluster_identifier != new.cluster_identifier else []
    before, after = old.server(), new.server()
    if before and after and before != after:
        return ["kubeconfig" if old.kubeconfig != new.kubeconfig else "context"]
    return []
