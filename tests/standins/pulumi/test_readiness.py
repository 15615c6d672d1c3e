"""An update waits until objects are ready, and says why they are not."""

import json
import signal
import subprocess
import threading
from collections.abc import Callable
from typing import Any

from lab.toolchain import tool_path

DEPLOYMENT = """
ns = k8s.core.v1.Namespace("ns", metadata=meta(NAMESPACE))
web = k8s.apps.v1.Deployment("web", metadata=meta("web", NAMESPACE), spec=dict(
    replicas={replicas}, progress_deadline_seconds=10, selector={{"match_labels": {{"app": "web"}}}},
    template={{"metadata": {{"labels": {{"app": "web"}}}}, "spec": {{"containers": [
        {{"name": "web", "image": "x/y:1"}}]}}}}), opts=Options(depends_on=[ns]))
"""
SERVICE = """
k8s.core.v1.Service("web", metadata=meta("web", NAMESPACE), spec=dict(
    selector={"app": "web"}, ports=[{"port": 80}]), opts=Options(depends_on=[ns]))
"""
ENDPOINTS = {
    "apiVersion": "discovery.k8s.io/v1",
    "kind": "EndpointSlice",
    # The controller writes none for pods without a node, so the test does.
    "metadata": {"name": "web-by-hand", "labels": {"kubernetes.io/service-name": "web"}},
    "addressType": "IPv4",
    "endpoints": [{"addresses": ["10.9.9.9"], "conditions": {"ready": True}}],
    "ports": [{"port": 80}],
}


def set_pod_status(api_server: Any, namespace: str, status: dict[str, Any]) -> None:
    """Write what a kubelet would report of each pod; the tests' cluster has no nodes."""
    for pod in api_server.object("pods", "-n", namespace)["items"]:
        patch = json.dumps({"status": status})
        name = pod["metadata"]["name"]
        api_server.kubectl("patch", "pod", name, "-n", namespace, "--subresource=status", "--type=merge", "-p", patch)


def pods_exist(api_server: Any, namespace: str) -> bool:
    return "web-" in api_server.kubectl("get", "pods", "-n", namespace, "-o", "name", check=False)


def test_an_update_ends_only_when_the_pods_are_ready(
    project: Any, api_server: Any, until: Callable[[Callable[[], bool], str], None]
) -> None:
    project.program(DEPLOYMENT.format(replicas=2) + SERVICE)
    done = threading.Event()

    def update() -> None:
        project.up()
        done.set()

    updating = threading.Thread(target=update)
    updating.start()
    until(lambda: pods_exist(api_server, project.namespace), "pods exist")
    assert not done.wait(3), "the update must not end before its pods are ready"
    ready = {
        "phase": "Running",
        "podIP": "10.9.9.9",
        "podIPs": [{"ip": "10.9.9.9"}],
        "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}],
    }
    set_pod_status(api_server, project.namespace, ready)
    assert not done.wait(3), "the Service has no endpoints yet"
    api_server.client.post(
        f"/apis/discovery.k8s.io/v1/namespaces/{project.namespace}/endpointslices", json=ENDPOINTS
    ).raise_for_status()
    assert done.wait(60)
    updating.join()


def test_a_failed_rollout_names_the_pods_reason_and_can_be_mended(
    project: Any, api_server: Any, until: Callable[[Callable[[], bool], str], None]
) -> None:
    project.program(DEPLOYMENT.format(replicas=1))
    outcomes: list[Any] = []
    updating = threading.Thread(target=lambda: outcomes.append(project.up(fails=True)))
    updating.start()
    until(lambda: pods_exist(api_server, project.namespace), "a pod exists")
    waiting = {"reason": "ImagePullBackOff", "message": "no such image x/y:1"}
    state = {"name": "web", "image": "x/y:1", "imageID": "", "ready": False, "restartCount": 0}
    set_pod_status(api_server, project.namespace, {"containerStatuses": [{**state, "state": {"waiting": waiting}}]})
    updating.join()
    assert "ImagePullBackOff: no such image x/y:1" in outcomes[0].output
    assert "web" in project.resources(), "the object exists, so the state has to know it"

    project.program(DEPLOYMENT.format(replicas=0))
    project.up()
    assert project.preview() == {}


def test_a_job_that_failed_is_reported_at_once(
    project: Any, api_server: Any, until: Callable[[Callable[[], bool], str], None]
) -> None:
    project.program(
        """
ns = k8s.core.v1.Namespace("ns", metadata=meta(NAMESPACE))
k8s.batch.v1.Job("web", metadata=meta("web", NAMESPACE), spec=dict(backoff_limit=0, template={"spec": {
    "restartPolicy": "Never", "containers": [{"name": "web", "image": "x/y:1"}]}}), opts=Options(depends_on=[ns]))
"""
    )
    outcomes: list[Any] = []
    updating = threading.Thread(target=lambda: outcomes.append(project.up(fails=True)))
    updating.start()
    until(lambda: pods_exist(api_server, project.namespace), "a pod exists")
    set_pod_status(api_server, project.namespace, {"phase": "Failed"})
    updating.join()
    assert "BackoffLimitExceeded" in outcomes[0].output


def test_an_interrupt_ends_the_wait_and_keeps_what_was_made(
    project: Any, api_server: Any, until: Callable[[Callable[[], bool], str], None]
) -> None:
    project.program(DEPLOYMENT.format(replicas=1).replace("progress_deadline_seconds=10", "paused=False"))
    command = [str(tool_path("pulumi")), "up", "--yes", "--skip-preview", "--non-interactive"]
    with subprocess.Popen(command, cwd=project.folder, env=project.environment, stdout=subprocess.DEVNULL) as engine:
        until(lambda: pods_exist(api_server, project.namespace), "a pod exists")
        engine.send_signal(signal.SIGINT)
        assert engine.wait(timeout=20) != 0
    assert "web" in project.resources()
    project.program(DEPLOYMENT.format(replicas=0))
    project.up()
