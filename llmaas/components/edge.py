"""The edge: one HAProxy on each service host, reached at that host's address and at those that lead there."""

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_kubernetes as k8s

from llmaas.components import pods
from llmaas.components.stores import headless_service
from llmaas.views import topology as t


@dataclass(frozen=True)
class EdgeArgs:
    """``addresses`` are those of ``hosts``, and others that lead to them: whichever host is reached answers."""

    namespace: str
    hosts: Sequence[str]
    addresses: Sequence[str]
    image: str
    configuration: str
    server_certificate: str
    client_certificate: str


class Edge(pulumi.ComponentResource):
    """The Deployment with a pod on every service host, and the Service that publishes it there."""

    def __init__(self, name: str, args: EdgeArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmaas:gateway:Edge", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        labels = pods.labels(name)
        configuration = pods.config_map(
            f"{name}-configuration", args.namespace, {"haproxy.cfg": args.configuration}, child
        )
        k8s.apps.v1.Deployment(
            f"{name}-proxy",
            metadata=k8s.meta.v1.ObjectMetaArgs(name=name, namespace=args.namespace),
            spec=k8s.apps.v1.DeploymentSpecArgs(
                replicas=len(args.hosts),
                selector=k8s.meta.v1.LabelSelectorArgs(match_labels=labels),
                strategy=pods.one_at_a_time(),
                template=k8s.core.v1.PodTemplateSpecArgs(
                    metadata=k8s.meta.v1.ObjectMetaArgs(labels=labels),
                    spec=_pod(args, labels, configuration.name),
                ),
            ),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[configuration.made], custom_timeouts=pods.AWAIT),
        )
        k8s.core.v1.Service(
            f"{name}-service",
            metadata=pods.service_metadata(name, args.namespace),
            spec=k8s.core.v1.ServiceSpecArgs(
                type="ClusterIP",
                selector=labels,
                external_ips=list(args.addresses),
                # The caller's own address must reach the proxy: the administration listener decides by it.
                external_traffic_policy="Local",
                ports=[
                    k8s.core.v1.ServicePortArgs(
                        name="public", port=t.PUBLIC_PORT, target_port=t.EDGE_PUBLIC_PORT, protocol="TCP"
                    ),
                    k8s.core.v1.ServicePortArgs(
                        name="administration",
                        port=t.ADMINISTRATION_PORT,
                        target_port=t.ADMINISTRATION_PORT,
                        protocol="TCP",
                    ),
                ],
            ),
            opts=child,
        )
        # Names each pod for Prometheus; the other Service has one address for all of them.
        headless_service(t.EDGE_STATUS_SERVICE, args.namespace, labels, t.STATUS_PORT, child)
        k8s.policy.v1.PodDisruptionBudget(
            f"{name}-floor",
            metadata=k8s.meta.v1.ObjectMetaArgs(name=name, namespace=args.namespace),
            spec=k8s.policy.v1.PodDisruptionBudgetSpecArgs(
                max_unavailable=1, selector=k8s.meta.v1.LabelSelectorArgs(match_labels=labels)
            ),
            opts=child,
        )
        self.register_outputs({"addresses": list(args.addresses)})


def _pod(args: EdgeArgs, labels: dict[str, str], configuration: str) -> k8s.core.v1.PodSpecArgs:
    files = (
        pods.Files("proxy", pods.HAPROXY_CONFIGURATION, config_map=configuration),
        pods.certificate_files(t.EDGE_SERVICE, args.server_certificate),
        pods.certificate_files(t.EDGE_CLIENT, args.client_certificate),
    )
    ports = {"public": t.EDGE_PUBLIC_PORT, "administration": t.ADMINISTRATION_PORT}
    return k8s.core.v1.PodSpecArgs(
        automount_service_account_token=False,
        enable_service_links=False,
        security_context=pods.pod_security(),
        affinity=pods.spread_over(args.hosts, labels),
        containers=[pods.haproxy_container(args.image, files, ports, "edge")],
        volumes=[each.volume() for each in files],
        termination_grace_period_seconds=pods.GRACE_SECONDS,
    )
