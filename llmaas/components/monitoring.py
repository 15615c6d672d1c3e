"""Prometheus: one server on one host, its data on that host's disk."""

from dataclasses import dataclass
from typing import Final

import pulumi
import pulumi_kubernetes as k8s

from llmaas.components import pods
from llmaas.components.postgres import headless_service
from llmaas.components.volumes import LocalVolume, LocalVolumeArgs
from llmaas.views import prometheus
from llmaas.views import topology as t

_MEMORY: Final = pods.Memory(128, 1024)
_CONFIGURATION_FOLDER: Final = "/etc/prometheus"


@dataclass(frozen=True)
class PrometheusArgs:
    """``configuration`` says what is read, ``web_configuration`` how Prometheus itself is reached."""

    namespace: str
    host: str
    image: str
    certificate: str
    configuration: str
    web_configuration: str
    retention_days: int = 15
    size_gib: int = 20


class Prometheus(pulumi.ComponentResource):
    """StatefulSet of one server and the headless Service that names it."""

    def __init__(self, name: str, args: PrometheusArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmaas:monitoring:Prometheus", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        volume = LocalVolume(
            f"{name}-data",
            LocalVolumeArgs(args.namespace, args.host, f"{t.VOLUMES_ROOT}/{name}", args.size_gib, "ReadWriteOnce"),
            child,
        )
        files = {"prometheus.yml": args.configuration, "web.yml": args.web_configuration}
        configuration = pods.config_map(f"{name}-configuration", args.namespace, files, child)
        labels = pods.labels(name)
        service = headless_service(name, args.namespace, labels, t.PROMETHEUS_PORT, child)
        k8s.apps.v1.StatefulSet(
            f"{name}-server",
            metadata=k8s.meta.v1.ObjectMetaArgs(name=name, namespace=args.namespace),
            spec=k8s.apps.v1.StatefulSetSpecArgs(
                replicas=1,
                service_name=name,
                selector=k8s.meta.v1.LabelSelectorArgs(match_labels=labels),
                template=k8s.core.v1.PodTemplateSpecArgs(
                    metadata=k8s.meta.v1.ObjectMetaArgs(labels=labels),
                    spec=_pod(args, volume.claim, configuration.name),
                ),
            ),
            opts=pulumi.ResourceOptions(
                parent=self, depends_on=[volume, service, configuration.made], custom_timeouts=pods.AWAIT
            ),
        )
        self.register_outputs({"service": name})


def _pod(args: PrometheusArgs, claim: str, configuration: str) -> k8s.core.v1.PodSpecArgs:
    files = (
        pods.certificate_files(t.PROMETHEUS_IDENTITY, args.certificate),
        pods.Files("configuration", _CONFIGURATION_FOLDER, config_map=configuration),
    )
    listening = k8s.core.v1.TCPSocketActionArgs(port=t.PROMETHEUS_PORT)
    server = k8s.core.v1.ContainerArgs(
        name="prometheus",
        image=args.image,
        args=[
            f"--config.file={_CONFIGURATION_FOLDER}/prometheus.yml",
            f"--web.config.file={_CONFIGURATION_FOLDER}/web.yml",
            f"--web.listen-address=:{t.PROMETHEUS_PORT}",
            f"--storage.tsdb.path={prometheus.DATA}",
            f"--storage.tsdb.retention.time={args.retention_days}d",
        ],
        ports=[k8s.core.v1.ContainerPortArgs(name="tls", container_port=t.PROMETHEUS_PORT, protocol="TCP")],
        volume_mounts=[*(each.mount() for each in files), pods.mount("data", prometheus.DATA)],
        security_context=pods.container_security(),
        resources=pods.resources(_MEMORY),
        startup_probe=k8s.core.v1.ProbeArgs(tcp_socket=listening, period_seconds=5, failure_threshold=120),
        readiness_probe=k8s.core.v1.ProbeArgs(tcp_socket=listening, period_seconds=10, failure_threshold=3),
        liveness_probe=k8s.core.v1.ProbeArgs(tcp_socket=listening, period_seconds=30, failure_threshold=6),
    )
    return k8s.core.v1.PodSpecArgs(
        automount_service_account_token=False,
        enable_service_links=False,
        # The host's folders of data belong to one user for all stores.
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
