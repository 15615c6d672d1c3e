"""Which certificates the parts inside the cluster need, each with its names and its one purpose."""

from dataclasses import dataclass

from llmaas.pki import Usage
from llmaas.settings import Platform
from llmaas.settings.gpu_sets import needs_runtime
from llmaas.views import topology as t


@dataclass(frozen=True)
class LeafRequest:
    """A certificate to issue, and the namespace whose pods use it."""

    name: str
    namespace: str
    dns: tuple[str, ...]
    usage: Usage
    addresses: tuple[str, ...] = ()


def leaf_requests(platform: Platform) -> tuple[LeafRequest, ...]:
    """Every certificate that ``pulumi up`` puts into the cluster."""
    public = (*platform.gateway.public_host_names, *platform.gateway.administration_host_names)
    return (
        LeafRequest(
            t.EDGE_SERVICE,
            t.EDGE,
            (*public, t.full_name(t.EDGE_SERVICE, t.EDGE)),
            "server",
            t.service_addresses(platform),
        ),
        LeafRequest(t.EDGE_CLIENT, t.EDGE, (t.full_name(t.EDGE_CLIENT, t.EDGE),), "client"),
        _service(t.GATEWAY_IDENTITY, t.GATEWAY, "both"),
        _service(t.POSTGRES_SERVICE, t.DATA),
        _service(t.REDIS_SERVICE, t.DATA),
        _service(t.PROMETHEUS_IDENTITY, t.MONITORING, "both"),
        *((_service(t.GPU_EXPORTER_SERVICE, t.GPU),) if needs_runtime(platform) else ()),
        *(_service(t.vllm_name(model), t.SERVING) for model in t.served_models(platform)),
    )


def _service(name: str, namespace: str, usage: Usage = "server") -> LeafRequest:
    return LeafRequest(name, namespace, (t.full_name(name, namespace), f"{name}.{namespace}.svc"), usage)
