"""When is an object ready? One function a kind, after the official provider's rules."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lab.standins.kubernetes_provider import pods
from lab.standins.kubernetes_provider.cluster import Cluster
from lab.standins.kubernetes_provider.errors import ApiError
from lab.standins.kubernetes_provider.objects import Kind

_POD = Kind("v1", "Pod")
_SLICE = Kind("discovery.k8s.io/v1", "EndpointSlice")
_STORAGE_CLASS = Kind("storage.k8s.io/v1", "StorageClass")


@dataclass(frozen=True)
class Verdict:
    """What is known about an object's readiness.

    Attributes:
        ready: it is.
        message: what it waits for, in the user's words.
        failed: it will not become ready by waiting.
        details: reasons, such as those of its pods.
    """

    ready: bool
    message: str = ""
    failed: bool = False
    details: list[str] = field(default_factory=list)


READY = Verdict(ready=True)
Check = Callable[[dict[str, Any], Cluster], Verdict]


def check_for(kind: Kind) -> tuple[Check, float] | None:
    """Give the check of a kind and how many seconds it may take; None if a kind is ready once it exists."""
    return _CHECKS.get((kind.group, kind.name))


def _observed(live: Mapping[str, Any]) -> bool:
    generation = live["metadata"].get("generation", 0)
    return bool((live.get("status") or {}).get("observedGeneration", 0) >= generation)


def _pod_reasons(live: Mapping[str, Any], cluster: Cluster, selector: Mapping[str, str] | None = None) -> list[str]:
    labels = selector or ((live["spec"].get("selector") or {}).get("matchLabels")) or {}
    if not labels:
        return []
    query = ",".join(f"{key}={value}" for key, value in labels.items())
    found = cluster.list(_POD, live["metadata"]["namespace"], labelSelector=query)
    return pods.unready_reasons(found)


def _deployment(live: dict[str, Any], cluster: Cluster) -> Verdict:
    if not _observed(live):
        return Verdict(ready=False, message="Waiting for the controller to see the new specification")
    status, desired = live.get("status") or {}, live["spec"].get("replicas", 1)
    progressing = pods.condition(live, "Progressing")
    if progressing.get("reason") == "ProgressDeadlineExceeded":
        return Verdict(
            ready=False, message=progressing.get("message", ""), failed=True, details=_pod_reasons(live, cluster)
        )
    refused = pods.condition(live, "ReplicaFailure")
    updated, available = status.get("updatedReplicas", 0), status.get("availableReplicas", 0)
    if updated >= desired and status.get("replicas", 0) == updated and available >= desired:
        return READY
    details = [refused.get("message", "")] if refused.get("status") == "True" else _pod_reasons(live, cluster)
    return Verdict(
        ready=False,
        message=f"Waiting for rollout: {updated} of {desired} replicas updated, {available} available",
        details=details,
    )


def _stateful_set(live: dict[str, Any], cluster: Cluster) -> Verdict:
    if not _observed(live):
        return Verdict(ready=False, message="Waiting for the controller to see the new specification")
    status, spec = live.get("status") or {}, live["spec"]
    desired, strategy = spec.get("replicas", 1), spec.get("updateStrategy") or {}
    partition = (strategy.get("rollingUpdate") or {}).get("partition", 0)
    ready, updated = status.get("readyReplicas", 0), status.get("updatedReplicas", 0)
    on_delete = strategy.get("type") == "OnDelete"
    rolled = on_delete or updated >= desired - partition
    settled = on_delete or partition or status.get("currentRevision") == status.get("updateRevision")
    if ready >= desired and rolled and settled:
        return READY
    return Verdict(
        ready=False,
        message=f"Waiting for StatefulSet: {updated} of {desired} replicas updated, {ready} ready",
        details=_pod_reasons(live, cluster),
    )


def _daemon_set(live: dict[str, Any], cluster: Cluster) -> Verdict:
    if not _observed(live):
        return Verdict(ready=False, message="Waiting for the controller to see the new specification")
    status = live.get("status") or {}
    desired, available = status.get("desiredNumberScheduled", 0), status.get("numberAvailable", 0)
    updated = status.get("updatedNumberScheduled", 0)
    on_delete = (live["spec"].get("updateStrategy") or {}).get("type") == "OnDelete"
    if available >= desired and (on_delete or updated >= desired):
        return READY
    return Verdict(
        ready=False,
        message=f"Waiting for DaemonSet: {updated} of {desired} pods updated, {available} available",
        details=_pod_reasons(live, cluster),
    )


def _job(live: dict[str, Any], cluster: Cluster) -> Verdict:
    if live["spec"].get("suspend") or pods.condition(live, "Complete").get("status") == "True":
        return READY
    failed = pods.condition(live, "Failed")
    selector = {"batch.kubernetes.io/job-name": live["metadata"]["name"]}
    if failed.get("status") == "True":
        text = f"Job failed: {failed.get('reason')}: {failed.get('message')}"
        return Verdict(ready=False, message=text, failed=True, details=_pod_reasons(live, cluster, selector))
    status = live.get("status") or {}
    text = f"Waiting for Job: {status.get('active', 0)} pods active, {status.get('succeeded', 0)} succeeded"
    return Verdict(ready=False, message=text, details=_pod_reasons(live, cluster, selector))


def _pod(live: dict[str, Any], cluster: Cluster) -> Verdict:
    del cluster
    if pods.is_ready(live):
        return READY
    failed = (live.get("status") or {}).get("phase") == "Failed"
    return Verdict(
        ready=False, message="Waiting for the pod to be ready", failed=failed, details=pods.unready_reasons([live])
    )


def _service(live: dict[str, Any], cluster: Cluster) -> Verdict:
    spec = live["spec"]
    if spec.get("type") == "ExternalName":
        return READY
    if spec.get("type") == "LoadBalancer" and not ((live.get("status") or {}).get("loadBalancer") or {}).get("ingress"):
        return Verdict(
            ready=False,
            message="Service was not allocated an IP address; does your cloud provider support this?",
        )
    selector = spec.get("selector")
    if not selector:
        return READY
    metadata = live["metadata"]
    label = f"kubernetes.io/service-name={metadata['name']}"
    for part in cluster.list(_SLICE, metadata["namespace"], labelSelector=label):
        if any((entry.get("conditions") or {}).get("ready", True) for entry in part.get("endpoints") or []):
            return READY
    return Verdict(
        ready=False,
        message="Service does not target any Pods. Selected Pods may not be ready, "
        "or field '.spec.selector' may not match labels on any Pods",
        details=_pod_reasons(live, cluster, selector),
    )


def _claim(live: dict[str, Any], cluster: Cluster) -> Verdict:
    if (live.get("status") or {}).get("phase") == "Bound":
        return READY
    name = live["spec"].get("storageClassName")
    if name:
        try:
            storage_class = cluster.get(_STORAGE_CLASS, "", name)
        except ApiError as error:
            if error.status != 404:
                raise
            storage_class = {}
        # Such a claim is bound only when a pod uses it, which may well be created after it.
        if storage_class.get("volumeBindingMode") == "WaitForFirstConsumer":
            return READY
    return Verdict(ready=False, message="PersistentVolumeClaim was not bound")


def _phase(*wanted: str) -> Check:
    def check(live: dict[str, Any], cluster: Cluster) -> Verdict:
        del cluster
        phase = (live.get("status") or {}).get("phase")
        return READY if phase in wanted else Verdict(ready=False, message=f"Waiting: phase is {phase or 'not set'}")

    return check


def _definition(live: dict[str, Any], cluster: Cluster) -> Verdict:
    accepted = pods.condition(live, "NamesAccepted")
    if pods.condition(live, "Established").get("status") == "True":
        for version in live["spec"].get("versions") or []:
            cluster.forget_kinds(f"{live['spec']['group']}/{version['name']}")
        return READY
    failed = accepted.get("status") == "False"
    text = accepted.get("message", "") if failed else "Waiting for the definition to be established"
    return Verdict(ready=False, message=text, failed=failed)


def _quota(live: dict[str, Any], cluster: Cluster) -> Verdict:
    del cluster
    if (live.get("status") or {}).get("hard") == live["spec"].get("hard"):
        return READY
    return Verdict(ready=False, message="Waiting for the quota to be taken over")


def _ingress(live: dict[str, Any], cluster: Cluster) -> Verdict:
    del cluster
    if ((live.get("status") or {}).get("loadBalancer") or {}).get("ingress"):
        return READY
    return Verdict(ready=False, message="Ingress .status.loadBalancer field was not updated with a hostname/IP address")


_CHECKS: dict[tuple[str, str], tuple[Check, float]] = {
    ("apps", "Deployment"): (_deployment, 600),
    ("apps", "StatefulSet"): (_stateful_set, 600),
    ("apps", "DaemonSet"): (_daemon_set, 600),
    ("batch", "Job"): (_job, 600),
    ("", "Pod"): (_pod, 600),
    ("", "Service"): (_service, 600),
    ("", "PersistentVolumeClaim"): (_claim, 300),
    ("", "PersistentVolume"): (_phase("Available", "Bound"), 300),
    ("", "Namespace"): (_phase("Active"), 300),
    ("", "ResourceQuota"): (_quota, 60),
    ("networking.k8s.io", "Ingress"): (_ingress, 600),
    ("apiextensions.k8s.io", "CustomResourceDefinition"): (_definition, 60),
}
