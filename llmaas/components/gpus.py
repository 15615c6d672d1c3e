"""Real GPUs in the cluster: a device plugin hands them out, an exporter watches them, a runtime brings them in.

Both programs see every device of their host, which takes privileged pods in a namespace of their own: nothing else runs
there, one flow leads in, none out, and neither has a token of the API.
"""

from dataclasses import dataclass
from typing import Final

import pulumi
import pulumi_kubernetes as k8s

from llmaas.components import pods
from llmaas.components.stores import headless_service
from llmaas.views import gpus
from llmaas.views import topology as t

_PLUGINS: Final = "/var/lib/kubelet/device-plugins"
_CONFIGURATION: Final = "/etc/llmaas"
# Which devices a privileged container sees, and what of the driver; the runtime denies it to every other container.
_ALL_GPUS: Final = {"NVIDIA_VISIBLE_DEVICES": "all", "NVIDIA_DRIVER_CAPABILITIES": "utility"}
_MEMORY: Final = pods.Memory(64, 512)


@dataclass(frozen=True)
class GpuNodesArgs:
    """``fields`` is the exporter's list of metrics, ``web_configuration`` how it is reached; ``divided``: by MIG."""

    namespace: str
    device_plugin_image: str
    exporter_image: str
    certificate: str
    fields: str
    web_configuration: str
    node_labels: dict[str, str]
    divided: bool


class GpuNodes(pulumi.ComponentResource):
    """RuntimeClass, device plugin and exporter of all hosts with real GPUs."""

    def __init__(self, name: str, args: GpuNodesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmaas:gpus:GpuNodes", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        runtime = k8s.node.v1.RuntimeClass(
            f"{name}-runtime",
            metadata=k8s.meta.v1.ObjectMetaArgs(name=gpus.RUNTIME_CLASS),
            handler=gpus.RUNTIME_CLASS,
            scheduling=k8s.node.v1.SchedulingArgs(node_selector=args.node_labels),
            opts=child,
        )
        files = {"fields.csv": args.fields, "web.yml": args.web_configuration}
        configuration = pods.config_map(f"{name}-exporter", args.namespace, files, child)
        headless_service(
            t.GPU_EXPORTER_SERVICE, args.namespace, pods.labels(t.GPU_EXPORTER_SERVICE), t.STATUS_PORT, child
        )
        needs = pulumi.ResourceOptions(parent=self, depends_on=[runtime, configuration.made])
        _daemon(t.DEVICE_PLUGIN_PART, args, _device_plugin(args), [_host_path("plugins", _PLUGINS)], needs)
        exporter_files = (
            pods.certificate_files(t.GPU_EXPORTER_SERVICE, args.certificate),
            pods.Files("configuration", _CONFIGURATION, config_map=configuration.name),
        )
        volumes = [each.volume() for each in exporter_files]
        _daemon(t.GPU_EXPORTER_SERVICE, args, _exporter(args, exporter_files), volumes, needs)
        self.register_outputs({"runtime": gpus.RUNTIME_CLASS})


def _device_plugin(args: GpuNodesArgs) -> k8s.core.v1.ContainerArgs:
    return k8s.core.v1.ContainerArgs(
        name=t.DEVICE_PLUGIN_PART,
        image=args.device_plugin_image,
        args=[
            f"--mig-strategy={'single' if args.divided else 'none'}",
            # as mounts, which no pod of a restricted namespace can make itself; variables any image could set
            "--device-list-strategy=volume-mounts",
            "--device-id-strategy=uuid",
            "--pass-device-specs=false",
            "--fail-on-init-error=true",
        ],
        env=pods.plain(_ALL_GPUS),
        volume_mounts=[pods.mount("plugins", _PLUGINS)],
        security_context=_security(),
        resources=pods.resources(_MEMORY),
    )


def _exporter(args: GpuNodesArgs, files: tuple[pods.Files, ...]) -> k8s.core.v1.ContainerArgs:
    node = k8s.core.v1.ObjectFieldSelectorArgs(field_path="spec.nodeName")
    return k8s.core.v1.ContainerArgs(
        name=t.GPU_EXPORTER_SERVICE,
        image=args.exporter_image,
        args=[
            f"--address=:{t.STATUS_PORT}",
            f"--collectors={_CONFIGURATION}/fields.csv",
            f"--web-config-file={_CONFIGURATION}/web.yml",
        ],
        env=[
            *pods.plain(_ALL_GPUS),
            # the label Hostname of every metric
            k8s.core.v1.EnvVarArgs(name="NODE_NAME", value_from=k8s.core.v1.EnvVarSourceArgs(field_ref=node)),
        ],
        ports=[k8s.core.v1.ContainerPortArgs(name="tls", container_port=t.STATUS_PORT, protocol="TCP")],
        volume_mounts=[each.mount() for each in files],
        security_context=_security(),
        resources=pods.resources(_MEMORY),
    )


def _security() -> k8s.core.v1.SecurityContextArgs:
    """Root with every device of the host, and a root file system that cannot be written."""
    return k8s.core.v1.SecurityContextArgs(
        privileged=True,
        read_only_root_filesystem=True,
        run_as_user=0,
        capabilities=k8s.core.v1.CapabilitiesArgs(drop=["ALL"]),
        seccomp_profile=k8s.core.v1.SeccompProfileArgs(type="RuntimeDefault"),
    )


def _host_path(name: str, path: str) -> k8s.core.v1.VolumeArgs:
    return k8s.core.v1.VolumeArgs(
        name=name, host_path=k8s.core.v1.HostPathVolumeSourceArgs(path=path, type="Directory")
    )


def _daemon(
    name: str,
    args: GpuNodesArgs,
    container: k8s.core.v1.ContainerArgs,
    volumes: list[k8s.core.v1.VolumeArgs],
    options: pulumi.ResourceOptions,
) -> None:
    labels = pods.labels(name)
    k8s.apps.v1.DaemonSet(
        name,
        metadata=k8s.meta.v1.ObjectMetaArgs(name=name, namespace=args.namespace),
        spec=k8s.apps.v1.DaemonSetSpecArgs(
            selector=k8s.meta.v1.LabelSelectorArgs(match_labels=labels),
            template=k8s.core.v1.PodTemplateSpecArgs(
                metadata=k8s.meta.v1.ObjectMetaArgs(labels=labels),
                spec=k8s.core.v1.PodSpecArgs(
                    automount_service_account_token=False,
                    enable_service_links=False,
                    runtime_class_name=gpus.RUNTIME_CLASS,
                    node_selector=args.node_labels,
                    containers=[container],
                    volumes=volumes,
                ),
            ),
        ),
        opts=options,
    )
