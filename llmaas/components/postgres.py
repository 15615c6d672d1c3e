"""PostgreSQL: one server on one host, its data on that host's disk."""

from dataclasses import dataclass
from typing import Final

import pulumi
import pulumi_kubernetes as k8s

from llmaas.components import pods
from llmaas.components.secrets import SecretValues, password_secret
from llmaas.components.volumes import LocalVolume, LocalVolumeArgs
from llmaas.views import topology as t

_MEMORY: Final = pods.Memory(96, 1024)
_PASSWORD_FOLDER: Final = "/run/llmaas/postgres"  # noqa: S105 - a folder


@dataclass(frozen=True)
class PostgresArgs:
    """``superuser`` holds the key ``password``, which the server reads at its first start."""

    namespace: str
    host: str
    image: str
    certificate: str
    superuser: SecretValues
    size_gib: int = 20


class Postgres(pulumi.ComponentResource):
    """StatefulSet of one server and the headless Service that names it."""

    def __init__(self, name: str, args: PostgresArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmaas:data:Postgres", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        volume = LocalVolume(
            f"{name}-data",
            LocalVolumeArgs(args.namespace, args.host, f"{t.VOLUMES_ROOT}/{name}", args.size_gib, "ReadWriteOnce"),
            child,
        )
        secret = password_secret(f"{name}-superuser", args.namespace, args.superuser, child)
        labels = pods.labels(name)
        service = headless_service(name, args.namespace, labels, t.POSTGRES_PORT, child)
        k8s.apps.v1.StatefulSet(
            f"{name}-server",
            metadata=k8s.meta.v1.ObjectMetaArgs(name=name, namespace=args.namespace),
            spec=k8s.apps.v1.StatefulSetSpecArgs(
                replicas=1,
                service_name=name,
                selector=k8s.meta.v1.LabelSelectorArgs(match_labels=labels),
                template=k8s.core.v1.PodTemplateSpecArgs(
                    metadata=k8s.meta.v1.ObjectMetaArgs(labels=labels), spec=_pod(args, volume.claim, secret.name)
                ),
            ),
            opts=pulumi.ResourceOptions(
                parent=self, depends_on=[volume, service, secret.made], custom_timeouts=pods.AWAIT
            ),
        )
        self.register_outputs({"service": name})


def headless_service(
    name: str, namespace: str, labels: dict[str, str], port: int, options: pulumi.ResourceOptions
) -> k8s.core.v1.Service:
    """A Service without an address of its own: its name stands for the pods that are ready."""
    return k8s.core.v1.Service(
        f"{name}-service",
        metadata=pods.service_metadata(name, namespace),
        spec=k8s.core.v1.ServiceSpecArgs(
            cluster_ip="None",
            selector=labels,
            ports=[k8s.core.v1.ServicePortArgs(name="tls", port=port, target_port=port, protocol="TCP")],
        ),
        opts=options,
    )


def _pod(args: PostgresArgs, claim: str, superuser: str) -> k8s.core.v1.PodSpecArgs:
    certificate = pods.Files("certificate", "/run/tls", secret=args.certificate)
    password = pods.Files("password", _PASSWORD_FOLDER, secret=superuser)
    ready = k8s.core.v1.ExecActionArgs(command=["pg_isready", "--quiet"])
    server = k8s.core.v1.ContainerArgs(
        name="postgres",
        image=args.image,
        env=[k8s.core.v1.EnvVarArgs(name="POSTGRES_PASSWORD_FILE", value=f"{_PASSWORD_FOLDER}/password")],
        ports=[k8s.core.v1.ContainerPortArgs(name="tls", container_port=t.POSTGRES_PORT, protocol="TCP")],
        volume_mounts=[
            certificate.mount(),
            password.mount(),
            pods.mount("data", "/var/lib/postgresql/data"),
            pods.mount("socket", "/run/postgresql"),
            pods.mount("tmp", "/tmp"),  # noqa: S108 - a volume of its own
        ],
        security_context=pods.container_security(),
        resources=pods.resources(_MEMORY),
        startup_probe=k8s.core.v1.ProbeArgs(exec_=ready, period_seconds=2, failure_threshold=300, timeout_seconds=5),
        readiness_probe=k8s.core.v1.ProbeArgs(exec_=ready, period_seconds=10, failure_threshold=3, timeout_seconds=5),
        liveness_probe=k8s.core.v1.ProbeArgs(exec_=ready, period_seconds=30, failure_threshold=6, timeout_seconds=10),
    )
    return k8s.core.v1.PodSpecArgs(
        automount_service_account_token=False,
        enable_service_links=False,
        security_context=pods.pod_security(pods.DATA_USER),
        containers=[server],
        volumes=[
            certificate.volume(),
            password.volume(),
            k8s.core.v1.VolumeArgs(
                name="data",
                persistent_volume_claim=k8s.core.v1.PersistentVolumeClaimVolumeSourceArgs(claim_name=claim),
            ),
            pods.scratch("socket", 8),
            pods.scratch("tmp", 256),
        ],
        termination_grace_period_seconds=60,
    )
