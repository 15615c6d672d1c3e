"""Data lies on encrypted disks of declared hosts, and nowhere else."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from llmaas_policies.model import MISSING, UNKNOWN, Parameters, Resource, Severity, Subject, Violation
from llmaas_policies.pods import Part, containers_of, names_in, parts, volumes_of

subject = Subject()

_VOLUME_SOURCES: Final = {
    "configMap", "downwardAPI", "emptyDir", "image", "persistentVolumeClaim", "projected", "secret",
}  # fmt: skip
_OTHER_SOURCES_OF_A_VOLUME: Final = {
    "awsElasticBlockStore", "azureDisk", "azureFile", "cephfs", "cinder", "csi", "fc", "flexVolume", "flocker",
    "gcePersistentDisk", "glusterfs", "hostPath", "iscsi", "nfs", "photonPersistentDisk", "portworxVolume", "quobyte",
    "rbd", "scaleIO", "storageos", "vsphereVolume",
}  # fmt: skip
_HOST_LABEL: Final = "kubernetes.io/hostname"
_STORES: Final = {
    "postgres", "postgresql", "patroni", "redis", "valkey", "prometheus", "alertmanager", "grafana", "etcd", "minio",
}  # fmt: skip


def _is_below(path: object, folders: Sequence[str]) -> bool:
    """Whether a path is known and lies in one of the folders."""
    if not isinstance(path, str) or ".." in path.split("/"):
        return False
    return any(path.startswith(f"{folder.rstrip('/')}/") for folder in folders)


@subject.rule(
    "data-on-encrypted-storage", "Every persistent volume lies on an encrypted file system of its host.",
    Severity.CRITICAL, ("SecNumCloud 3.2 10.1.a",),
    "Use a local volume below one of the encrypted paths that the stack file declares",
    in_a_lab="the folders that count as encrypted need no encrypted device there, and the rule sees paths alone",
)  # fmt: skip
def data_on_encrypted_storage(resource: Resource, parameters: Parameters) -> Iterator[Violation]:
    """A disk that leaves the building must be noise."""
    if resource.kind != "PersistentVolume":
        return
    path = resource.get("spec.local.path")
    if not isinstance(path, str):
        yield Violation("spec.local.path", "is missing or not known; only local volumes on encrypted paths are allowed")
    elif not _is_below(path, parameters.encrypted_paths):
        yield Violation("spec.local.path", f"{path} is below none of {', '.join(parameters.encrypted_paths)}")
    spec = resource.get("spec")
    for name in sorted(_OTHER_SOURCES_OF_A_VOLUME & set(spec)) if isinstance(spec, Mapping) else ():
        yield Violation(f"spec.{name}", "is no local volume on an encrypted path")


def _hosts_of(resource: Resource) -> list[str] | None:
    """The hosts that a volume's affinity names, where it names nothing else; None if it does."""
    terms = resource.get("spec.nodeAffinity.required.nodeSelectorTerms")
    found: list[str] = []
    for term in terms if isinstance(terms, (list, tuple)) else ():
        expressions = term.get("matchExpressions") if isinstance(term, Mapping) else ()
        # several expressions of a term narrow each other down; what one of them names may be too much, never too little
        named = [
            expression.get("values")
            for expression in (expressions if isinstance(expressions, (list, tuple)) else ())
            if isinstance(expression, Mapping)
            and expression.get("key") == _HOST_LABEL
            and expression.get("operator") == "In"
        ]
        if not named or not isinstance(named[0], (list, tuple)) or not all(isinstance(each, str) for each in named[0]):
            return None
        found += named[0]
    return found or None


@subject.rule(
    "volumes-on-encrypted-hosts", "Every persistent volume lies on a disk that is declared for its host and encrypted.",
    Severity.CRITICAL, ("SecNumCloud 3.2 10.1.a", "SecNumCloud 3.2 10.5.a"),
    "Declare a data device of that purpose at llmaas:hosts[].data_devices, or place the volume on a host that has one",
    in_a_lab="the rule asks for no encrypted device there",
)  # fmt: skip
def volumes_on_encrypted_hosts(resource: Resource, parameters: Parameters) -> Iterator[Violation]:
    """On a host without such a disk the right folder is a plain one; a lab, whose GPUs are simulated, holds no data."""
    if resource.kind != "PersistentVolume" or parameters.simulated:
        return
    path, hosts = resource.get("spec.local.path"), _hosts_of(resource)
    if hosts is None:
        yield Violation("spec.nodeAffinity", "does not say which hosts the volume lies on")
        return
    for host in hosts:
        mounts = parameters.encrypted_mounts.get(host, ())
        if not _is_below(path, mounts):
            shown = f"encrypted there are {', '.join(mounts)}" if mounts else "no encrypted device is declared for it"
            yield Violation("spec.nodeAffinity", f"{path} lies on {host}, and {shown}")


@subject.rule(
    "known-volume-sources", "Pods mount files of the cluster, sized scratch space and claims, and nothing else.",
    Severity.HIGH, ("SecNumCloud 3.2 10.1.a", "CIS Kubernetes 5.2.12"),
    "Use a claim on a local volume, and give each emptyDir a sizeLimit; or name a waiver", waivable=True,
)  # fmt: skip
def known_volume_sources(resource: Resource, _: Parameters) -> Iterator[Violation]:
    """A share of the network or a driver's volume is a disk that nobody here encrypted."""
    for volume in volumes_of(resource):
        if isinstance(volume, Violation):
            yield volume
            continue
        for name in sorted(set(volume.body) - {"name"} - _VOLUME_SOURCES - {"hostPath"}):
            yield Violation(f"{volume.path}.{name}", "is no kind of volume that is allowed")
        if volume.get("emptyDir") is not MISSING and volume.get("emptyDir.sizeLimit") in (MISSING, UNKNOWN):
            yield Violation(
                f"{volume.path}.emptyDir.sizeLimit", "is missing or not known; it could fill the host's disk"
            )


def _claims(resource: Resource) -> Iterator[Part | Violation]:
    """Claims as objects, and those that workloads make for their pods."""
    if resource.kind == "PersistentVolumeClaim":
        spec = resource.get("spec")
        known = isinstance(spec, Mapping)
        yield Part("spec", spec) if known else Violation("spec", "is missing or not known at preview")
    if resource.kind == "StatefulSet":
        spec = resource.get("spec")
        for template in parts(Part("spec", spec), "volumeClaimTemplates") if isinstance(spec, Mapping) else ():
            if isinstance(template, Violation):
                yield template
            else:
                inner = template.get("spec")
                yield Part(f"{template.path}.spec", inner if isinstance(inner, Mapping) else {})


@subject.stack_rule(
    "no-storage-from-elsewhere", "Claims are bound to declared local volumes; nothing is provisioned elsewhere.",
    Severity.HIGH, ("SecNumCloud 3.2 10.1.a", "SecNumCloud 3.2 19.2.a"),
    "Name the volume, or the storageClassName of declared volumes; a class has no provisioner",
)  # fmt: skip
def no_storage_from_elsewhere(resources: Sequence[Resource], _: Parameters) -> Iterator[Violation]:
    """A storage class with a provisioner puts data where nobody has encrypted it."""
    volumes = [resource for resource in resources if resource.kind == "PersistentVolume"]
    names = [volume.get("metadata.name") for volume in volumes]
    classes = [volume.get("spec.storageClassName") for volume in volumes]
    for resource in resources:
        if resource.kind == "StorageClass" and resource.get("provisioner") != "kubernetes.io/no-provisioner":
            shown = resource.get("provisioner")
            yield Violation(resource.label, f"provisioner is {shown!r}; only kubernetes.io/no-provisioner is allowed")
        for claim in _claims(resource):
            if isinstance(claim, Violation):
                yield Violation(resource.label, f"{claim.path} {claim.text}")
                continue
            name, storage_class = claim.get("volumeName"), claim.get("storageClassName")
            if not isinstance(storage_class, str):
                yield Violation(
                    resource.label,
                    f"{claim.path}.storageClassName is missing or not known, so the cluster's default would decide",
                )
            elif storage_class not in classes:
                yield Violation(
                    resource.label, f"{claim.path}.storageClassName {storage_class!r} is that of no declared volume"
                )
            if name is not MISSING and name not in names:
                yield Violation(resource.label, f"{claim.path}.volumeName {name!r} is no declared volume")
    yield from _claims_that_are_not_there(resources)


def _claims_that_are_not_there(resources: Sequence[Resource]) -> Iterator[Violation]:
    """Volumes of pods whose claim is made elsewhere, by somebody, on something."""
    claims = [(each.namespace, each.get("metadata.name")) for each in resources if each.kind == "PersistentVolumeClaim"]
    for resource in resources:
        for volume in volumes_of(resource):
            if isinstance(volume, Violation) or volume.get("persistentVolumeClaim") is MISSING:
                continue
            name = volume.get("persistentVolumeClaim.claimName")
            if (resource.namespace, name) not in claims:
                yield Violation(resource.label, f"{volume.path}.persistentVolumeClaim: {name!r} is no declared claim")


def _runs_a_store(resource: Resource) -> bool:
    """Whether a workload that stays up runs a database under its usual name."""
    if resource.kind not in {"DaemonSet", "Deployment", "Pod", "ReplicaSet", "ReplicationController"}:
        return False
    images = [each.get("image") for each in containers_of(resource) if isinstance(each, Part)]
    return any(_STORES.intersection(names_in(image)) for image in images)


@subject.rule(
    "stateful-data-on-a-claim", "Whatever keeps state keeps it on a claim.", Severity.HIGH,
    ("SecNumCloud 3.2 10.1.a", "SecNumCloud 3.2 12.5.a"), "Mount a claim where the program keeps its data",
)  # fmt: skip
def stateful_data_on_a_claim(resource: Resource, _: Parameters) -> Iterator[Violation]:
    """Scratch space lies where the kubelet wants it and ends with the pod."""
    if resource.kind != "StatefulSet" and not _runs_a_store(resource):
        return
    templates = resource.get("spec.volumeClaimTemplates")
    claims = bool(isinstance(templates, (list, tuple)) and templates)
    for volume in volumes_of(resource):
        if isinstance(volume, Violation):
            yield volume
        elif volume.get("persistentVolumeClaim") is not MISSING:
            claims = True
    if not claims:
        yield Violation("spec.template.spec.volumes", "has no claim, so its data would end with the pod")
