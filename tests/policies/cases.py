"""For each rule what breaks it: the object of the good environment, the path in it, and the value put there."""

from typing import Any

from llmaas_policies.model import UNKNOWN
from objects import DIGEST, LITELLM_CONFIG, REGISTRY, REMOVE

POD = "spec/template/spec"
MAIN = f"{POD}/containers/0"
INIT = f"{POD}/initContainers/0"

Case = tuple[str, str, Any]

BAD: dict[str, list[Case]] = {
    "image-by-digest": [
        ("litellm", f"{MAIN}/image", f"{REGISTRY}/llmaas/litellm:1.106.2"),
        ("litellm", f"{INIT}/image", f"{REGISTRY}/llmaas/haproxy:latest"),
        ("litellm", f"{POD}/ephemeralContainers", [{"name": "debug", "image": f"{REGISTRY}/llmaas/tools:1"}]),
        ("litellm", f"{MAIN}/image", REMOVE),
    ],
    "image-from-our-registry": [
        ("litellm", f"{MAIN}/image", f"docker.io/library/litellm:1.106.2{DIGEST}"),
        ("litellm", f"{MAIN}/image", f"{REGISTRY}.evil.example/llmaas/litellm:1.106.2{DIGEST}"),
    ],
    "version-without-known-holes": [
        ("litellm", f"{MAIN}/image", f"{REGISTRY}/llmaas/litellm:{version}{DIGEST}")
        for version in ("1.82.7", "1.82.8", "1.83.14", "main")
    ]
    + [
        ("vllm-a", f"{MAIN}/image", f"{REGISTRY}/llmaas/vllm:0.30.9{DIGEST}"),
        ("vllm-a", f"{MAIN}/image", f"{REGISTRY}/llmaas/vllm{DIGEST}"),
    ],
    "no-privileged-container": [("litellm", f"{INIT}/securityContext/privileged", True)],
    "no-host-namespace": [("litellm", f"{POD}/{name}", True) for name in ("hostNetwork", "hostPID", "hostIPC")],
    "no-host-path": [("litellm", f"{POD}/volumes/0", {"name": "x", "hostPath": {"path": "/"}})],
    "drop-all-capabilities": [
        ("litellm", f"{MAIN}/securityContext/capabilities", {"drop": ["NET_RAW"]}),
        ("litellm", f"{MAIN}/securityContext/capabilities", {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}),
        ("litellm", f"{INIT}/securityContext", {}),
    ],
    "run-as-non-root": [
        ("litellm", f"{POD}/securityContext/runAsNonRoot", REMOVE),
        ("litellm", f"{MAIN}/securityContext/runAsNonRoot", False),
        ("litellm", f"{POD}/securityContext/runAsUser", 0),
    ],
    "read-only-root": [
        ("litellm", f"{MAIN}/securityContext/readOnlyRootFilesystem", False),
        ("litellm", f"{INIT}/securityContext/readOnlyRootFilesystem", REMOVE),
    ],
    "no-privilege-escalation": [("litellm", f"{MAIN}/securityContext/allowPrivilegeEscalation", REMOVE)],
    "seccomp-runtime-default": [
        ("litellm", f"{POD}/securityContext/seccompProfile", REMOVE),
        ("litellm", f"{MAIN}/securityContext/seccompProfile", {"type": "Unconfined"}),
    ],
    "no-service-account-token": [
        ("litellm", f"{POD}/automountServiceAccountToken", REMOVE),
        ("litellm", f"{POD}/automountServiceAccountToken", True),
    ],
    "requests-and-limits": [
        ("litellm", f"{MAIN}/resources/limits", REMOVE),
        ("litellm", f"{INIT}/resources/requests/cpu", REMOVE),
    ],
    "namespace-default-deny": [
        ("deny-data", "spec/policyTypes", ["Ingress"]),
        ("deny-data", "spec/podSelector", {"matchLabels": {"a": "b"}}),
        ("deny-data", "spec/egress", [{}]),
        ("deny-data", "metadata/namespace", "elsewhere"),
        ("litellm", "metadata/namespace", "default"),
    ],
    "network-policy-names-its-peers": [
        ("allow", "spec/ingress/0/from", []),
        ("allow", "spec/ingress/0/from", [{}]),
        ("allow", "spec/ingress/0/ports", REMOVE),
        ("allow", "spec/ingress/0", {}),
        ("allow", "spec/egress", [{"to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}], "ports": [{"port": 443}]}]),
    ],
    "no-exposed-service": [
        ("service", "spec/type", "LoadBalancer"),
        ("service", "spec/type", "NodePort"),
        ("service", "spec/type", "ExternalName"),
        ("edge-service", "spec/type", "NodePort"),
        ("service", "spec/externalIPs", ["10.0.0.2"]),
    ],
    "no-host-port": [("litellm", f"{MAIN}/ports/0/hostPort", 443)],
    "no-ingress-object": [("service", "kind", "Ingress"), ("service", "kind", "Gateway")],
    "pod-security-restricted": [
        ("namespace-data", "metadata/labels", REMOVE),
        ("namespace-data", "metadata/labels", {"pod-security.kubernetes.io/enforce": "baseline"}),
    ],
    "tls-1-3-only": [
        ("litellm-config", "data/haproxy.cfg", "bind :8443 ssl ssl-min-ver TLSv1.2\n"),
        ("litellm", f"{MAIN}/args", ["--tls-min-version=VersionTLS12"]),
        ("litellm", f"{MAIN}/env/0", {"name": "PGSSLMINPROTOCOLVERSION", "value": "TLSv1.1"}),
        ("litellm", f"{MAIN}/args", ["--protocols", "TLSv1"]),
    ],
    "no-plain-secret": [
        ("litellm", f"{MAIN}/env/2", {"name": "LITELLM_MASTER_KEY", "value": "anything"}),
        ("litellm", f"{INIT}/env", [{"name": "PGPASSWORD", "value": "x"}]),
        ("litellm", f"{MAIN}/args", ["--url", "postgresql://litellm:hunter22@postgres/litellm"]),
        ("litellm-config", "data/key.pem", "-----BEGIN EC PRIVATE KEY-----\nMHc=\n"),
        ("litellm-config", "data/key.txt", "sk-0123456789abcdef0123"),
    ],
    "data-on-encrypted-storage": [
        ("volume", "spec/local/path", "/srv/postgres"),
        ("volume", "spec/local/path", "/var/lib/llmaas/../postgres"),
        ("volume", "spec", {"nfs": {"server": "10.0.0.9", "path": "/"}}),
    ],
    "no-storage-from-elsewhere": [
        ("class", "provisioner", "ebs.csi.aws.com"),
        ("claim", "spec/storageClassName", REMOVE),
    ],
    "no-vllm-development-mode": [
        ("vllm-a", f"{MAIN}/env/0", {"name": "VLLM_SERVER_DEV_MODE", "value": "1"}),
        ("vllm-a", f"{MAIN}/env/0", {"name": "VLLM_ALLOW_INSECURE_SERIALIZATION", "value": "true"}),
    ],
    "no-vllm-request-logging-or-remote-code": [
        ("vllm-a", f"{MAIN}/args", ["--trust-remote-code"]),
        ("vllm-a", f"{MAIN}/args", ["--trust_remote_code=true"]),
        ("vllm-a", f"{MAIN}/args", ["--enable-log-requests"]),
    ],
    "vllm-offline": [
        ("vllm-a", f"{MAIN}/env", []),
        ("vllm-a", f"{MAIN}/env/0", {"name": "HF_HUB_OFFLINE", "value": "0"}),
    ],
    "litellm-offline": [("litellm", f"{MAIN}/env/0", {"name": "LITELLM_TELEMETRY", "value": "True"})],
    "no-prompt-kept-by-litellm": [
        ("litellm-config", "data/config.yaml", "litellm_settings: {telemetry: false}"),
        (
            "litellm-config",
            "data/config.yaml",
            LITELLM_CONFIG.replace("store_prompts_in_spend_logs: false", "store_prompts_in_spend_logs: true"),
        ),
        ("litellm-config", "data/config.yaml", "litellm_settings: ["),
    ],
    "stable-model-survives-a-host": [
        ("vllm-b", "spec/template/metadata/labels", {}),
        ("vllm-b", f"{POD}/nodeSelector", {"kubernetes.io/hostname": "gpu-1"}),
    ],
    "stable-model-has-disruption-budget": [("budget", "spec/selector/matchLabels", {"llmaas.io/model": "other"})],
}

UNKNOWN_AT_PREVIEW: dict[str, Case] = {
    "image-by-digest": ("litellm", f"{MAIN}/image", UNKNOWN),
    "image-from-our-registry": ("litellm", f"{INIT}/image", UNKNOWN),
    "version-without-known-holes": ("litellm", f"{MAIN}/image", UNKNOWN),
    "no-privileged-container": ("litellm", f"{MAIN}/securityContext/privileged", UNKNOWN),
    "no-host-namespace": ("litellm", f"{POD}/hostNetwork", UNKNOWN),
    "no-host-path": ("litellm", f"{POD}/volumes", UNKNOWN),
    "drop-all-capabilities": ("litellm", f"{MAIN}/securityContext/capabilities", UNKNOWN),
    "run-as-non-root": ("litellm", f"{POD}/securityContext", UNKNOWN),
    "read-only-root": ("litellm", f"{MAIN}/securityContext", UNKNOWN),
    "no-privilege-escalation": ("litellm", f"{POD}/containers", UNKNOWN),
    "seccomp-runtime-default": ("litellm", f"{POD}/securityContext/seccompProfile", UNKNOWN),
    "no-service-account-token": ("litellm", f"{POD}/automountServiceAccountToken", UNKNOWN),
    "requests-and-limits": ("litellm", f"{MAIN}/resources", UNKNOWN),
    "namespace-default-deny": ("deny-data", "spec", UNKNOWN),
    "network-policy-names-its-peers": ("allow", "spec/ingress", UNKNOWN),
    "no-exposed-service": ("service", "spec/type", UNKNOWN),
    "no-host-port": ("litellm", f"{MAIN}/ports", UNKNOWN),
    "pod-security-restricted": ("namespace-data", "metadata/labels", UNKNOWN),
    "tls-1-3-only": ("litellm", f"{MAIN}/args", UNKNOWN),
    "no-plain-secret": ("litellm", f"{MAIN}/env", UNKNOWN),
    "data-on-encrypted-storage": ("volume", "spec/local/path", UNKNOWN),
    "no-storage-from-elsewhere": ("claim", "spec/storageClassName", UNKNOWN),
    "no-vllm-development-mode": ("vllm-a", f"{MAIN}/env", UNKNOWN),
    "no-vllm-request-logging-or-remote-code": ("vllm-a", f"{MAIN}/args/0", UNKNOWN),
    "vllm-offline": ("vllm-a", f"{MAIN}/env/0", UNKNOWN),
    "litellm-offline": ("litellm", f"{MAIN}/env/0", {"name": "LITELLM_TELEMETRY", "value": UNKNOWN}),
    "no-prompt-kept-by-litellm": ("litellm-config", "data", UNKNOWN),
    "stable-model-survives-a-host": ("vllm-b", "spec/replicas", UNKNOWN),
    "stable-model-has-disruption-budget": ("budget", "spec/selector", UNKNOWN),
    "no-ingress-object": ("service", "kind", UNKNOWN),
}
