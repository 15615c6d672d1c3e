"""Names and ports of the parts inside the cluster, in one place: who is called what, and who listens where."""

from typing import Final

from llmaas.settings import Model, Platform
from llmaas.settings.gpu_sets import needs_runtime

EDGE: Final = "llmaas-edge"
GATEWAY: Final = "llmaas-gateway"
SERVING: Final = "llmaas-serving"
DATA: Final = "llmaas-data"
MONITORING: Final = "llmaas-monitoring"
NAMESPACES: Final = (EDGE, GATEWAY, SERVING, DATA, MONITORING)
# Only where there are real GPUs: what hands them out and watches them, which must see the host's devices.
GPU: Final = "llmaas-gpu"

# The label by which a pod's part is known to Services and NetworkPolicies.
PART_LABEL: Final = "app.kubernetes.io/name"
HOST_LABEL: Final = "llmaas.io/host"
MODEL_LABEL: Final = "llmaas.io/model"

PUBLIC_PORT: Final = 443
ADMINISTRATION_PORT: Final = 8444
# Inside pods nothing may bind below 1024.
EDGE_PUBLIC_PORT: Final = 8443
GATEWAY_PORT: Final = 8443
SERVING_PORT: Final = 8443
# Readiness for the kubelet (no client certificate), metrics for Prometheus (client certificate).
STATUS_PORT: Final = 9443
POSTGRES_PORT: Final = 5432
REDIS_PORT: Final = 6379
PROMETHEUS_PORT: Final = 9090

# On the loopback of a pod, between a program and the TLS proxy beside it.
LITELLM_LOOPBACK_PORT: Final = 4000
VLLM_LOOPBACK_PORT: Final = 8000
_FIRST_MODEL_LOOPBACK_PORT: Final = 9101

EDGE_SERVICE: Final = "edge"
EDGE_STATUS_SERVICE: Final = "edge-status"
GATEWAY_SERVICE: Final = "litellm"
POSTGRES_SERVICE: Final = "postgres"
REDIS_SERVICE: Final = "redis"
MIGRATION_PART: Final = "litellm-migration"
SERVING_PART: Final = "vllm"
PROMETHEUS_SERVICE: Final = "prometheus"
DEVICE_PLUGIN_PART: Final = "nvidia-device-plugin"
GPU_EXPORTER_SERVICE: Final = "dcgm-exporter"

# Common names by which a server knows its one client.
EDGE_CLIENT: Final = "edge-client"
GATEWAY_IDENTITY: Final = "litellm"
PROMETHEUS_IDENTITY: Final = "prometheus"

DATABASE: Final = "litellm"
DATABASE_USER: Final = "litellm"

VOLUMES_ROOT: Final = "/var/lib/llmaas/volumes"
MODELS_ROOT: Final = "/var/lib/llmaas/models"
# A folder for each artefact that has a tokenizer; the same on hosts of the gateway and in its pods.
TOKENIZERS_ROOT: Final = f"{VOLUMES_ROOT}/tokenizers"
TOKENIZER_FILE: Final = "tokenizer.json"


def namespaces(platform: Platform) -> tuple[str, ...]:
    """The namespaces that the environment has."""
    return (*NAMESPACES, GPU) if needs_runtime(platform) else NAMESPACES


def full_name(service: str, namespace: str) -> str:
    """The DNS name of a service inside the cluster."""
    return f"{service}.{namespace}.svc.cluster.local"


def vllm_name(model: Model) -> str:
    """The name of a model's service, of its certificate, and the part label of its pods."""
    return f"vllm-{model.slug}"


def served_models(platform: Platform) -> tuple[Model, ...]:
    """The models that the environment runs: all but those that were removed or have no replica placed."""
    return tuple(
        model for model in platform.models if model.phase != "removed" and (model.replicas > 0 or model.placed_by_plan)
    )


def served_artefacts(platform: Platform) -> tuple[str, ...]:
    """The artefacts behind the served models, each once, by name."""
    return tuple(sorted({model.artefact for model in served_models(platform)}))


def loopback_port(platform: Platform, model: Model) -> int:
    """Where the gateway's own proxy listens for calls to ``model``."""
    return _FIRST_MODEL_LOOPBACK_PORT + [other.name for other in served_models(platform)].index(model.name)


def service_addresses(platform: Platform) -> tuple[str, ...]:
    """The addresses at which the edge is reached: those of its hosts, then those that outlive a host."""
    hosts = (host.address for host in platform.hosts_with_role("service"))
    return tuple(str(address) for address in (*hosts, *platform.gateway.public_addresses))
