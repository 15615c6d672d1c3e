"""Every workload that runs is one that preview's rules about workloads let pass, whoever made it and however."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import kubernetes
import pytest
from host.excuses import Record, tell
from host.judged_rules import excused_by, of_workloads
from llmaas_policies.model import Resource

from llmaas.settings import Platform
from llmaas.views.policies import policy_parameters

# What kubeadm makes; the pod network's own workloads are the site's choice, and the stack file names them.
KUBEADM_WORKLOADS = {"DaemonSet kube-system/kube-proxy", "Deployment kube-system/coredns"}
CONTROL_PLANE = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")


def _workloads(cluster: kubernetes.client.CoreV1Api) -> Iterator[dict[str, Any]]:
    """Everything that makes pods, and pods that nothing made, as the API has them."""
    client = cluster.api_client
    apps, batch = kubernetes.client.AppsV1Api(client), kubernetes.client.BatchV1Api(client)
    for version, kind, listed in (
        ("apps/v1", "DaemonSet", apps.list_daemon_set_for_all_namespaces),
        ("apps/v1", "Deployment", apps.list_deployment_for_all_namespaces),
        ("apps/v1", "ReplicaSet", apps.list_replica_set_for_all_namespaces),
        ("apps/v1", "StatefulSet", apps.list_stateful_set_for_all_namespaces),
        ("batch/v1", "CronJob", batch.list_cron_job_for_all_namespaces),
        ("batch/v1", "Job", batch.list_job_for_all_namespaces),
        ("v1", "Pod", cluster.list_pod_for_all_namespaces),
        ("v1", "ReplicationController", cluster.list_replication_controller_for_all_namespaces),
    ):
        for body in client.sanitize_for_serialization(listed().items):
            # a list's items do not say what they are
            yield {**body, "apiVersion": version, "kind": kind}


def _made_by_another(body: dict[str, Any]) -> bool:
    """Whether what controls it is judged in its place; a node controls the static pods of its host."""
    owners = body["metadata"].get("ownerReferences", [])
    return any(owner.get("controller") and owner["kind"] != "Node" for owner in owners)


@pytest.fixture(scope="module")
def judged(cluster: kubernetes.client.CoreV1Api, platform: Platform) -> list[Resource]:
    """All of it but what the cluster itself consists of."""
    hosts = platform.hosts_with_role("control")
    own = {f"Pod kube-system/{program}-{host.name}" for program in CONTROL_PLANE for host in hosts}
    own |= KUBEADM_WORKLOADS | set(platform.network.pod_network_workloads)
    resources = [Resource(body) for body in _workloads(cluster) if not _made_by_another(body)]
    found = [resource for resource in resources if resource.label not in own]
    assert len(found) < len(resources), "nothing of the cluster itself was found: the names are not as they are here"
    return found


@pytest.mark.parametrize("rule", of_workloads(), ids=lambda rule: rule.name)
def test_no_workload_breaks_a_rule_of_preview(
    judged: list[Resource], platform: Platform, rule: Any, record_property: Record
) -> None:
    assert judged
    parameters = policy_parameters(platform, datetime.now(UTC).date())
    tell(record_property, excused_by(rule, judged, parameters))
    found = [f"{each.label}: {wrong.path} {wrong.text}" for each in judged for wrong in rule.findings(each, parameters)]
    assert found == []
