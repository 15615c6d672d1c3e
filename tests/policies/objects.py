"""A small environment that keeps every rule, from which each test takes one thing away."""

import copy
from typing import Any

from llmaas_policies.model import Parameters

REGISTRY = "registry.example:5000"
PARAMETERS = Parameters(
    registry=REGISTRY,
    edge_namespace="edge",
    encrypted_paths=("/var/lib/llmaas",),
    country="FR",
    stable_models=("granite",),
    today="2026-11-24",
)
DIGEST = "@sha256:" + "a" * 64


def namespace(name: str) -> dict[str, Any]:
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def default_deny(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "default-deny", "namespace": name},
        "spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]},
    }


def container(program: str, version: str) -> dict[str, Any]:
    return {
        "name": program,
        "image": f"{REGISTRY}/llmaas/{program}:{version}{DIGEST}",
        "args": [],
        "env": [],
        "ports": [{"containerPort": 8443}],
        "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "1Gi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }


def deployment(name: str, space: str, *containers: dict[str, Any], model: str = "", host: str = "") -> dict[str, Any]:
    pod: dict[str, Any] = {
        "automountServiceAccountToken": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "initContainers": [container("haproxy", "2.6")],
        "containers": list(containers),
        "volumes": [{"name": "tmp", "emptyDir": {}}],
    }
    if host:
        pod["nodeSelector"] = {"kubernetes.io/hostname": host}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": space},
        "spec": {
            "replicas": 1,
            "template": {"metadata": {"labels": {"app": name, "llmaas.io/model": model}}, "spec": pod},
        },
    }


def _vllm(host: str) -> dict[str, Any]:
    server = container("vllm", "0.32.0")
    server["args"] = ["--host", "127.0.0.1", "--model", "/models"]
    names = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "VLLM_NO_USAGE_STATS")
    server["env"] = [{"name": name, "value": "1"} for name in names]
    return deployment(f"granite-{host}", "serving", server, model="granite", host=host)


def _litellm() -> dict[str, Any]:
    proxy = container("litellm", "1.106.2")
    proxy["env"] = [
        {"name": "LITELLM_TELEMETRY", "value": "False"},
        {"name": "LITELLM_LOCAL_MODEL_COST_MAP", "value": "True"},
        {"name": "LITELLM_MASTER_KEY", "valueFrom": {"secretKeyRef": {"name": "litellm", "key": "master"}}},
    ]
    return deployment("litellm", "gateway", proxy)


LITELLM_CONFIG = """
litellm_settings: {turn_off_message_logging: true, telemetry: false}
general_settings: {store_prompts_in_spend_logs: false, allow_requests_on_db_unavailable: false}
"""


def good() -> dict[str, dict[str, Any]]:
    """The objects by a short name; a fresh copy each time."""
    spaces = ("edge", "gateway", "serving", "data")
    objects: dict[str, dict[str, Any]] = {f"namespace-{space}": namespace(space) for space in spaces}
    objects |= {f"deny-{space}": default_deny(space) for space in spaces}
    objects["allow"] = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "from-gateway", "namespace": "serving"},
        "spec": {
            "podSelector": {"matchLabels": {"app": "vllm"}},
            "policyTypes": ["Ingress"],
            "ingress": [{"from": [{"namespaceSelector": {"matchLabels": {"x": "y"}}}], "ports": [{"port": 8443}]}],
        },
    }
    objects["vllm-a"], objects["vllm-b"] = _vllm("gpu-1"), _vllm("gpu-2")
    objects["litellm"] = _litellm()
    objects["litellm-config"] = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "litellm", "namespace": "gateway"},
        "data": {"config.yaml": LITELLM_CONFIG, "haproxy.cfg": "bind :8443 ssl ssl-min-ver TLSv1.3\n"},
    }
    objects["edge-service"] = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "edge", "namespace": "edge"},
        "spec": {"type": "ClusterIP", "externalIPs": ["10.0.0.1"], "ports": [{"port": 443}]},
    }
    objects["service"] = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "litellm", "namespace": "gateway"},
        "spec": {"ports": [{"port": 8443}]},
    }
    objects["volume"] = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": "postgres"},
        "spec": {"storageClassName": "local", "local": {"path": "/var/lib/llmaas/volumes/postgres"}},
    }
    objects["claim"] = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "postgres", "namespace": "data"},
        "spec": {"storageClassName": "local"},
    }
    objects["class"] = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": "local"},
        "provisioner": "kubernetes.io/no-provisioner",
    }
    objects["budget"] = {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "granite", "namespace": "serving"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"llmaas.io/model": "granite"}}},
    }
    return copy.deepcopy(objects)


_REMOVE = object()
REMOVE = _REMOVE


def change(target: Any, path: str, value: Any) -> None:
    """Set (or ``REMOVE``) what stands at a path like ``spec/template/spec/containers/0/image``."""
    *above, last = path.split("/")
    for part in above:
        target = target[int(part)] if isinstance(target, list) else target.setdefault(part, {})
    if value is REMOVE:
        del target[last]
    elif isinstance(target, list):
        index = int(last)
        target[index : index + 1] = [value]
    else:
        target[last] = value
