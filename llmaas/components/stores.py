"""What every data store has in common: one server on one host, its data there, and the name that it is found by."""

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_kubernetes as k8s

from llmaas.components import pods
from llmaas.components.volumes import LocalVolume, LocalVolumeArgs
from llmaas.views import topology as t

_GRACE_SECONDS = 60


@dataclass(frozen=True)
class StoreArgs:
    """Where a store runs, the port that it answers on over TLS, and how much its folder may hold."""

    namespace: str
    host: str
    port: int
    size_gib: int


@dataclass(frozen=True)
class Server:
    """The container of a store, which mounts ``data``, and the pod's other volumes: its files, and room to write."""

    container: k8s.core.v1.ContainerArgs
    files: Sequence[pods.Files]
    scratch: Sequence[k8s.core.v1.VolumeArgs] = ()


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


def deploy_store(
    parent: pulumi.Resource, name: str, args: StoreArgs, server: Server, needs: Sequence[pulumi.Resource]
) -> None:
    """Declare the volume, the headless Service and the StatefulSet of a store below its component.

    Args:
        parent: the component.
        name: of the store and of everything that is made for it.
        args: where it runs.
        server: what runs there.
        needs: what must be there before it starts.
    """
    child = pulumi.ResourceOptions(parent=parent)
    volume = LocalVolume(
        f"{name}-data",
        LocalVolumeArgs(args.namespace, [args.host], f"{t.VOLUMES_ROOT}/{name}", args.size_gib, "ReadWriteOnce"),
        child,
    )
    labels = pods.labels(name)
    service = headless_service(name, args.namespace, labels, args.port, child)
    pod = k8s.core.v1.PodSpecArgs(
        automount_service_account_token=False,
        enable_service_links=False,
        # The host's folders of data belong to one user for all stores.
        security_context=pods.pod_security(pods.DATA_USER),
        containers=[server.container],
        volumes=[*(each.volume() for each in server.files), pods.claimed("data", volume.claim), *server.scratch],
        termination_grace_period_seconds=_GRACE_SECONDS,
    )
    k8s.apps.v1.StatefulSet(
        f"{name}-server",
        metadata=k8s.meta.v1.ObjectMetaArgs(name=name, namespace=args.namespace),
        spec=k8s.apps.v1.StatefulSetSpecArgs(
            replicas=1,
            # With one at a time, a pod that does not become ready is never made anew, whatever a later update corrects.
            pod_management_policy="Parallel",
            service_name=name,
            selector=k8s.meta.v1.LabelSelectorArgs(match_labels=labels),
            template=k8s.core.v1.PodTemplateSpecArgs(metadata=k8s.meta.v1.ObjectMetaArgs(labels=labels), spec=pod),
        ),
        opts=pulumi.ResourceOptions(parent=parent, depends_on=[volume, service, *needs], custom_timeouts=pods.AWAIT),
    )
