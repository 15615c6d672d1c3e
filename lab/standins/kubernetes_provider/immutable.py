"""Which fields cannot be changed in place: a change of one replaces the object, as in the official provider."""

from collections.abc import Sequence

from lab.standins.kubernetes_provider.configuration import Configuration
from lab.standins.kubernetes_provider.objects import Kind

Path = tuple[str | int, ...]

_SELECTOR = "spec.selector"
_VOLUME_SOURCES = (
    "awsElasticBlockStore azureDisk azureFile cephfs cinder csi fc flexVolume flocker gcePersistentDisk glusterfs "
    "hostPath iscsi local nfs photonPersistentDisk portworxVolume quobyte rbd scaleIO storageos vsphereVolume"
)
_POD = (
    "affinity automountServiceAccountToken dnsConfig dnsPolicy enableServiceLinks hostAliases hostIPC hostNetwork "
    "hostPID hostname imagePullSecrets nodeName nodeSelector overhead preemptionPolicy priority priorityClassName "
    "readinessGates restartPolicy runtimeClassName schedulerName securityContext serviceAccount serviceAccountName "
    "shareProcessNamespace subdomain terminationGracePeriodSeconds volumes"
)
_CONTAINER = (
    "args command env image imagePullPolicy lifecycle livenessProbe ports readinessProbe resources securityContext "
    "stdin stdinOnce terminationMessagePath terminationMessagePolicy tty volumeDevices volumeMounts workingDir"
)

_FIELDS: dict[tuple[str, str], tuple[str, ...]] = {
    ("apps", "DaemonSet"): (_SELECTOR,),
    ("apps", "Deployment"): (_SELECTOR,),
    ("apps", "StatefulSet"): (
        "spec.podManagementPolicy",
        "spec.revisionHistoryLimit",
        _SELECTOR,
        "spec.serviceName",
        "spec.volumeClaimTemplates",
    ),
    ("batch", "Job"): ("spec.completions", "spec.parallelism", _SELECTOR, "spec.template"),
    ("", "PersistentVolume"): tuple(f"spec.{source}" for source in _VOLUME_SOURCES.split()),
    ("", "PersistentVolumeClaim"): (
        "spec.accessModes",
        _SELECTOR,
        "spec.storageClassName",
        "spec.volumeName",
    ),
    ("", "Pod"): (
        *(f"spec.{field}" for field in _POD.split()),
        *(f"spec.{part}.*.{field}" for part in ("containers", "initContainers") for field in _CONTAINER.split()),
    ),
    ("", "ResourceQuota"): ("spec.scopes",),
    ("", "Service"): ("spec.clusterIP",),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): ("roleRef",),
    ("rbac.authorization.k8s.io", "RoleBinding"): ("roleRef",),
    ("storage.k8s.io", "StorageClass"): ("parameters", "provisioner"),
}


def fields(kind: Kind, configuration: Configuration, *, immutable: bool) -> list[tuple[str, ...]]:
    """List the fields of a kind whose change replaces the object.

    Args:
        kind: the object's kind.
        configuration: whether ConfigMaps and Secrets may be changed in place; by default they are replaced.
        immutable: whether the object itself says `immutable: true`.
    """
    listed = ["metadata.name", "metadata.namespace", *_FIELDS.get((kind.group, kind.name), ())]
    if (kind.group, kind.name) == ("", "ConfigMap") and (immutable or not configuration.config_map_mutable):
        listed += ["binaryData", "data"]
    if (kind.group, kind.name) == ("", "Secret"):
        listed.append("type")
        if immutable or not configuration.secret_mutable:
            listed += ["stringData", "data"]
    return [tuple(field.split(".")) for field in listed]


def is_below(path: Path, listed: Sequence[tuple[str, ...]]) -> bool:
    """Tell whether a changed path is one of the fields, or lies in one."""
    return any(
        len(path) >= len(field) and all(want in ("*", part) for want, part in zip(field, path, strict=False))
        for field in listed
    )
