"""What breaks the rules on kinds, networks, access, storage and administration."""

from typing import Any

from llmaas_policies.model import UNKNOWN, Resource
from objects import EDGE_CONFIG, REMOVE, container, default_deny, deployment, namespace, on_host

Case = tuple[str, str, Any]


def thing(version: str, kind: str, **rest: Any) -> dict[str, Any]:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": "x", "namespace": "gateway"}, **rest}


def egress(cidr: str) -> list[dict[str, Any]]:
    return [{"to": [{"ipBlock": {"cidr": cidr}}], "ports": [{"port": 443}]}]


def edge(old: str, new: str) -> Case:
    assert old in EDGE_CONFIG
    return ("edge-config", "data/haproxy.cfg", EDGE_CONFIG.replace(old, new))


OPEN_EDGE = EDGE_CONFIG.replace("acl listed path ", "acl listed path /key/generate ")
_EVERYBODY = [{"ipBlock": {"cidr": "0.0.0.0/0"}}]

BAD: dict[str, list[Case]] = {
    "only-this-cluster": [
        ("foreign", "", Resource({}, kind))
        for kind in ("aws:s3/bucket:Bucket", "command:local:Command", "pulumi-python:dynamic:Resource", "random:x:Y")
    ],
    "known-kinds-only": [
        ("new", "", thing("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration")),
        ("new", "", thing("apiextensions.k8s.io/v1", "CustomResourceDefinition")),
        ("new", "", thing("acid.zalan.do/v1", "postgresql")),
        ("new", "", thing("v1", "Endpoints")),
        ("new", "", thing("v1", "List", items=[])),
        ("new", "", thing("apps/v1", "DeploymentList", items=[])),
        ("new", "", thing("apps/v1beta1", "Deployment")),
        ("new", "", thing("apps/v1", "deployment")),
        ("new", "", thing("autoscaling/v2", "HorizontalPodAutoscaler")),
        ("foreign", "", Resource({"chart": "litellm"}, "kubernetes:helm.sh/v3:Release")),
        ("service", "kind", REMOVE),
        ("service", "apiVersion", REMOVE),
    ],
    "no-ingress-object": [
        ("new", "", thing("networking.k8s.io/v1", "Ingress")),
        ("new", "", thing("networking.k8s.io/v1", "IngressClass")),
        ("new", "", thing("networking.k8s.io/v1", "IngressList")),
        ("new", "", thing("gateway.networking.k8s.io/v1", "Gateway")),
        ("new", "", thing("gateway.networking.k8s.io/v1", "GRPCRoute")),
        ("new", "", thing("networking.istio.io/v1", "VirtualService")),
        ("new", "", thing("route.openshift.io/v1", "Route")),
    ],
    "namespace-default-deny": [
        ("deny-data", "spec/policyTypes", ["Ingress"]),
        ("deny-data", "spec/policyTypes", "Ingress"),
        ("deny-data", "spec/podSelector", {"matchLabels": {"a": "b"}}),
        ("deny-data", "spec/egress", [{}]),
        ("deny-data", "metadata/namespace", "elsewhere"),
        ("new", "", namespace("open")),
        ("litellm", "metadata/namespace", "default"),
        ("litellm", "metadata/namespace", REMOVE),
        ("litellm-config", "metadata/namespace", "kube-system"),
        ("new", "", default_deny("kube-system")),
    ],
    "network-policy-names-its-peers": [
        ("allow", "spec/ingress/0/from", []),
        ("allow", "spec/ingress/0/from", [{}]),
        ("allow", "spec/ingress/0/from", {"podSelector": {}}),
        ("allow", "spec/ingress/0/from", [{"namespaceSelector": {}}]),
        ("allow", "spec/ingress/0/from", [{"namespaceSelector": {"matchLabels": {"x": "y"}}}]),
        ("allow", "spec/ingress/0/from", [{"namespaceSelector": {"matchLabels": {}}, "podSelector": {}}]),
        ("allow", "spec/ingress/0/from", [{"podSelector": {}}]),
        (
            "allow",
            "spec/ingress/0/from",
            [{"namespaceSelector": {"matchExpressions": [{"key": "x", "operator": "Exists"}]}}],
        ),
        ("allow", "spec/ingress/0/ports", REMOVE),
        ("allow", "spec/ingress/0/ports", [{"protocol": "TCP"}]),
        ("allow", "spec/ingress/0/ports", [{"port": 1, "endPort": 65535}]),
        ("allow", "spec/ingress/0", {}),
        *(
            ("allow", "spec/egress", egress(cidr))
            for cidr in (
                "0.0.0.0/0",
                "::/0",
                "0.0.0.0/1",
                "10.0.0.0/8",
                "10.244.0.0/16",
                "8.8.8.8/32",
                "169.254.169.254/32",
                "2001:4860::/64",
                "everywhere",
            )
        ),
        ("edge-allow", "spec/egress", egress("0.0.0.0/0")),
        ("edge-allow", "spec/ingress/0/ports", REMOVE),
    ],
    "no-exposed-service": [
        *(("service", "spec/type", kind) for kind in ("LoadBalancer", "NodePort", "ExternalName", "clusterip")),
        ("edge-service", "spec/type", "NodePort"),
        ("edge-service", "spec/externalIPs", ["10.0.0.1", "203.0.113.1"]),
        ("edge-service", "spec/ports/0/nodePort", 30443),
        ("edge-service", "spec/externalIPs", "203.0.113.1"),
        ("service", "spec/externalIPs", ["10.0.0.1"]),
        ("service", "spec/loadBalancerIP", "10.0.0.1"),
    ],
    "no-external-name": [
        ("service", "spec", {"type": "ExternalName", "externalName": "api.openai.com"}),
        ("edge-service", "spec/externalName", "api.openai.com"),
        ("service", "spec/selector", REMOVE),
        ("service", "spec/selector", {}),
    ],
    "pod-security-restricted": [
        ("namespace-data", "metadata/labels", REMOVE),
        ("namespace-data", "metadata/labels", {"pod-security.kubernetes.io/enforce": "baseline"}),
        ("namespace-data", "metadata/labels", {"pod-security.kubernetes.io/enforce": "privileged"}),
        ("namespace-data", "metadata/labels", {"pod-security.kubernetes.io/audit": "restricted"}),
    ],
    "no-broad-rights": [
        ("role", "rules/0/verbs", ["*"]),
        ("role", "rules/0/resources", ["*"]),
        ("role", "rules/0/apiGroups", ["*"]),
        ("role", "rules/0/resources", ["secrets"]),
        ("role", "rules/0/resources", ["pods/exec"]),
        ("role", "rules/0", {"resources": ["pods"], "verbs": ["create"]}),
        ("role", "rules/0", {"resources": ["secrets"], "verbs": ["deletecollection"]}),
        ("role", "rules/0", {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["patch"]}),
        ("role", "rules/0/verbs", ["Escalate"]),
        ("role", "rules", [{"nonResourceURLs": ["*"], "verbs": ["get"]}]),
        ("role", "aggregationRule", {"clusterRoleSelectors": []}),
        ("binding", "roleRef/name", "cluster-admin"),
        ("binding", "roleRef/name", "system:masters"),
        ("binding", "subjects/0/name", "default"),
        ("binding", "subjects", [{"kind": "Group", "name": "system:serviceaccounts:data"}]),
        ("binding", "subjects", [{"kind": "User", "name": "system:anonymous"}]),
    ],
    "administration-not-public": [
        ("edge-allow", "spec/ingress/1/from", _EVERYBODY),
        ("edge-allow", "spec/ingress/1/from", []),
        ("edge-allow", "spec/ingress/1/from", [{"ipBlock": {"cidr": "10.0.0.0/24"}}]),
        ("edge-allow", "spec/ingress/1/from", [{"namespaceSelector": {"matchLabels": {"x": "y"}}}]),
        ("edge-allow", "spec/ingress/0/ports", [{"port": 8443}, {"port": 8444}]),
        ("edge-allow", "spec/ingress/0/ports", [{"port": 8443, "endPort": 8450}]),
        ("edge-allow", "spec/ingress/0/ports", [{"port": "administration"}]),
        ("edge-allow", "spec/ingress/0/ports", REMOVE),
        ("edge-service", "spec/ports/0/targetPort", 8444),
        ("edge-service", "spec/ports/0/targetPort", "administration"),
        ("edge-service", "spec/ports/1", {"port": 443, "targetPort": 8444}),
        ("edge-service", "spec/ports/1", {"port": 9443}),
    ],
    "edge-paths-on-a-list": [
        edge("acl listed path ", "acl listed path /key/generate "),
        edge("acl listed path ", "acl listed path_beg / "),
        edge("path_reg ^/v1/models/([A-Za-z0-9._:-])+$", "path_reg .*"),
        edge("    http-request return status 404", "    # http-request return status 404"),
        edge("unless known_host listed or known_host one_model", "unless known_host"),
        edge("    default_backend gateway\nfrontend", "    use_backend gateway if { path_beg /ui }\nfrontend"),
        *(
            edge("acl one_model path_reg ^/v1/models/([A-Za-z0-9._:-])+$", f"acl one_model {test}")
            for test in ("url_beg /key", "base_beg api.example/key", "always_true", "pathq_beg /key", "path -f /x")
        ),
        edge("acl listed path ", "acl listed always_true\n    acl listed path "),
        edge(
            "    default_backend gateway\nfrontend",
            "    http-request set-path /key/generate\n    default_backend x\nfrontend",
        ),
        edge("    default_backend gateway\nfrontend", "    use_backend other if TRUE\n    default_backend x\nfrontend"),
        edge(
            "frontend administration",
            "frontend other\n    bind :8445 ssl crt x\n    default_backend gateway\nfrontend administration",
        ),
        edge("unless { src 10.0.0.9 }", "unless { src 10.0.0.9 } or TRUE"),
        edge(
            "    tcp-request connection reject", "    tcp-request connection accept\n    tcp-request connection reject"
        ),
        edge("bind :8444", "bind :8443 ssl crt x\n    bind :8444"),
        edge("bind :8443 ssl crt /run/tls.pem alpn", "bind :8440-8450 ssl crt /run/tls.pem alpn"),
        edge("src 10.0.0.9", "src 0.0.0.0/0"),
        edge("    tcp-request connection reject unless { src 10.0.0.9 }\n", ""),
        ("new", "", thing("v1", "Secret", stringData={"haproxy.cfg": OPEN_EDGE}, metadata={"namespace": "edge"})),
    ],
    "data-on-encrypted-storage": [
        ("volume", "spec/local/path", "/srv/postgres"),
        ("volume", "spec/local/path", "/var/lib/llmaas-not/postgres"),
        ("volume", "spec/local/path", "/var/lib/llmaas/../postgres"),
        ("volume", "spec", {"nfs": {"server": "10.0.0.9", "path": "/"}}),
        ("volume", "spec", {"csi": {"driver": "ebs.csi.aws.com"}}),
    ],
    "volumes-on-encrypted-hosts": [
        ("volume", "spec/nodeAffinity", REMOVE),
        ("volume", "spec/nodeAffinity/required", on_host("gpu-2")),
        ("volume", "spec/nodeAffinity/required", on_host("gpu-1", "gpu-2")),
        ("volume", "spec/nodeAffinity/required/nodeSelectorTerms", [{"matchFields": []}]),
        ("volume", "spec/nodeAffinity/required/nodeSelectorTerms/0/matchExpressions/0/operator", "NotIn"),
        ("volume", "spec/nodeAffinity/required/nodeSelectorTerms/0/matchExpressions/0/key", "zone"),
        ("volume", "spec/local/path", "/var/lib/llmaas/models/granite"),
    ],
    "no-storage-from-elsewhere": [
        ("class", "provisioner", "ebs.csi.aws.com"),
        ("claim", "spec/storageClassName", REMOVE),
        ("claim", "spec/storageClassName", "gp3"),
        ("claim", "spec/volumeName", "somebody-elses"),
        ("redis", "spec/volumeClaimTemplates", [{"spec": {"storageClassName": "gp3"}}]),
        ("redis", "spec/volumeClaimTemplates", [{"spec": {}}]),
        ("redis", "spec/template/spec/volumes/1/persistentVolumeClaim/claimName", "somebody-elses"),
    ],
    "stateful-data-on-a-claim": [
        ("redis", "spec/template/spec/volumes/1", {"name": "data", "emptyDir": {}}),
        ("new", "", deployment("redis", "data", container("redis", "7.0"))),
        ("new", "", deployment("db", "data", container("postgres-patroni", "15"))),
    ],
}

UNKNOWN_AT_PREVIEW: dict[str, Case] = {
    "only-this-cluster": ("foreign", "", Resource({}, "nobody:knows/it:Yet")),
    "known-kinds-only": ("service", "kind", UNKNOWN),
    "no-ingress-object": ("service", "kind", UNKNOWN),
    "namespace-default-deny": ("deny-data", "spec", UNKNOWN),
    "network-policy-names-its-peers": ("allow", "spec/ingress", UNKNOWN),
    "no-exposed-service": ("service", "spec/type", UNKNOWN),
    "no-external-name": ("service", "spec/selector", UNKNOWN),
    "pod-security-restricted": ("namespace-data", "metadata/labels", UNKNOWN),
    "no-broad-rights": ("role", "rules/0/resources", [UNKNOWN]),
    "administration-not-public": ("edge-allow", "spec/ingress/0/ports/0/port", UNKNOWN),
    "edge-paths-on-a-list": ("edge-config", "data/haproxy.cfg", UNKNOWN),
    "data-on-encrypted-storage": ("volume", "spec/local/path", UNKNOWN),
    "volumes-on-encrypted-hosts": ("volume", "spec/nodeAffinity/required", UNKNOWN),
    "no-storage-from-elsewhere": ("claim", "spec/storageClassName", UNKNOWN),
    "stateful-data-on-a-claim": ("redis", "spec/template/spec/volumes", UNKNOWN),
}
