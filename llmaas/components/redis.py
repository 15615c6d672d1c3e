"""Redis: one server on one host, every second of its data on that host's disk."""

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

import pulumi
import pulumi_kubernetes as k8s

from llmaas.components import pods
from llmaas.components.secrets import SecretValues, password_secret
from llmaas.components.stores import Server, StoreArgs, deploy_store
from llmaas.views import data
from llmaas.views import topology as t

_CONFIGURATION_FOLDER: Final = "/etc/llmaas/redis"


@dataclass(frozen=True)
class RedisArgs:
    """``auth`` holds the file ``password.conf``, ``configuration`` all the rest of redis.conf.

    ``needed_mib`` is what Redis is expected to take at most, ``memory_mib`` what its configuration allows it.
    """

    namespace: str
    host: str
    image: str
    certificate: str
    configuration: str
    auth: SecretValues
    needed_mib: int
    memory_mib: int
    size_gib: int = 5


class Redis(pulumi.ComponentResource):
    """StatefulSet of one server and the headless Service that names it."""

    def __init__(self, name: str, args: RedisArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmaas:data:Redis", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        configuration = pods.config_map(
            f"{name}-configuration", args.namespace, {"redis.conf": args.configuration}, child
        )
        auth = password_secret(f"{name}-auth", args.namespace, args.auth, child)
        server = _server(args, configuration.name, auth.name)
        store = StoreArgs(args.namespace, args.host, t.REDIS_PORT, args.size_gib)
        deploy_store(self, name, store, server, [configuration.made, auth.made])
        self.register_outputs({"service": name})


def _server(args: RedisArgs, configuration: str, auth: str) -> Server:
    files = (
        pods.certificate_files(t.REDIS_SERVICE, args.certificate),
        pods.Files("configuration", _CONFIGURATION_FOLDER, config_map=configuration),
        pods.Files("auth", str(PurePosixPath(data.REDIS_AUTH_FILE).parent), secret=auth),
    )
    # A child that writes the file anew may come to hold a copy of everything that changes meanwhile.
    memory = pods.Memory(args.needed_mib, 2 * args.memory_mib)
    listening = k8s.core.v1.TCPSocketActionArgs(port=t.REDIS_PORT)
    container = k8s.core.v1.ContainerArgs(
        name="redis",
        image=args.image,
        args=[f"{_CONFIGURATION_FOLDER}/redis.conf"],
        ports=[k8s.core.v1.ContainerPortArgs(name="tls", container_port=t.REDIS_PORT, protocol="TCP")],
        volume_mounts=[*(each.mount() for each in files), pods.mount("data", data.REDIS_DATA)],
        security_context=pods.container_security(),
        resources=pods.resources(memory),
        startup_probe=k8s.core.v1.ProbeArgs(tcp_socket=listening, period_seconds=2, failure_threshold=150),
        readiness_probe=k8s.core.v1.ProbeArgs(tcp_socket=listening, period_seconds=10, failure_threshold=3),
        liveness_probe=k8s.core.v1.ProbeArgs(tcp_socket=listening, period_seconds=30, failure_threshold=6),
    )
    return Server(container, files)
