"""What breaks the rules on images and pods."""

from typing import Any

from llmaas_policies.model import UNKNOWN
from objects import DIGEST, REGISTRY, REMOVE, container, deployment

POD = "spec/template/spec"
MAIN = f"{POD}/containers/0"
INIT = f"{POD}/initContainers/0"
CONTEXT = f"{MAIN}/securityContext"

Case = tuple[str, str, Any]


def image(name: str) -> str:
    return f"{REGISTRY}/llmaas/{name}"


def workload(kind: str, pod: dict[str, Any]) -> dict[str, Any]:
    """Another kind of workload with a pod of its own."""
    version = {"CronJob": "batch/v1", "Job": "batch/v1", "Pod": "v1", "PodTemplate": "v1"}.get(kind, "apps/v1")
    body: dict[str, Any] = {
        "apiVersion": version,
        "kind": kind,
        "metadata": {"name": "other", "namespace": "gateway"},
    }
    if kind == "Pod":
        return {**body, "spec": pod}
    if kind == "PodTemplate":
        return {**body, "template": {"spec": pod}}
    if kind == "CronJob":
        return {**body, "spec": {"jobTemplate": {"spec": {"template": {"spec": pod}}}}}
    return {**body, "spec": {"template": {"spec": pod}}}


def with_pod(**changes: Any) -> dict[str, Any]:
    return {**deployment("x", "gateway", container("haproxy", "2.6"))["spec"]["template"]["spec"], **changes}


WORKLOADS = ("CronJob", "DaemonSet", "Deployment", "Job", "Pod", "PodTemplate", "ReplicaSet", "StatefulSet")

BAD: dict[str, list[Case]] = {
    "image-by-digest": [
        ("litellm", f"{MAIN}/image", image("litellm:1.106.2")),
        ("litellm", f"{MAIN}/image", image("litellm:1.106.2@sha256:" + "A" * 64)),
        ("litellm", f"{MAIN}/image", image("litellm:1.106.2@sha256:" + "a" * 63)),
        ("litellm", f"{MAIN}/image", image(f"litellm:1.106.2{DIGEST}\n")),
        ("litellm", f"{INIT}/image", image("haproxy:latest")),
        ("litellm", f"{POD}/ephemeralContainers", [{"name": "debug", "image": image("tools:1")}]),
        ("litellm", f"{POD}/volumes/0", {"name": "x", "image": {"reference": image("data:1")}}),
        ("litellm", f"{MAIN}/image", REMOVE),
        *(("new", "", workload(kind, with_pod(containers=[{"image": image("a:1")}]))) for kind in WORKLOADS),
    ],
    "image-from-our-registry": [
        ("litellm", f"{MAIN}/image", f"docker.io/library/litellm:1.106.2{DIGEST}"),
        ("litellm", f"{MAIN}/image", f"litellm:1.106.2{DIGEST}"),
        ("litellm", f"{MAIN}/image", f"{REGISTRY}.evil.example/llmaas/litellm:1.106.2{DIGEST}"),
        ("litellm", f"{MAIN}/image", f"registry.example/llmaas/litellm:1.106.2{DIGEST}"),
        ("litellm", f"{MAIN}/image", f"registry.example:50001/llmaas/litellm:1.106.2{DIGEST}"),
        ("litellm", f"{POD}/volumes/0", {"name": "x", "image": {"reference": f"docker.io/data{DIGEST}"}}),
    ],
    "version-without-known-holes": [
        *(
            ("litellm", f"{MAIN}/image", image(f"litellm:{version}{DIGEST}"))
            for version in ("1.82.7", "1.82.8", "v1.82.8", "1.83.14", "1.84.0rc1", "main", "1.82.7-nightly", "1.80")
        ),
        ("vllm-a", f"{MAIN}/image", image(f"vllm:0.30.9{DIGEST}")),
        ("vllm-a", f"{MAIN}/image", image(f"vllm{DIGEST}")),
        ("vllm-a", f"{MAIN}/image", image(f"vllm-openai:v0.30.0{DIGEST}")),
        ("vllm-a", "spec/template/metadata/labels/app.kubernetes.io~version", "0.30.0"),
        ("litellm", f"{INIT}/image", image(f"litellm-database:1.82.8{DIGEST}")),
        ("litellm", f"{INIT}", {**container("python", "3.13"), "command": ["/venv/bin/vllm", "serve", "/models"]}),
        ("litellm", f"{INIT}", {**container("python", "3.13"), "args": ["-c", "exec litellm --config x"]}),
        ("litellm", f"{INIT}", {**container("python", "3.13"), "args": ["-m", "vllm.entrypoints.openai.api_server"]}),
        ("litellm", f"{INIT}", {**container("server", "2.0"), "env": [{"name": "VLLM_USE_V1", "value": "1"}]}),
        ("litellm", f"{INIT}", {**container("server", "2.0"), "args": ["--served-model-name=x"]}),
        ("litellm", f"{INIT}/args", ["sh", "-c", "pip install 'litellm[proxy]==1.82.8' && exec x"]),
    ],
    "no-privileged-container": [
        ("litellm", f"{INIT}/securityContext/privileged", True),
        ("litellm", f"{CONTEXT}/windowsOptions", {"hostProcess": True}),
        *(
            ("new", "", workload(kind, with_pod(initContainers=[{"securityContext": {"privileged": True}}])))
            for kind in WORKLOADS
        ),
    ],
    "no-host-namespace": [
        ("litellm", f"{POD}/{name}", True) for name in ("hostNetwork", "hostPID", "hostIPC", "hostUsers")
    ],
    "no-shared-processes": [("litellm", f"{POD}/shareProcessNamespace", True)],
    "no-host-path": [
        ("litellm", f"{POD}/volumes/0", {"name": "x", "hostPath": {"path": "/"}}),
        ("volume", "spec", {"hostPath": {"path": "/var/lib/llmaas/x"}}),
    ],
    "drop-all-capabilities": [
        ("litellm", f"{CONTEXT}/capabilities", {"drop": ["NET_RAW"]}),
        ("litellm", f"{CONTEXT}/capabilities", {"drop": ["all"]}),
        ("litellm", f"{CONTEXT}/capabilities", {"drop": "ALL"}),
        ("litellm", f"{CONTEXT}/capabilities", {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}),
        ("litellm", f"{CONTEXT}/capabilities", {"drop": ["ALL"], "add": ["ALL"]}),
        ("litellm", f"{INIT}/securityContext", {}),
    ],
    "run-as-non-root": [
        ("litellm", f"{POD}/securityContext/runAsNonRoot", REMOVE),
        ("litellm", f"{POD}/securityContext/runAsNonRoot", "true"),
        ("litellm", f"{CONTEXT}/runAsNonRoot", False),
        ("litellm", f"{POD}/securityContext/runAsUser", 0),
        ("litellm", f"{POD}/securityContext/runAsUser", 0.0),
        ("litellm", f"{POD}/securityContext/runAsUser", "0"),
        ("litellm", f"{CONTEXT}/runAsUser", -1),
        ("litellm", f"{CONTEXT}/runAsGroup", 0),
        ("litellm", f"{POD}/securityContext/fsGroup", 0),
        ("litellm", f"{POD}/securityContext/supplementalGroups", [1, 0]),
    ],
    "read-only-root": [
        ("litellm", f"{CONTEXT}/readOnlyRootFilesystem", False),
        ("litellm", f"{INIT}/securityContext/readOnlyRootFilesystem", REMOVE),
    ],
    "no-privilege-escalation": [
        ("litellm", f"{CONTEXT}/allowPrivilegeEscalation", REMOVE),
        ("litellm", f"{CONTEXT}/allowPrivilegeEscalation", True),
        ("litellm", f"{CONTEXT}/allowPrivilegeEscalation", 0),
    ],
    "seccomp-runtime-default": [
        ("litellm", f"{POD}/securityContext/seccompProfile", REMOVE),
        ("litellm", f"{CONTEXT}/seccompProfile", {"type": "Unconfined"}),
        ("litellm", f"{CONTEXT}/seccompProfile", {"type": "Localhost", "localhostProfile": "x"}),
        ("litellm", f"{CONTEXT}/seccompProfile", {}),
    ],
    "no-weakened-confinement": [
        ("litellm", "metadata/annotations", {"seccomp.security.alpha.kubernetes.io/pod": "unconfined"}),
        (
            "litellm",
            "spec/template/metadata/annotations",
            {"container.apparmor.security.beta.kubernetes.io/litellm": "unconfined"},
        ),
        ("litellm", f"{CONTEXT}/appArmorProfile", {"type": "Unconfined"}),
        ("litellm", f"{POD}/securityContext/appArmorProfile", {"type": "Unconfined"}),
        ("litellm", f"{POD}/securityContext/seLinuxOptions", {"type": "spc_t"}),
        ("litellm", f"{POD}/securityContext/sysctls", [{"name": "kernel.msgmax", "value": "1"}]),
        ("litellm", f"{CONTEXT}/procMount", "Unmasked"),
    ],
    "known-runtimes": [
        ("litellm", f"{POD}/runtimeClassName", "kata"),
        ("runtime", "handler", "runsc"),
        ("runtime", "handler", REMOVE),
    ],
    "names-from-the-cluster": [
        ("litellm", f"{POD}/dnsPolicy", "Default"),
        ("litellm", f"{POD}/dnsConfig", {"nameservers": ["8.8.8.8"]}),
        ("litellm", f"{POD}/hostAliases", [{"ip": "8.8.8.8", "hostnames": ["redis"]}]),
    ],
    "no-service-account-token": [
        ("litellm", f"{POD}/automountServiceAccountToken", REMOVE),
        ("litellm", f"{POD}/automountServiceAccountToken", True),
        ("account", "automountServiceAccountToken", REMOVE),
        ("secret", "type", "kubernetes.io/service-account-token"),
        (
            "litellm",
            f"{POD}/volumes/0",
            {"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}},
        ),
    ],
    "requests-and-limits": [
        ("litellm", f"{MAIN}/resources/limits", REMOVE),
        ("litellm", f"{INIT}/resources/requests/cpu", REMOVE),
        *(("litellm", f"{MAIN}/resources/limits/memory", value) for value in ("0", 0, "0Mi", "", "-1", "lots", True)),
    ],
    "no-host-port": [
        ("litellm", f"{MAIN}/ports/0/hostPort", 443),
        ("litellm", f"{INIT}/ports/0/hostPort", "443"),
        ("litellm", f"{MAIN}/ports", {"containerPort": 1, "hostPort": 1}),
    ],
    "environment-by-name": [
        ("litellm", f"{MAIN}/envFrom", [{"configMapRef": {"name": "settings"}}]),
        ("vllm-a", f"{INIT}/envFrom", [{"secretRef": {"name": "settings"}}]),
    ],
    "known-volume-sources": [
        ("litellm", f"{POD}/volumes/0", {"name": "x", source: {}})
        for source in ("nfs", "csi", "iscsi", "ephemeral", "gitRepo", "azureFile", "flexVolume")
    ]
    + [("litellm", f"{POD}/volumes/0", {"name": "x", "emptyDir": {}})],
}

UNKNOWN_AT_PREVIEW: dict[str, Case] = {
    "image-by-digest": ("litellm", f"{MAIN}/image", UNKNOWN),
    "image-from-our-registry": ("litellm", f"{INIT}/image", UNKNOWN),
    "version-without-known-holes": ("litellm", f"{MAIN}/image", UNKNOWN),
    "no-privileged-container": ("litellm", f"{CONTEXT}/privileged", UNKNOWN),
    "no-host-namespace": ("litellm", f"{POD}/hostNetwork", UNKNOWN),
    "no-shared-processes": ("litellm", f"{POD}/shareProcessNamespace", UNKNOWN),
    "no-host-path": ("litellm", f"{POD}/volumes", UNKNOWN),
    "drop-all-capabilities": ("litellm", f"{CONTEXT}/capabilities", UNKNOWN),
    "run-as-non-root": ("litellm", f"{POD}/securityContext", UNKNOWN),
    "read-only-root": ("litellm", CONTEXT, UNKNOWN),
    "no-privilege-escalation": ("litellm", f"{POD}/containers", UNKNOWN),
    "seccomp-runtime-default": ("litellm", f"{POD}/securityContext/seccompProfile", UNKNOWN),
    "no-weakened-confinement": ("litellm", "spec/template/metadata/annotations", UNKNOWN),
    "known-runtimes": ("runtime", "handler", UNKNOWN),
    "names-from-the-cluster": ("litellm", f"{POD}/dnsPolicy", UNKNOWN),
    "no-service-account-token": ("litellm", f"{POD}/automountServiceAccountToken", UNKNOWN),
    "requests-and-limits": ("litellm", f"{MAIN}/resources", UNKNOWN),
    "no-host-port": ("litellm", f"{MAIN}/ports", UNKNOWN),
    "environment-by-name": ("litellm", f"{MAIN}/envFrom", UNKNOWN),
    "known-volume-sources": ("litellm", f"{POD}/volumes/0", UNKNOWN),
}
