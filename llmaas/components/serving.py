"""Model servers: vLLM on the loopback of its pod, in front of it a TLS proxy that answers the gateway alone."""

from dataclasses import dataclass
from typing import Final

import pulumi
import pulumi_kubernetes as k8s

from llmaas.components import pods
from llmaas.components.stores import headless_service
from llmaas.views import topology as t
from llmaas.views.vllm import WEIGHTS_ROOT

# Written out, so that no image can leave them away.
_OFFLINE: Final = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "VLLM_NO_USAGE_STATS", "DO_NOT_TRACK")
# The processes of a replica are on one host and talk over its loopback; else each listens on the pod's own address.
_LOOPBACK: Final = {"VLLM_HOST_IP": "127.0.0.1", "GLOO_SOCKET_IFNAME": "lo", "NCCL_SOCKET_IFNAME": "lo"}
# What is compiled for the GPUs is kept here, whatever folders the image names: those may not be writable. It goes with
# the pod, so another version of the image never meets it.
_CACHE: Final = "/cache"
_CACHE_MIB: Final = 8192
_CACHE_FOLDERS: Final = {
    "HOME": "/tmp",  # noqa: S108 - a volume of its own
    "VLLM_CACHE_ROOT": f"{_CACHE}/vllm",
    "TRITON_CACHE_DIR": f"{_CACHE}/triton",
    "TORCHINDUCTOR_CACHE_DIR": f"{_CACHE}/torchinductor",
    "FLASHINFER_WORKSPACE_BASE": f"{_CACHE}/flashinfer",
    "CUDA_CACHE_PATH": f"{_CACHE}/cuda",
}


@dataclass(frozen=True)
class ModelEndpointArgs:
    """One model of the catalogue; ``minimum_replicas`` is given for models that must not go away."""

    namespace: str
    slug: str
    proxy_configuration: str
    minimum_replicas: int | None


class ModelEndpoint(pulumi.ComponentResource):
    """What all servers of one model share: the name they are found by, their proxy's configuration, their floor."""

    def __init__(self, name: str, args: ModelEndpointArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmaas:serving:ModelEndpoint", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        labels = model_labels(args.slug)
        headless_service(name, args.namespace, labels, t.SERVING_PORT, child)
        self.proxy_configuration = pods.config_map(
            f"{name}-proxy", args.namespace, {"haproxy.cfg": args.proxy_configuration}, child
        )
        if args.minimum_replicas is not None:
            k8s.policy.v1.PodDisruptionBudget(
                f"{name}-floor",
                metadata=k8s.meta.v1.ObjectMetaArgs(name=name, namespace=args.namespace),
                spec=k8s.policy.v1.PodDisruptionBudgetSpecArgs(
                    min_available=args.minimum_replicas,
                    selector=k8s.meta.v1.LabelSelectorArgs(match_labels=labels),
                ),
                opts=child,
            )
        self.register_outputs({"service": name})


@dataclass(frozen=True)
class VllmServerArgs:
    """Replicas of one model on one host.

    ``shared_memory_mib`` is a part of ``memory``; ``compiles`` says that it compiles code for its GPUs as it starts.
    """

    namespace: str
    host: str
    slug: str
    artefact: str
    replicas: int
    gpus: int
    image: str
    proxy_image: str
    proxy_configuration: pods.Named
    leaf: str
    certificate: str
    weights_claim: str
    arguments: tuple[str, ...]
    memory: pods.Memory
    shared_memory_mib: int
    compiles: bool
    runtime_class: str | None = None


class VllmServer(pulumi.ComponentResource):
    """A Deployment tied to the host that holds the weights and the GPUs.

    Its ``depends_on`` names the one before it of the same model: a rollout takes its only replica away, and so has to
    wait until that of the host before is ready again.
    """

    def __init__(self, name: str, args: VllmServerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmaas:serving:VllmServer", name, None, opts)
        labels = {**model_labels(args.slug), t.HOST_LABEL: args.host}
        k8s.apps.v1.Deployment(
            f"{name}-server",
            metadata=k8s.meta.v1.ObjectMetaArgs(name=name, namespace=args.namespace),
            spec=k8s.apps.v1.DeploymentSpecArgs(
                replicas=args.replicas,
                selector=k8s.meta.v1.LabelSelectorArgs(match_labels=labels),
                strategy=pods.one_at_a_time(),
                progress_deadline_seconds=pods.START_SECONDS + 60,
                template=k8s.core.v1.PodTemplateSpecArgs(
                    metadata=k8s.meta.v1.ObjectMetaArgs(labels=labels), spec=_pod(args)
                ),
            ),
            opts=pulumi.ResourceOptions(parent=self, custom_timeouts=pods.AWAIT),
        )
        self.register_outputs({"host": args.host})


def model_labels(slug: str) -> dict[str, str]:
    """The labels of all servers of a model."""
    return pods.labels(t.SERVING_PART, **{t.MODEL_LABEL: slug})


def _pod(args: VllmServerArgs) -> k8s.core.v1.PodSpecArgs:
    proxy_files = (
        pods.Files("proxy", pods.HAPROXY_CONFIGURATION, config_map=args.proxy_configuration.name),
        pods.certificate_files(args.leaf, args.certificate),
    )
    weights = f"{WEIGHTS_ROOT}/{args.artefact}"
    caches = _CACHE_FOLDERS if args.compiles else {}
    server = k8s.core.v1.ContainerArgs(
        name="vllm",
        image=args.image,
        args=list(args.arguments),
        env=pods.plain({**dict.fromkeys(_OFFLINE, "1"), **_LOOPBACK, **caches}),
        volume_mounts=[
            k8s.core.v1.VolumeMountArgs(name="weights", mount_path=weights, read_only=True),
            pods.mount("tmp", "/tmp"),  # noqa: S108 - a volume of its own
            pods.mount("shared-memory", "/dev/shm"),  # noqa: S108 - as above
            *([pods.mount("cache", _CACHE)] if args.compiles else []),
        ],
        security_context=pods.container_security(),
        resources=pods.resources(args.memory, cpu="50m", gpus=args.gpus),
        startup_probe=pods.start_probe(),
        readiness_probe=pods.status_probe("/ready", period=3, failures=2),
        # A server that hangs is restarted; one that is merely slow is not.
        liveness_probe=pods.status_probe("/ready", period=15, failures=12, timeout=10),
        lifecycle=pods.settle(),
    )
    return k8s.core.v1.PodSpecArgs(
        automount_service_account_token=False,
        enable_service_links=False,
        security_context=pods.pod_security(),
        affinity=k8s.core.v1.AffinityArgs(node_affinity=pods.on_hosts([args.host])),
        init_containers=[pods.haproxy_container(args.proxy_image, proxy_files, {"tls": t.SERVING_PORT}, "serving")],
        containers=[server],
        volumes=[
            *(each.volume() for each in proxy_files),
            pods.claimed("weights", args.weights_claim, read_only=True),
            pods.scratch("tmp", 1024),
            pods.scratch("shared-memory", args.shared_memory_mib, memory=True),
            *([pods.scratch("cache", _CACHE_MIB)] if args.compiles else []),
        ],
        termination_grace_period_seconds=pods.GRACE_SECONDS,
        runtime_class_name=args.runtime_class,
    )
