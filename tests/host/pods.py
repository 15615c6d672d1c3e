"""Which pods run where, and how the platform's parts are told apart."""

from dataclasses import dataclass

import kubernetes

from llmaas.views.zones import NAME_SERVICE

PART_LABEL = "app.kubernetes.io/name"


@dataclass(frozen=True)
class RunningPod:
    """A pod that is ready, with the host that runs it."""

    part: str
    namespace: str
    name: str
    host: str
    address: str


def running_pods(cluster: kubernetes.client.CoreV1Api) -> list[RunningPod]:
    """The ready pods of the platform's own namespaces."""
    found = []
    for pod in cluster.list_pod_for_all_namespaces(field_selector="status.phase=Running").items:
        ready = any(item.type == "Ready" and item.status == "True" for item in pod.status.conditions or ())
        # A job's pod may end while it is looked at.
        lasting = all(owner.kind != "Job" for owner in pod.metadata.owner_references or ())
        if pod.metadata.namespace.startswith("llmaas-") and ready and lasting and not pod.spec.host_network:
            part = pod.metadata.labels.get(PART_LABEL, pod.metadata.name)
            found.append(
                RunningPod(part, pod.metadata.namespace, pod.metadata.name, pod.spec.node_name, pod.status.pod_ip)
            )
    return found


def one_of_each(pods: list[RunningPod]) -> dict[str, RunningPod]:
    """A pod of every part."""
    return {pod.part: pod for pod in pods}


def name_service_pods(cluster: kubernetes.client.CoreV1Api) -> list[RunningPod]:
    """The running pods of CoreDNS, which lie outside the platform's own namespaces."""
    listed = cluster.list_namespaced_pod(
        "kube-system", label_selector="k8s-app=kube-dns", field_selector="status.phase=Running"
    )
    return [
        RunningPod(NAME_SERVICE, "kube-system", pod.metadata.name, pod.spec.node_name, pod.status.pod_ip)
        for pod in listed.items
    ]
