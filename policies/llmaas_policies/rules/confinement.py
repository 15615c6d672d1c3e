"""What the kernel keeps a container from: seccomp, AppArmor, SELinux, masked paths, and where names come from."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from llmaas_policies.model import (
    MISSING,
    UNKNOWN,
    Parameters,
    Resource,
    Severity,
    Subject,
    Violation,
    must_be,
    must_not_be_set,
)
from llmaas_policies.pods import Part, containers_of, pod_metadata, pod_of
from llmaas_policies.rules.pod_security import context_of

subject = Subject()
_OLD_PROFILES: Final = (
    "seccomp.security.alpha.kubernetes.io/",
    "container.seccomp.security.alpha.kubernetes.io/",
    "container.apparmor.security.beta.kubernetes.io/",
)
_RUNTIMES: Final = ("runc", "nvidia")
_ORDINARY_PROFILES: Final = {"runtime/default", "docker/default"}


@subject.rule(
    "seccomp-runtime-default", "Every container has the runtime's seccomp profile.", Severity.MEDIUM,
    ("CIS Kubernetes 5.7.2",), "Set seccompProfile.type: RuntimeDefault on the pod",
)  # fmt: skip
def seccomp_runtime_default(resource: Resource, _: Parameters) -> Iterator[Violation]:
    """Most of the kernel's holes are in calls that no server needs."""
    for part in containers_of(resource):
        if isinstance(part, Violation):
            yield part
            continue
        path = f"{part.path}.securityContext.seccompProfile.type"
        value = context_of(resource, part, "seccompProfile")
        kind = value.get("type", MISSING) if isinstance(value, Mapping) else value
        yield from must_be(kind, path, "it must be RuntimeDefault", expected="RuntimeDefault")


def _annotations(resource: Resource) -> Iterator[Violation]:
    """Profiles set by the annotations of old, on the object or on its pods."""
    path, metadata = pod_metadata(resource)
    if not path:
        return
    places = [("metadata.annotations", resource.get("metadata.annotations"))]
    if path != "metadata":
        found = metadata.get("annotations", MISSING) if isinstance(metadata, Mapping) else metadata
        places.append((f"{path}.annotations", found))
    for where, annotations in places:
        if annotations is UNKNOWN:
            yield Violation(where, "is not known at preview, so it may switch a profile off")
        for name, value in annotations.items() if isinstance(annotations, Mapping) else ():
            if str(name).startswith(_OLD_PROFILES) and value not in _ORDINARY_PROFILES:
                yield Violation(f"{where}[{name}]", f"is {value!r}; only runtime/default is allowed")


def _context(part: Part) -> Iterator[Violation]:
    """What a security context of a pod or a container must not say."""
    above = f"{part.path}.securityContext"
    profile: Any = part.get("securityContext.appArmorProfile")
    if profile is not MISSING:
        kind = profile.get("type", MISSING) if isinstance(profile, Mapping) else profile
        yield from must_be(
            kind, f"{above}.appArmorProfile.type", "it must be RuntimeDefault", expected="RuntimeDefault"
        )
    for name in ("seLinuxOptions", "sysctls"):
        value = part.get(f"securityContext.{name}")
        yield from must_not_be_set(value, f"{above}.{name}", "the node's own setting must stay")
    mount = part.get("securityContext.procMount")
    if mount not in (MISSING, "Default"):
        yield Violation(f"{above}.procMount", f"is {mount!r}; masked paths of /proc must stay masked")


@subject.rule(
    "no-weakened-confinement", "No pod loosens AppArmor, SELinux, kernel settings or the masks of /proc.",
    Severity.HIGH, ("CIS Kubernetes 5.7.3", "ANSSI BP-028 R45"),
    "Remove appArmorProfile, seLinuxOptions, sysctls, procMount and old annotations, or name a waiver", waivable=True,
)  # fmt: skip
def no_weakened_confinement(resource: Resource, _: Parameters) -> Iterator[Violation]:
    """What the node confines by default, a pod may only confine further."""
    yield from _annotations(resource)
    for part in [*pod_of(resource), *containers_of(resource)]:
        if isinstance(part, Violation):
            yield part
        else:
            yield from _context(part)


@subject.rule(
    "known-runtimes", "Containers are run by runc, or by NVIDIA's runtime, which adds GPUs to it.", Severity.HIGH,
    ("ANSSI BP-028 R45",), "Use no runtimeClassName, or nvidia; a RuntimeClass has the handler runc or nvidia",
)  # fmt: skip
def known_runtimes(resource: Resource, _: Parameters) -> Iterator[Violation]:
    """Another runtime is another wall around every container that it runs, and nobody here has looked at it."""
    if resource.kind == "RuntimeClass":
        handler = resource.get("handler")
        if handler not in _RUNTIMES:
            yield Violation("handler", f"is {_shown(handler)}; it must be one of {', '.join(_RUNTIMES)}")
    for pod in pod_of(resource):
        if isinstance(pod, Violation):
            yield pod
            continue
        name = pod.get("runtimeClassName")
        if name is not MISSING and name not in _RUNTIMES:
            text = f"is {_shown(name)}; it must be one of {', '.join(_RUNTIMES)}"
            yield Violation(f"{pod.path}.runtimeClassName", text)


def _shown(value: object) -> str:
    return "missing" if value is MISSING else "not known at preview" if value is UNKNOWN else repr(value)


@subject.rule(
    "names-from-the-cluster", "Pods ask the cluster's name service and no other.", Severity.MEDIUM,
    ("SecNumCloud 3.2 13.2.a",), "Remove dnsPolicy, dnsConfig.nameservers and hostAliases",
)  # fmt: skip
def names_from_the_cluster(resource: Resource, _: Parameters) -> Iterator[Violation]:
    """Names asked elsewhere tell what runs here, and answers from elsewhere lead there."""
    for pod in pod_of(resource):
        if isinstance(pod, Violation):
            yield pod
            continue
        policy = pod.get("dnsPolicy")
        if policy not in (MISSING, "ClusterFirst"):
            yield Violation(f"{pod.path}.dnsPolicy", f"is {policy!r}; it must be ClusterFirst")
        for name in ("dnsConfig.nameservers", "dnsConfig.searches", "hostAliases"):
            yield from must_not_be_set(pod.get(name), f"{pod.path}.{name}", "names come from the cluster alone")
