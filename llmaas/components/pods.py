"""What every pod of the platform has in common: the restricted profile, its placement, probes, files and TLS proxy."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import pulumi
import pulumi_kubernetes as k8s

from llmaas.views import haproxy
from llmaas.views import topology as t

USER: Final = 65532
DATA_USER: Final = 999
HAPROXY_CONFIGURATION: Final = "/etc/haproxy"

# The endpoint must be gone from every proxy's list before the server stops listening.
SETTLE_SECONDS: Final = 8
GRACE_SECONDS: Final = SETTLE_SECONDS + haproxy.DRAIN_SECONDS + 10

# Two slow cores start four model servers at once.
START_SECONDS: Final = 900
AWAIT: Final = pulumi.CustomTimeouts(create="20m", update="20m", delete="10m")


@dataclass(frozen=True)
class Memory:
    """Memory of one container, in MiB: what the scheduler sets aside, and where the kernel ends it."""

    request_mib: int
    limit_mib: int


@dataclass(frozen=True)
class Files:
    """Files of a Secret or ConfigMap as a volume: ``volume`` of the pod, mounted read-only at ``path``."""

    name: str
    path: str
    config_map: str | None = None
    secret: str | None = None

    def volume(self) -> k8s.core.v1.VolumeArgs:
        """The pod's volume; readable by the pod's group alone."""
        if self.secret is not None:
            source = k8s.core.v1.SecretVolumeSourceArgs(secret_name=self.secret, default_mode=0o440)
            return k8s.core.v1.VolumeArgs(name=self.name, secret=source)
        config = k8s.core.v1.ConfigMapVolumeSourceArgs(name=self.config_map, default_mode=0o444)
        return k8s.core.v1.VolumeArgs(name=self.name, config_map=config)

    def mount(self) -> k8s.core.v1.VolumeMountArgs:
        """The container's mount."""
        return k8s.core.v1.VolumeMountArgs(name=self.name, mount_path=self.path, read_only=True)


@dataclass(frozen=True)
class Named:
    """A ConfigMap or Secret by its name, which policies must know at preview; its users depend on ``made``."""

    name: str
    made: pulumi.Resource


def certificate_files(leaf: str, secret: str) -> Files:
    """The certificate called ``leaf`` where the proxies' configuration expects it."""
    return Files(f"certificate-{leaf}", haproxy.certificate_folder(leaf), secret=secret)


def content_name(name: str, content: Mapping[str, str]) -> str:
    """``name`` with a digest of the files: other content is another object, and pods that use it are rolled."""
    digest = hashlib.sha256()
    for key in sorted(content):
        digest.update(f"{key}\0{content[key]}\0".encode())
    return f"{name}-{digest.hexdigest()[:10]}"


def of_its_own(name: str, options: pulumi.ResourceOptions) -> pulumi.ResourceOptions:
    """The options of an object that is named by its content, and is a resource of the stack under that name.

    One resource under which objects replace each other would forget the object before as soon as an update begins to
    make the next one: an update that failed could not be taken back, for that object would be in the way.

    Args:
        name: of the resource, were it one for all contents: what an earlier version of the program called it.
        options: its others.
    """
    return pulumi.ResourceOptions.merge(options, pulumi.ResourceOptions(aliases=[pulumi.Alias(name=name)]))


def config_map(resource: str, namespace: str, content: Mapping[str, str], options: pulumi.ResourceOptions) -> Named:
    """Immutable files, named by their content."""
    name = content_name(resource, content)
    made = k8s.core.v1.ConfigMap(
        name,
        metadata=k8s.meta.v1.ObjectMetaArgs(name=name, namespace=namespace),
        data=content,
        immutable=True,
        opts=of_its_own(resource, options),
    )
    return Named(name, made)


def plain(values: Mapping[str, str]) -> list[k8s.core.v1.EnvVarArgs]:
    """Environment variables that are no secrets."""
    return [k8s.core.v1.EnvVarArgs(name=name, value=value) for name, value in values.items()]


def claimed(name: str, claim: str, *, read_only: bool | None = None) -> k8s.core.v1.VolumeArgs:
    """A volume that a claim is bound to."""
    source = k8s.core.v1.PersistentVolumeClaimVolumeSourceArgs(claim_name=claim, read_only=read_only)
    return k8s.core.v1.VolumeArgs(name=name, persistent_volume_claim=source)


def service_metadata(name: str, namespace: str) -> k8s.meta.v1.ObjectMetaArgs:
    """A Service is there when it is made: its pods are awaited as what they are, and some of them need it first."""
    return k8s.meta.v1.ObjectMetaArgs(name=name, namespace=namespace, annotations={"pulumi.com/skipAwait": "true"})


def labels(part: str, **more: str) -> dict[str, str]:
    """The labels by which Services and NetworkPolicies find the pods of ``part``."""
    return {t.PART_LABEL: part, "app.kubernetes.io/part-of": "llmaas", **more}


def pod_security(user: int = USER) -> k8s.core.v1.PodSecurityContextArgs:
    """The pod's half of the restricted profile; new volumes belong to the user's group."""
    return k8s.core.v1.PodSecurityContextArgs(
        run_as_non_root=True,
        run_as_user=user,
        run_as_group=user,
        fs_group=user,
        # PostgreSQL refuses a folder whose mode was widened; only a fresh volume is given to the group.
        fs_group_change_policy="OnRootMismatch",
        seccomp_profile=k8s.core.v1.SeccompProfileArgs(type="RuntimeDefault"),
    )


def container_security(user: int | None = None) -> k8s.core.v1.SecurityContextArgs:
    """The container's half of the restricted profile, and a root file system that cannot be written."""
    return k8s.core.v1.SecurityContextArgs(
        allow_privilege_escalation=False,
        capabilities=k8s.core.v1.CapabilitiesArgs(drop=["ALL"]),
        read_only_root_filesystem=True,
        run_as_non_root=True,
        run_as_user=user,
        run_as_group=user,
        seccomp_profile=k8s.core.v1.SeccompProfileArgs(type="RuntimeDefault"),
    )


def resources(memory: Memory, cpu: str = "20m", gpus: int = 0) -> k8s.core.v1.ResourceRequirementsArgs:
    """Requests and limits: no CPU limit, which would only stretch slow starts."""
    extended = {"nvidia.com/gpu": str(gpus)} if gpus else {}
    return k8s.core.v1.ResourceRequirementsArgs(
        requests={"cpu": cpu, "memory": f"{memory.request_mib}Mi", **extended},
        limits={"memory": f"{memory.limit_mib}Mi", **extended},
    )


def status_probe(path: str, *, period: int, failures: int, timeout: int = 5) -> k8s.core.v1.ProbeArgs:
    """Asks the pod's HAProxy over TLS; the kubelet shows no certificate and checks none."""
    return k8s.core.v1.ProbeArgs(
        http_get=k8s.core.v1.HTTPGetActionArgs(path=path, port=t.STATUS_PORT, scheme="HTTPS"),
        period_seconds=period,
        failure_threshold=failures,
        timeout_seconds=timeout,
    )


def start_probe(path: str = "/ready") -> k8s.core.v1.ProbeArgs:
    """Gives a slow machine the time it needs."""
    return status_probe(path, period=5, failures=START_SECONDS // 5)


def settle() -> k8s.core.v1.LifecycleArgs:
    """Waits before the container is stopped, so that its callers go elsewhere first."""
    sleep = k8s.core.v1.SleepActionArgs(seconds=SETTLE_SECONDS)
    return k8s.core.v1.LifecycleArgs(pre_stop=k8s.core.v1.LifecycleHandlerArgs(sleep=sleep))


def scratch(name: str, size_mib: int, *, memory: bool = False) -> k8s.core.v1.VolumeArgs:
    """An empty folder that goes with the pod."""
    return k8s.core.v1.VolumeArgs(
        name=name,
        empty_dir=k8s.core.v1.EmptyDirVolumeSourceArgs(size_limit=f"{size_mib}Mi", medium="Memory" if memory else None),
    )


def mount(volume: str, path: str) -> k8s.core.v1.VolumeMountArgs:
    """A folder that the container may write."""
    return k8s.core.v1.VolumeMountArgs(name=volume, mount_path=path)


def haproxy_container(
    image: str, files: Sequence[Files], ports: Mapping[str, int], place: haproxy.Place
) -> k8s.core.v1.ContainerArgs:
    """HAProxy with its configuration, which was rendered for ``place``, and certificates.

    As a sidecar it starts before the pod's program and ends after it, so that nothing in flight is cut.
    """
    sidecar = place != "edge"
    return k8s.core.v1.ContainerArgs(
        name="haproxy",
        image=image,
        restart_policy="Always" if sidecar else None,
        ports=[
            k8s.core.v1.ContainerPortArgs(name=name, container_port=port, protocol="TCP")
            for name, port in {**ports, "status": t.STATUS_PORT}.items()
        ],
        volume_mounts=[each.mount() for each in files],
        security_context=container_security(),
        resources=resources(Memory(haproxy.REQUEST_MIB, haproxy.LIMIT_MIB[place])),
        startup_probe=status_probe("/alive", period=1, failures=120),
        liveness_probe=status_probe("/alive", period=10, failures=6),
        readiness_probe=None if sidecar else status_probe("/alive", period=2, failures=2),
        lifecycle=None if sidecar else settle(),
    )


def on_hosts(hosts: Sequence[str]) -> k8s.core.v1.NodeAffinityArgs:
    """Only on these hosts."""
    return k8s.core.v1.NodeAffinityArgs(
        required_during_scheduling_ignored_during_execution=k8s.core.v1.NodeSelectorArgs(
            node_selector_terms=[
                k8s.core.v1.NodeSelectorTermArgs(
                    match_expressions=[
                        k8s.core.v1.NodeSelectorRequirementArgs(
                            key="kubernetes.io/hostname", operator="In", values=list(hosts)
                        )
                    ]
                )
            ]
        )
    )


def spread_over(hosts: Sequence[str], pod_labels: Mapping[str, str]) -> k8s.core.v1.AffinityArgs:
    """On these hosts, and no two pods of the part on one of them."""
    return k8s.core.v1.AffinityArgs(
        node_affinity=on_hosts(hosts),
        pod_anti_affinity=k8s.core.v1.PodAntiAffinityArgs(
            required_during_scheduling_ignored_during_execution=[
                k8s.core.v1.PodAffinityTermArgs(
                    label_selector=k8s.meta.v1.LabelSelectorArgs(match_labels=dict(pod_labels)),
                    topology_key="kubernetes.io/hostname",
                )
            ]
        ),
    )


def one_at_a_time() -> k8s.apps.v1.DeploymentStrategyArgs:
    """A rollout takes a pod away before it makes the next: its place or its GPUs are not there twice."""
    rolling = k8s.apps.v1.RollingUpdateDeploymentArgs(max_surge=0, max_unavailable=1)
    return k8s.apps.v1.DeploymentStrategyArgs(type="RollingUpdate", rolling_update=rolling)
