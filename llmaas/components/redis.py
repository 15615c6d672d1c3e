"""Redis: one server on one host, every second of its data on that host's disk."""

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

import pulumi
import pulumi_kubernetes as k8s

from llmaas.components import pods
from llmaas.components.postgres import headless_service
from llmaas.components.secrets import SecretValues, password_secret
from llmaas.components.volumes import LocalVolume, LocalVolumeArgs
from llmaas.views import data
from llmaas.views import topology as t

_MEMORY: Final = pods.Memory(32, 2 * data.REDIS_MEMORY_MIB)
_CONFIGURATION_FOLDER: Final = "/etc/llmaas/redis"


@dataclass(frozen=True)
class RedisArgs:
    """``auth`` holds the file ``password.conf``, ``configuration`` all the rest of redis.conf."""

    namespace: str
    host: str
    image: str
    certificate: str
    configuration: str
    auth: SecretValues
    size_gib: int = 5


class Redis(pulumi.ComponentResource):
    """StatefulSet of one server and the headless Service that names it."""

    def __init__(self, name: str, args: RedisArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmaas:data:Redis", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        volume = LocalVolume(
            f"{name}-data",
            LocalVolumeArgs(args.namespace, args.host, f"{t.VOLUMES_ROOT}/{name}", args.size_gib, "ReadWriteOnce"),
            child,
        )
        configuration = pods.config_map(
            f"{name}-configuration", args.namespace, {"redis.conf": args.configuration}, child
        )
        auth = password_secret(f"{name}-auth", args.namespace, args.auth, child)
        labels = pods.labels(name)
        service = headless_service(name, args.namespace, labels, t.REDIS_PORT, child)
        k8s.apps.v1.StatefulSet(
            f"{name}-server",
            metadata=k8s.meta.v1.ObjectMetaArgs(name=name, namespace=args.namespace),
            spec=k8s.apps.v1.StatefulSetSpecArgs(
                replicas=1,
                service_name=name,
                selector=k8s.meta.v1.LabelSelectorArgs(match_labels=labels),
                template=k8s.core.v1.PodTemplateSpecArgs(
                    metadata=k8s.meta.v1.ObjectMetaArgs(labels=labels),
                    spec=_pod(args, volume.claim, configuration.name, auth.name),
                ),
            ),
            opts=pulumi.ResourceOptions(
                parent=self, depends_on=[volume, service, configuration.made, auth.made], custom_timeouts=pods.AWAIT
            ),
        )
        self.register_outputs({"service": name})


def _pod(args: RedisArgs, claim: str, configuration: str, auth: str) -> k8s.core.v1.PodSpecArgs:
    files = (
        pods.certificate_files(t.REDIS_SERVICE, args.certificate),
        pods.Files("configuration", _CONFIGURATION_FOLDER, config_map=configuration),
        pods.Files("auth", str(PurePosixPath(data.REDIS_AUTH_FILE).parent), secret=auth),
    )
    listening = k8s.core.v1.TCPSocketActionArgs(port=t.REDIS_PORT)
    server = k8s.core.v1.ContainerArgs(
        name="redis",
        image=args.image,
        args=[f"{_CONFIGURATION_FOLDER}/redis.conf"],
        ports=[k8s.core.v1.ContainerPortArgs(name="tls", container_port=t.REDIS_PORT, protocol="TCP")],
        volume_mounts=[*(each.mount() for each in files), pods.mount("data", data.REDIS_DATA)],
        security_context=pods.container_security(),
        resources=pods.resources(_MEMORY),
        startup_probe=k8s.core.v1.ProbeArgs(tcp_socket=listening, period_seconds=2, failure_threshold=150),
        readiness_probe=k8s.core.v1.ProbeArgs(tcp_socket=listening, period_seconds=10, failure_threshold=3),
        liveness_probe=k8s.core.v1.ProbeArgs(tcp_socket=listening, period_seconds=30, failure_threshold=6),
    )
    return k8s.core.v1.PodSpecArgs(
        automount_service_account_token=False,
        enable_service_links=False,
        security_context=pods.pod_security(pods.DATA_USER),
        containers=[server],
        volumes=[
            *(each.volume() for each in files),
            k8s.core.v1.VolumeArgs(
                name="data",
                persistent_volume_claim=k8s.core.v1.PersistentVolumeClaimVolumeSourceArgs(claim_name=claim),
            ),
        ],
        termination_grace_period_seconds=60,
    )
