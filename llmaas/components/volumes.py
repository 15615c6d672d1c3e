"""Folders of hosts as volumes: data that stays, and files that are only read."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import pulumi
import pulumi_kubernetes as k8s

from llmaas.components.pods import on_hosts

_STORAGE_CLASS = "llmaas-local"


@dataclass(frozen=True)
class LocalVolumeArgs:
    """``path`` on ``hosts`` for the pods of ``namespace``. The folder is Ansible's work.

    On several hosts it must hold the same everywhere: a pod reads that of its own host.
    """

    namespace: str
    hosts: Sequence[str]
    path: str
    size_gib: int
    access: Literal["ReadWriteOnce", "ReadOnlyMany"]


class LocalVolume(pulumi.ComponentResource):
    """A persistent volume bound to one claim, which has the component's name."""

    def __init__(self, name: str, args: LocalVolumeArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmaas:data:LocalVolume", name, None, opts)
        self.claim = name
        size = {"storage": f"{args.size_gib}Gi"}
        affinity = on_hosts(args.hosts).required_during_scheduling_ignored_during_execution
        volume = k8s.core.v1.PersistentVolume(
            f"{name}-volume",
            metadata=k8s.meta.v1.ObjectMetaArgs(name=name),
            spec=k8s.core.v1.PersistentVolumeSpecArgs(
                capacity=size,
                access_modes=[args.access],
                persistent_volume_reclaim_policy="Retain",
                storage_class_name=_STORAGE_CLASS,
                volume_mode="Filesystem",
                local=k8s.core.v1.LocalVolumeSourceArgs(path=args.path),
                node_affinity=k8s.core.v1.VolumeNodeAffinityArgs(required=affinity),
                # Nobody else's claim may take the folder.
                claim_ref=k8s.core.v1.ObjectReferenceArgs(
                    api_version="v1", kind="PersistentVolumeClaim", name=name, namespace=args.namespace
                ),
            ),
            opts=pulumi.ResourceOptions(parent=self),
        )
        k8s.core.v1.PersistentVolumeClaim(
            f"{name}-claim",
            metadata=k8s.meta.v1.ObjectMetaArgs(name=name, namespace=args.namespace),
            spec=k8s.core.v1.PersistentVolumeClaimSpecArgs(
                access_modes=[args.access],
                storage_class_name=_STORAGE_CLASS,
                volume_name=name,
                resources=k8s.core.v1.VolumeResourceRequirementsArgs(requests=size),
            ),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[volume]),
        )
        self.register_outputs({"claim": self.claim})
