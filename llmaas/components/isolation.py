"""Namespaces that admit only restricted pods and, unless a flow says otherwise, no connection in or out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import pulumi
import pulumi_kubernetes as k8s

from llmaas.views.network_policies import Policy


@dataclass(frozen=True)
class IsolationArgs:
    """The namespaces, the NetworkPolicies inside them, and those whose pods must see devices of their hosts."""

    namespaces: Sequence[str]
    policies: Sequence[Policy]
    privileged: Sequence[str] = ()


class Isolation(pulumi.ComponentResource):
    """All namespaces of the platform with their policies; everything else depends on it."""

    def __init__(self, name: str, args: IsolationArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmaas:isolation:Isolation", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        made = {
            namespace: k8s.core.v1.Namespace(
                f"{name}-{namespace}",
                metadata=k8s.meta.v1.ObjectMetaArgs(
                    name=namespace,
                    labels={
                        f"pod-security.kubernetes.io/{mode}{suffix}": value
                        for mode in ("enforce", "audit", "warn")
                        for suffix, value in (("", _level(args, namespace)), ("-version", "latest"))
                    },
                ),
                opts=child,
            )
            for namespace in args.namespaces
        }
        for policy in args.policies:
            k8s.networking.v1.NetworkPolicy(
                f"{name}-{policy.namespace}-{policy.name}",
                # The plain name: policies judge at preview, before the cluster has answered.
                metadata=k8s.meta.v1.ObjectMetaArgs(name=policy.name, namespace=policy.namespace),
                spec=cast("k8s.networking.v1.NetworkPolicySpecArgsDict", policy.spec),
                opts=pulumi.ResourceOptions(parent=self, depends_on=[made[policy.namespace]]),
            )
        self.register_outputs({"namespaces": list(args.namespaces)})


def _level(args: IsolationArgs, namespace: str) -> str:
    return "privileged" if namespace in args.privileged else "restricted"
