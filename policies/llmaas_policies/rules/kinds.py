"""Which kinds of objects there may be: those that the other rules can judge."""

from collections.abc import Iterator
from typing import Final

from llmaas_policies.model import MISSING, UNKNOWN, Parameters, Resource, Severity, Subject, Violation

subject = Subject()

_KNOWN: Final = {
    "v1": (
        "ConfigMap", "Namespace", "PersistentVolume", "PersistentVolumeClaim", "Pod", "PodTemplate",
        "ReplicationController", "Secret", "Service", "ServiceAccount",
    ),
    "apps/v1": ("DaemonSet", "Deployment", "ReplicaSet", "StatefulSet"),
    "batch/v1": ("CronJob", "Job"),
    "networking.k8s.io/v1": ("NetworkPolicy",),
    "node.k8s.io/v1": ("RuntimeClass",),
    "policy/v1": ("PodDisruptionBudget",),
    "rbac.authorization.k8s.io/v1": ("ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"),
    "scheduling.k8s.io/v1": ("PriorityClass",),
    "storage.k8s.io/v1": ("StorageClass",),
}  # fmt: skip
_ENTRANCES: Final = {
    "Ingress",
    "IngressClass",
    "Gateway",
    "GatewayClass",
    "VirtualService",
    "IngressRoute",
    "HTTPProxy",
}
_ENTRANCE_GROUPS: Final = ("gateway.networking.k8s.io/", "networking.istio.io/", "traefik.io/", "projectcontour.io/")
_OUR_TYPES: Final = ("kubernetes:", "pulumi:pulumi:Stack", "pulumi:providers:kubernetes", "llmaas:")


@subject.rule(
    "only-this-cluster", "A stack consists of Kubernetes objects of its own cluster and of nothing else.",
    Severity.HIGH, ("SecNumCloud 3.2 19.2.a",),
    "Remove the resource; hosts are Ansible's and everything else runs in the cluster", any_type=True,
)  # fmt: skip
def only_this_cluster(resource: Resource, _: Parameters) -> Iterator[Violation]:
    """A bucket, a function or a command of another provider is outside of every rule and of the country."""
    if resource.type and not resource.type.startswith(_OUR_TYPES):
        yield Violation("type", f"{resource.type} is no part of the cluster")


@subject.rule(
    "known-kinds-only", "Every object is of a kind and version that these rules judge.", Severity.HIGH,
    ("SecNumCloud 3.2 14.2.a",),
    f"Use one of {', '.join(sorted(kind for kinds in _KNOWN.values() for kind in kinds))}; or name a waiver",
    waivable=True,
)  # fmt: skip
def known_kinds_only(resource: Resource, _: Parameters) -> Iterator[Violation]:
    """A chart, a list, a custom resource, an endpoint by hand or an admission webhook does what no rule here sees."""
    kind, version = resource.get("kind"), resource.get("apiVersion")
    for name, value in (("kind", kind), ("apiVersion", version)):
        if value is UNKNOWN or value is MISSING:
            state = "is missing" if value is MISSING else "is not known at preview"
            yield Violation(name, f"{state}, so no rule can judge the object")
    if isinstance(kind, str) and isinstance(version, str) and kind not in _KNOWN.get(version, ()):
        yield Violation("kind", f"{version} {kind} is a kind that no rule judges")


@subject.rule(
    "no-ingress-object", "Traffic from outside enters through the edge, not through an Ingress or a Gateway.",
    Severity.HIGH, ("SecNumCloud 3.2 13.2.a",), "Remove the object; the edge's configuration names its paths",
)  # fmt: skip
def no_ingress_object(resource: Resource, _: Parameters) -> Iterator[Violation]:
    """A second way in has no allow-list of paths."""
    kind, version = resource.get("kind"), resource.get("apiVersion")
    if kind is UNKNOWN or version is UNKNOWN:
        yield Violation("kind", "is not known at preview, so the object may be a second way in")
    elif (
        resource.kind in _ENTRANCES
        or resource.kind.endswith("Route")
        or str(version).startswith(_ENTRANCE_GROUPS)
        or resource.kind in {f"{kind}List" for kind in _ENTRANCES}
    ):
        yield Violation("kind", f"{resource.kind} opens a second way in")
