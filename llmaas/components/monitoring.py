"""Prometheus: one server on one host, its data on that host's disk."""

from dataclasses import dataclass
from typing import Final

import pulumi
import pulumi_kubernetes as k8s

from llmaas.components import pods
from llmaas.components.stores import Server, StoreArgs, deploy_store
from llmaas.views import prometheus
from llmaas.views import topology as t

_MEMORY: Final = pods.Memory(128, 1024)
_CONFIGURATION_FOLDER: Final = "/etc/prometheus"


@dataclass(frozen=True)
class PrometheusArgs:
    """``configuration`` says what is read, ``rules`` when to alert, ``web_configuration`` how Prometheus is reached.

    ``receiver_authority`` vouches for whoever is told of alerts, as PEM; empty where our own authority does.
    """

    namespace: str
    host: str
    image: str
    certificate: str
    configuration: str
    rules: str
    web_configuration: str
    receiver_authority: str = ""
    retention_days: int = 15
    size_gib: int = 20


class Prometheus(pulumi.ComponentResource):
    """StatefulSet of one server and the headless Service that names it."""

    def __init__(self, name: str, args: PrometheusArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmaas:monitoring:Prometheus", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        files = {
            "prometheus.yml": args.configuration,
            prometheus.RULES_FILE: args.rules,
            "web.yml": args.web_configuration,
        }
        if args.receiver_authority:
            files[prometheus.RECEIVER_AUTHORITY_FILE] = args.receiver_authority
        configuration = pods.config_map(f"{name}-configuration", args.namespace, files, child)
        server = _server(args, configuration.name)
        store = StoreArgs(args.namespace, args.host, t.PROMETHEUS_PORT, args.size_gib)
        deploy_store(self, name, store, server, [configuration.made])
        self.register_outputs({"service": name})


def _server(args: PrometheusArgs, configuration: str) -> Server:
    files = (
        pods.certificate_files(t.PROMETHEUS_IDENTITY, args.certificate),
        pods.Files("configuration", _CONFIGURATION_FOLDER, config_map=configuration),
    )
    listening = k8s.core.v1.TCPSocketActionArgs(port=t.PROMETHEUS_PORT)
    container = k8s.core.v1.ContainerArgs(
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
    return Server(container, files)
