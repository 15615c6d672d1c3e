"""PostgreSQL: one server on one host, its data on that host's disk."""

from dataclasses import dataclass
from typing import Final

import pulumi
import pulumi_kubernetes as k8s

from llmaas.components import pods
from llmaas.components.secrets import SecretValues, password_secret
from llmaas.components.stores import Server, StoreArgs, deploy_store
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
        secret = password_secret(f"{name}-superuser", args.namespace, args.superuser, child)
        server = _server(args, secret.name)
        store = StoreArgs(args.namespace, args.host, t.POSTGRES_PORT, args.size_gib)
        deploy_store(self, name, store, server, [secret.made])
        self.register_outputs({"service": name})


def _server(args: PostgresArgs, superuser: str) -> Server:
    certificate = pods.Files("certificate", "/run/tls", secret=args.certificate)
    password = pods.Files("password", _PASSWORD_FOLDER, secret=superuser)
    ready = k8s.core.v1.ExecActionArgs(command=["pg_isready", "--quiet"])
    container = k8s.core.v1.ContainerArgs(
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
    return Server(container, (certificate, password), (pods.scratch("socket", 8), pods.scratch("tmp", 256)))
