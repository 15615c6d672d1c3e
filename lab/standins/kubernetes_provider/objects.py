"""What a Pulumi resource says about its Kubernetes object: kind, name, namespace, identifier."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lab.standins.kubernetes_provider.errors import ProviderError
from lab.standins.kubernetes_provider.values import Secret

AUTONAMED = "pulumi.com/autonamed"
_CLUSTER_SCOPED = {
    "": {"ComponentStatus", "Namespace", "Node", "PersistentVolume"},
    "admissionregistration.k8s.io": {
        "MutatingWebhookConfiguration",
        "ValidatingWebhookConfiguration",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
        "MutatingAdmissionPolicy",
        "MutatingAdmissionPolicyBinding",
    },
    "apiextensions.k8s.io": {"CustomResourceDefinition"},
    "apiregistration.k8s.io": {"APIService"},
    "certificates.k8s.io": {"CertificateSigningRequest", "ClusterTrustBundle"},
    "flowcontrol.apiserver.k8s.io": {"FlowSchema", "PriorityLevelConfiguration"},
    "networking.k8s.io": {"IngressClass", "IPAddress", "ServiceCIDR"},
    "node.k8s.io": {"RuntimeClass"},
    "rbac.authorization.k8s.io": {"ClusterRole", "ClusterRoleBinding"},
    "resource.k8s.io": {"DeviceClass", "ResourceSlice"},
    "scheduling.k8s.io": {"PriorityClass"},
    "storage.k8s.io": {"CSIDriver", "CSINode", "StorageClass", "VolumeAttachment", "VolumeAttributesClass"},
}
_BUILT_IN_GROUPS = {
    *_CLUSTER_SCOPED,
    "apps",
    "autoscaling",
    "batch",
    "coordination.k8s.io",
    "discovery.k8s.io",
    "policy",
}


@dataclass(frozen=True)
class Kind:
    """A kind of object: its API version (`v1`, `apps/v1`) and name."""

    api_version: str
    name: str

    @property
    def group(self) -> str:
        """The API group; the core group is the empty string."""
        return self.api_version.rpartition("/")[0]

    def is_namespaced(self) -> bool | None:
        """Tell it for the kinds that every cluster has; None for all others."""
        if self.group not in _BUILT_IN_GROUPS:
            return None
        return self.name not in _CLUSTER_SCOPED.get(self.group, set())

    def __str__(self) -> str:
        return f"{self.api_version}/{self.name}"


def kind_of(resource_type: str, inputs: Mapping[str, Any]) -> Kind:
    """Find the kind of a resource: from its inputs, else from its token `kubernetes:group/version:Kind`."""
    api_version, name = inputs.get("apiVersion"), inputs.get("kind")
    parts = resource_type.split(":")
    if len(parts) != 3 or parts[0] != "kubernetes":
        raise ProviderError(f"{resource_type!r} is no resource of the Kubernetes provider")
    if parts[1].startswith(("helm.sh/", "yaml", "kustomize")) or parts[2].endswith("Patch"):
        raise ProviderError(
            f"{resource_type} is not carried by this provider: declare the objects themselves, "
            "or install the official pulumi-resource-kubernetes"
        )
    from_token = parts[1].removeprefix("core/")
    return Kind(
        api_version=api_version if isinstance(api_version, str) else from_token,
        name=name if isinstance(name, str) else parts[2],
    )


def metadata_of(body: Mapping[str, Any]) -> dict[str, Any]:
    """Give the metadata of an object, empty if there is none."""
    metadata = body.get("metadata")
    if isinstance(metadata, Secret):
        metadata = metadata.value
    return metadata if isinstance(metadata, dict) else {}


def name_of(body: Mapping[str, Any]) -> Any:
    """Give the name of an object: text, UNKNOWN, or None."""
    return metadata_of(body).get("name")


def namespace_of(body: Mapping[str, Any]) -> Any:
    """Give the namespace of an object: text, UNKNOWN, or None."""
    return metadata_of(body).get("namespace")


def annotation(body: Mapping[str, Any], key: str) -> str:
    """Give the value of an annotation, empty if it is absent or not known yet."""
    annotations = metadata_of(body).get("annotations")
    if isinstance(annotations, Secret):
        annotations = annotations.value
    value = annotations.get(key) if isinstance(annotations, dict) else None
    return value if isinstance(value, str) else ""


def is_set(body: Mapping[str, Any], key: str) -> bool:
    """Tell whether an annotation says "true"."""
    return annotation(body, key).lower() == "true"


def identifier(body: Mapping[str, Any]) -> str:
    """Make the resource's identifier: `namespace/name`, or `name` for what has no namespace."""
    namespace, name = namespace_of(body), name_of(body)
    return f"{namespace}/{name}" if namespace else str(name)


def parse_identifier(text: str) -> tuple[str, str]:
    """Split an identifier into namespace (empty if there is none) and name."""
    namespace, _, name = text.rpartition("/")
    return namespace, name
