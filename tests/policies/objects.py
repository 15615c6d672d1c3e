"""A small environment that keeps every rule, from which each test takes one thing away."""

import copy
from typing import Any

from llmaas_policies.model import Parameters, Period, Place

GATEWAY_PODS = {"namespaceSelector": {"matchLabels": {"x": "y"}}, "podSelector": {"matchLabels": {"app": "litellm"}}}
REGISTRY = "registry.example:5000"
PARAMETERS = Parameters(
    registry=REGISTRY,
    edge_namespace="edge",
    encrypted_paths=("/var/lib/llmaas",),
    country="FR",
    stable_models=("granite",),
    public_port=8443,
    administration_port=8444,
    bastions=("10.0.0.9",),
    edge_addresses=("10.0.0.1",),
    services={"llmaas:site.registry": "registry.example", "llmaas:site.artefacts_url": "weights.example"},
    places=(
        Place("llmaas:hosts[0].country", "host gpu-1", "FR"),
        Place("llmaas:site.registry_country", "registry", "FR"),
        Place("llmaas:state.country", "state backend", "FR"),
        Place("llmaas:backup.country", "backup", "FR"),
    ),
    retention=(
        *(
            Period(f"llmaas:retention.{kind}", kind, 365, 180, 366, "SecNumCloud 3.2 12.6.c")
            for kind in ("request_metadata", "logs", "audit")
        ),
        Period("llmaas:retention.accounts", "accounts", 3653, 3653, 4018, "Code de commerce L123-22"),
    ),
    encrypted_mounts={"gpu-1": ("/var/lib/llmaas/volumes",)},
    today="2026-11-24",
)
DIGEST = "@sha256:" + "a" * 64


def namespace(name: str) -> dict[str, Any]:
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def on_host(*names: str) -> dict[str, Any]:
    expression = {"key": "kubernetes.io/hostname", "operator": "In", "values": list(names)}
    return {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}


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
        "volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": "8Mi"}}],
    }
    if host:
        pod["nodeSelector"] = {"kubernetes.io/hostname": host}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": space},
        "spec": {
            # as Pulumi hands whole numbers over
            "replicas": 1.0,
            "template": {"metadata": {"labels": {"app": name, "llmaas.io/model": model}}, "spec": pod},
        },
    }


def _vllm(host: str) -> dict[str, Any]:
    server = container("vllm", "0.32.0")
    server["args"] = ["--host=127.0.0.1", "--model", "/models"]
    server["args"] += ["--enable-auto-tool-choice", "--tool-call-parser=granite", "--reasoning-parser=granite"]
    names = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "VLLM_NO_USAGE_STATS")
    server["env"] = [{"name": name, "value": "1"} for name in names]
    return deployment(f"granite-{host}", "serving", server, model="granite", host=host)


def _litellm() -> dict[str, Any]:
    proxy = container("litellm", "1.106.2")
    proxy["args"] = ["--config=/etc/litellm/config.yaml", "--host=127.0.0.1"]
    proxy["env"] = [
        {"name": "LITELLM_TELEMETRY", "value": "False"},
        {"name": "LITELLM_LOCAL_MODEL_COST_MAP", "value": "True"},
        {"name": "LITELLM_MASTER_KEY", "valueFrom": {"secretKeyRef": {"name": "litellm", "key": "master"}}},
    ]
    return deployment("litellm", "gateway", proxy)


LITELLM_CONFIG = """
model_list:
- {model_name: granite, litellm_params: {model: hosted_vllm/granite, api_base: "http://127.0.0.1:9101/v1"}}
litellm_settings:
  {turn_off_message_logging: true, telemetry: false, cache: true, cache_params: {supported_call_types: []}}
general_settings:
  {store_prompts_in_spend_logs: false, allow_requests_on_db_unavailable: false, store_model_in_db: false,
   disable_error_logs: true, master_key: os.environ/LITELLM_MASTER_KEY}
"""

EDGE_CONFIG = """
global
    ssl-default-bind-options ssl-min-ver TLSv1.3
frontend public
    bind :8443 ssl crt /run/tls.pem alpn h2,http/1.1
    acl known_host req.hdr(host) -m str api.example
    acl listed path /v1/chat/completions /v1/models
    acl one_model path_reg ^/v1/models/([A-Za-z0-9._:-])+$
    http-request return status 404 string "no" unless known_host listed or known_host one_model
    default_backend gateway
frontend administration
    bind :8444 ssl crt /run/tls.pem
    tcp-request connection reject unless { src 10.0.0.9 }
    default_backend gateway
backend gateway
    server gateway litellm.gateway.svc.cluster.local:8443 ssl verify required ca-file /run/ca.crt
"""

REDIS_CONFIG = """
include /run/llmaas/redis/password.conf
port 0
tls-port 6379
tls-protocols "TLSv1.3"
"""


def config_map(name: str, space: str, **files: str) -> dict[str, Any]:
    data = {file.replace("_", "."): text for file, text in files.items()}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": space}, "data": data}


def store() -> dict[str, Any]:
    found = deployment("redis", "data", container("redis", "7.0"))
    found["kind"] = "StatefulSet"
    volume = {"name": "data", "persistentVolumeClaim": {"claimName": "postgres"}}
    found["spec"]["template"]["spec"]["volumes"].append(volume)
    return found


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
            "ingress": [{"from": [GATEWAY_PODS], "ports": [{"port": 8443}]}],
        },
    }
    objects["vllm-a"], objects["vllm-b"] = _vllm("gpu-1"), _vllm("gpu-2")
    objects["litellm"] = _litellm()
    objects["litellm-config"] = config_map("litellm", "gateway", config_yaml=LITELLM_CONFIG)
    objects["edge-config"] = config_map("edge", "edge", haproxy_cfg=EDGE_CONFIG)
    objects["redis-config"] = config_map("redis", "data", redis_conf=REDIS_CONFIG)
    objects["redis"] = store()
    objects["secret"] = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "litellm", "namespace": "gateway"},
        "type": "Opaque",
        "stringData": {"master": "sk-0123456789abcdef0123"},
    }
    objects["account"] = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": "postgres", "namespace": "data"},
        "automountServiceAccountToken": False,
    }
    rights = {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["leader"], "verbs": ["get", "update"]}
    objects["role"] = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": "postgres", "namespace": "data"},
        "rules": [rights],
    }
    objects["binding"] = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "postgres", "namespace": "data"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "postgres"},
        "subjects": [{"kind": "ServiceAccount", "name": "postgres", "namespace": "data"}],
    }
    objects["edge-allow"] = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "edge", "namespace": "edge"},
        "spec": {
            "podSelector": {"matchLabels": {"app": "edge"}},
            "policyTypes": ["Ingress"],
            "ingress": [
                {"from": [{"ipBlock": {"cidr": "0.0.0.0/0"}}], "ports": [{"port": 8443.0}]},
                {"from": [{"ipBlock": {"cidr": "10.0.0.9/32"}}], "ports": [{"port": 8444.0}]},
            ],
        },
    }
    objects["edge-service"] = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "edge", "namespace": "edge"},
        "spec": {
            "type": "ClusterIP",
            "externalIPs": ["10.0.0.1"],
            "selector": {"app": "edge"},
            "ports": [{"port": 443, "targetPort": 8443}, {"port": 8444}],
        },
    }
    objects["service"] = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "litellm", "namespace": "gateway"},
        "spec": {"selector": {"app": "litellm"}, "ports": [{"port": 8443}]},
    }
    objects["volume"] = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": "postgres"},
        "spec": {
            "storageClassName": "local",
            "local": {"path": "/var/lib/llmaas/volumes/postgres"},
            "nodeAffinity": {"required": on_host("gpu-1")},
        },
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
    objects["runtime"] = {
        "apiVersion": "node.k8s.io/v1",
        "kind": "RuntimeClass",
        "metadata": {"name": "nvidia"},
        "handler": "nvidia",
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
    """Set (or ``REMOVE``) what stands at a path like ``spec/template/spec/containers/0/image``; ``~`` is a slash."""
    *above, last = [part.replace("~", "/") for part in path.split("/")]
    for part in above:
        target = target[int(part)] if isinstance(target, list) else target.setdefault(part, {})
    if value is REMOVE:
        del target[last]
    elif isinstance(target, list):
        index = int(last)
        target[index : index + 1] = [value]
    else:
        target[last] = value
