import base64
import http.client
import json
import os
import secrets
import shlex
import ssl
import time
from typing import Any

import kubernetes
import pytest
from host.pods import running_pods
from host.probing import Attempt, Machine

from llmaas.paths import ENVIRONMENT_VARIABLE
from llmaas.settings import Host, Platform, load_platform
from llmaas.views.topology import namespaces
from llmaas.views.zones import parts

NAMESPACES = namespaces(load_platform(os.environ.get(ENVIRONMENT_VARIABLE) or "lab"))
# Written out here on purpose: what each namespace lets its pods be.
LEVELS = {
    **dict.fromkeys(
        ("llmaas-edge", "llmaas-gateway", "llmaas-serving", "llmaas-data", "llmaas-monitoring"), "restricted"
    ),
    # where there are real GPUs: the device plugin and the exporter reach into the host, as a waiver says
    "llmaas-gpu": "privileged",
}
# What listens in a pod is tried from within the pod: hosts are let in for probes alone, and a firewall's silence would
# hide what the listener does.
# The listeners of the parts: a port, and how TLS begins there.
PART_LISTENERS = {
    "edge": ((8443, ""), (9443, "")),
    "litellm": ((8443, ""), (9443, "")),
    "vllm": ((8443, ""), (9443, "")),
    "postgres": ((5432, "postgres"),),
    "redis": ((6379, ""),),
    "prometheus": ((9090, ""),),
    # where there are real GPUs
    "dcgm-exporter": ((9443, ""),),
}
RULES_WITHIN_SECONDS = 10
LOOPBACK_ONLY = {"vllm": (8000,), "litellm": (4000,)}
# Written out here on purpose: where each control host keeps what its API server was asked.
AUDIT_FOLDER = "/var/log/kubernetes/audit"
AUDITED_WITHIN_SECONDS = 60
# Asks etcd by its JSON interface on the control host, with the host's own certificate: every key below a prefix.
ETCD_SCRIPT = r"""
import base64, json, ssl, sys, urllib.request
folder = "/etc/kubernetes/pki/etcd/"
context = ssl.create_default_context(cafile=folder + "ca.crt")
context.load_cert_chain(folder + "healthcheck-client.crt", folder + "healthcheck-client.key")
start = sys.argv[1].encode()
end = start[:-1] + bytes([start[-1] + 1])
body = json.dumps({"key": base64.b64encode(start).decode(), "range_end": base64.b64encode(end).decode()}).encode()
request = urllib.request.Request("https://127.0.0.1:2379/v3/kv/range", body, {"content-type": "application/json"})
found = json.load(urllib.request.urlopen(request, context=context)).get("kvs", [])
print(json.dumps({base64.b64decode(kv["key"]).decode(): kv["value"][:40] for kv in found}))
"""


def test_the_nodes_are_the_declared_hosts_and_all_are_ready(
    cluster: kubernetes.client.CoreV1Api, platform: Platform
) -> None:
    nodes = cluster.list_node().items
    ready = {
        node.metadata.name
        for node in nodes
        if any(item.type == "Ready" and item.status == "True" for item in node.status.conditions)
    }
    assert {node.metadata.name for node in nodes} == {host.name for host in platform.hosts} == ready


def test_every_node_runs_the_declared_version(cluster: kubernetes.client.CoreV1Api, platform: Platform) -> None:
    versions = {node.metadata.name: node.status.node_info.kubelet_version for node in cluster.list_node().items}
    assert set(versions.values()) == {f"v{platform.kubernetes.version}"}


def test_the_node_counts_the_declared_gpus(cluster: kubernetes.client.CoreV1Api, declared: Host) -> None:
    node = cluster.read_node(declared.name)
    counted = int(node.status.allocatable.get("nvidia.com/gpu", 0))
    assert counted == (declared.gpus.count if declared.gpus else 0)


def test_replicas_run_on_the_hosts_that_the_stack_file_names(
    cluster: kubernetes.client.CoreV1Api, platform: Platform
) -> None:
    wanted = sorted(
        host
        for model in platform.models
        if model.phase != "removed"
        for host, n in model.placement.items()
        for _ in range(n)
    )
    assert sorted(pod.host for pod in running_pods(cluster) if pod.part == "vllm") == wanted


@pytest.mark.parametrize(
    "path", ["/api", "/apis", "/version", "/openapi/v2", "/metrics", "/api/v1/namespaces/default/pods"]
)
def test_nobody_without_a_certificate_learns_anything_from_the_api(platform: Platform, path: str) -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connection = http.client.HTTPSConnection(str(platform.kubernetes.api_address), 6443, context=context, timeout=10)
    connection.request("GET", path)
    assert connection.getresponse().status == 401


def test_the_kubelet_answers_nobody_without_a_certificate(machine: Machine, declared: Host) -> None:
    request = "GET /pods HTTP/1.1\r\nHost: kubelet\r\nConnection: close\r\n\r\n"
    (answer,) = machine.attempt([Attempt(str(declared.address), 10250, tls="1.3", request=request)])
    assert answer.startswith(("HTTP/1.1 401", "rejected")), answer


@pytest.mark.parametrize("kind", ["secrets", "configmaps"])
def test_secrets_lie_encrypted_in_etcd(control: Machine, kind: str) -> None:
    found = control.json("/usr/bin/python3", "-c", ETCD_SCRIPT, f"/registry/{kind}/")
    assert found, "etcd holds none: the check shows nothing"
    # What lies there is cut to its head; a plain object begins with k8s followed by a zero byte.
    plain = [key for key, value in found.items() if not base64.b64decode(value[:40]).startswith(b"k8s:enc:")]
    assert plain == []


def test_the_api_records_who_did_what_to_a_secret_and_never_what_it_holds(
    machines: dict[str, Machine], cluster: kubernetes.client.CoreV1Api, platform: Platform
) -> None:
    name, held = f"verify-{secrets.token_hex(6)}", secrets.token_hex(16)
    metadata = kubernetes.client.V1ObjectMeta(name=name)
    body = kubernetes.client.V1Secret(metadata=metadata, string_data={"word": held})
    cluster.create_namespaced_secret("default", body)
    try:
        answered = cluster.read_namespaced_secret(name, "default")
    finally:
        cluster.delete_namespaced_secret(name, "default")
    encoded = base64.b64encode(held.encode()).decode()
    assert answered.data == {"word": encoded}
    review = kubernetes.client.AuthenticationV1Api(cluster.api_client).create_self_subject_review(
        kubernetes.client.V1SelfSubjectReview()
    )
    # Which API server answered is not known from here; each writes what it was asked.
    controls = [machines[host.name] for host in platform.hosts_with_role("control")]
    deadline = time.monotonic() + AUDITED_WITHIN_SECONDS
    while len(records := [record for machine in controls for record in _audited(machine, name)]) < 3:
        assert time.monotonic() < deadline, f"of three requests the audit logs have {len(records)}: {records}"
        time.sleep(1)
    whole = [record for record in records if {"requestObject", "responseObject"} & record.keys()]
    assert whole == []
    told = {(record["verb"], record["level"], record["user"]["username"]) for record in records}
    assert told == {(verb, "Metadata", review.status.user_info.username) for verb in ("create", "get", "delete")}
    assert {(record["objectRef"]["resource"], record["objectRef"]["name"]) for record in records} == {("secrets", name)}
    assert [record for machine in controls for record in _audited(machine, held, encoded)] == []


def _audited(machine: Machine, *words: str) -> list[Any]:
    """The records of a control host's API server, closed files included, that hold one of the words."""
    patterns = [argument for word in words for argument in ("-e", word)]
    command = ("grep", "--recursive", "--no-filename", "--fixed-strings", *patterns, AUDIT_FOLDER)
    found = machine.remote.run(shlex.join(command))
    assert found.rc in {0, 1}, found.stderr
    return [json.loads(line) for line in found.stdout.splitlines()]


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_a_namespace_denies_both_ways_and_restricts_its_pods(
    cluster: kubernetes.client.CoreV1Api, namespace: str
) -> None:
    labels = cluster.read_namespace(namespace).metadata.labels
    assert labels["pod-security.kubernetes.io/enforce"] == LEVELS[namespace]
    networking = kubernetes.client.NetworkingV1Api(cluster.api_client)
    denying = [
        policy.metadata.name
        for policy in networking.list_namespaced_network_policy(namespace).items
        if set(policy.spec.policy_types) == {"Ingress", "Egress"}
        and not policy.spec.pod_selector.match_labels
        and not policy.spec.pod_selector.match_expressions
        and not policy.spec.ingress
        and not policy.spec.egress
    ]
    assert denying


def test_the_name_service_is_denied_both_ways_all_but_what_policies_name(cluster: kubernetes.client.CoreV1Api) -> None:
    listed = kubernetes.client.NetworkingV1Api(cluster.api_client).list_namespaced_network_policy("kube-system").items
    specs = [each["spec"] for each in cluster.api_client.sanitize_for_serialization(listed)]
    # one with expressions may select its pods, too
    selecting = [
        spec
        for spec in specs
        if "matchExpressions" in spec["podSelector"]
        or spec["podSelector"].get("matchLabels", {}).items() <= {"k8s-app": "kube-dns"}.items()
    ]
    assert {kind for spec in selecting for kind in spec["policyTypes"]} == {"Ingress", "Egress"}
    for direction, side, ports in (
        ("ingress", "from", {("UDP", 53), ("TCP", 53)}),
        ("egress", "to", {("TCP", 6443)}),
    ):
        rules = [rule for spec in selecting for rule in spec.get(direction, [])]
        assert {(port["protocol"], port["port"]) for rule in rules for port in rule["ports"]} == ports
        for rule in rules:
            assert rule[side], "no peers are all the world"
            for peer in rule[side]:
                assert (
                    peer["ipBlock"]["cidr"].endswith("/32") if "ipBlock" in peer else peer["podSelector"]["matchLabels"]
                )


def test_every_container_runs_an_image_named_by_its_digest(cluster: kubernetes.client.CoreV1Api) -> None:
    pods = {name: cluster.list_namespaced_pod(name).items for name in NAMESPACES}
    assert [name for name, found in pods.items() if not found] == []
    floating = [
        f"{pod.metadata.name}: {container.image}"
        for found in pods.values()
        for pod in found
        for container in [*pod.spec.containers, *(pod.spec.init_containers or ())]
        if "@sha256:" not in container.image
    ]
    assert floating == []


def test_ways_to_services_outlast_a_new_start_of_kube_proxy(
    machines: dict[str, Machine], cluster: kubernetes.client.CoreV1Api, platform: Platform
) -> None:
    host = platform.hosts[-1].name
    command = ("nft", "list", "map", "ip", "kube-proxy", "service-ips")
    before = machines[host].output(*command)
    assert before.count(" : goto service-") > 1, before
    old = _kube_proxy(cluster, host)
    assert old is not None
    cluster.delete_namespaced_pod(old.metadata.name, "kube-system")
    deadline = time.monotonic() + 60
    while (new := _kube_proxy(cluster, host)) is None or new.metadata.uid == old.metadata.uid:
        assert time.monotonic() < deadline, f"kube-proxy did not come back on {host}"
        time.sleep(1)
    # it reads the rules back, and brings them to what they must be
    time.sleep(RULES_WITHIN_SECONDS)
    assert sorted(machines[host].output(*command).split()) == sorted(before.split())


def _kube_proxy(cluster: kubernetes.client.CoreV1Api, host: str) -> kubernetes.client.V1Pod | None:
    """The pod of kube-proxy that is ready on a host."""
    found = cluster.list_namespaced_pod(
        "kube-system", label_selector="k8s-app=kube-proxy", field_selector=f"spec.nodeName={host}"
    ).items
    return next(
        (
            pod
            for pod in found
            if pod.metadata.deletion_timestamp is None
            and any(item.type == "Ready" and item.status == "True" for item in pod.status.conditions or ())
        ),
        None,
    )


def test_every_listener_of_every_part_speaks_tls_1_3_only(
    machines: dict[str, Machine], cluster: kubernetes.client.CoreV1Api, platform: Platform
) -> None:
    pods = [pod for pod in running_pods(cluster) if pod.part in PART_LISTENERS]
    assert {pod.part for pod in pods} == set(PART_LISTENERS) & {part.name for part in parts(platform)}
    wrong = []
    for pod in pods:
        listeners = PART_LISTENERS[pod.part]
        attempts = [Attempt(pod.address, port, v, start) for port, start in listeners for v in ("1.2", "1.3")]
        for attempt, outcome in zip(attempts, machines[pod.host].attempt(attempts, pod.address), strict=True):
            good = outcome == "TLSv1.3" if attempt.tls == "1.3" else outcome.startswith("rejected")
            if not good:
                wrong.append(f"{pod.name}:{attempt.port} with TLS {attempt.tls}: {outcome}")
    assert wrong == []


def test_the_administration_listener_ends_connections_that_come_from_no_bastion(
    machines: dict[str, Machine], cluster: kubernetes.client.CoreV1Api
) -> None:
    pods = [pod for pod in running_pods(cluster) if pod.part == "edge"]
    assert pods
    for pod in pods:
        (outcome,) = machines[pod.host].attempt([Attempt(pod.address, 8444, tls="1.3")], pod.address)
        assert outcome.startswith("rejected"), f"{pod.name}: {outcome}"


@pytest.mark.parametrize("part", LOOPBACK_ONLY)
def test_a_program_behind_its_proxy_listens_on_loopback_alone(
    machines: dict[str, Machine], cluster: kubernetes.client.CoreV1Api, part: str
) -> None:
    pods = [pod for pod in running_pods(cluster) if pod.part == part]
    assert pods
    for pod in pods:
        found = machines[pod.host].attempt([Attempt(pod.address, port) for port in LOOPBACK_ONLY[part]], pod.address)
        assert found == ["refused"] * len(LOOPBACK_ONLY[part]), pod.name
