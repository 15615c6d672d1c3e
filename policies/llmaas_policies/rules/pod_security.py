"""What a container may do on its host: nothing beyond its own program."""

from collections.abc import Iterator
from typing import Any

from llmaas_policies.model import (
    MISSING,
    UNKNOWN,
    Parameters,
    Resource,
    Severity,
    Subject,
    Violation,
    in_force,
    must_be,
    must_not_be_set,
)
from llmaas_policies.pods import Part, containers_of, pod_of, volumes_of

subject = Subject()
_ANSSI = "ANSSI BP-028 R29"


def _context(resource: Resource, container: Part, name: str) -> Any:
    """A field of the container's security context, else of the pod's."""
    own = container.get(f"securityContext.{name}")
    if own is not MISSING:
        return own
    for pod in pod_of(resource):
        if isinstance(pod, Part):
            return pod.get(f"securityContext.{name}")
    return MISSING


def _each(resource: Resource) -> Iterator[Part | Violation]:
    yield from containers_of(resource)


@subject.rule(
    "no-privileged-container", "No container is privileged.", Severity.CRITICAL,
    ("CIS Kubernetes 5.2.2", _ANSSI), "Remove securityContext.privileged, or name a waiver",
)  # fmt: skip
def no_privileged_container(resource: Resource, parameters: Parameters) -> Iterator[Violation]:
    """A privileged container is root on its host."""
    if in_force(parameters.waivers, "no-privileged-container", resource, parameters.today):
        return
    for part in _each(resource):
        if isinstance(part, Violation):
            yield part
        else:
            path = f"{part.path}.securityContext.privileged"
            yield from must_not_be_set(part.get("securityContext.privileged"), path, "it must not be privileged")


@subject.rule(
    "no-host-namespace", "No pod shares the host's network, processes or IPC.", Severity.HIGH,
    ("CIS Kubernetes 5.2.3", "SecNumCloud 3.2 9.7.a"), "Remove hostNetwork, hostPID and hostIPC, or name a waiver",
)  # fmt: skip
def no_host_namespace(resource: Resource, parameters: Parameters) -> Iterator[Violation]:
    """In the host's network a pod is outside every NetworkPolicy."""
    if in_force(parameters.waivers, "no-host-namespace", resource, parameters.today):
        return
    for pod in pod_of(resource):
        if isinstance(pod, Violation):
            yield pod
            continue
        for name in ("hostNetwork", "hostPID", "hostIPC"):
            yield from must_not_be_set(pod.get(name), f"{pod.path}.{name}", "the host's own must not be shared")


@subject.rule(
    "no-host-path", "No pod mounts a path of its host.", Severity.HIGH,
    ("CIS Kubernetes 5.2.12", "SecNumCloud 3.2 9.7.a"), "Use a claim on a local volume, or name a waiver",
)  # fmt: skip
def no_host_path(resource: Resource, parameters: Parameters) -> Iterator[Violation]:
    """A host path escapes quotas, claims and the check that data lies on encrypted disks."""
    if in_force(parameters.waivers, "no-host-path", resource, parameters.today):
        return
    for volume in volumes_of(resource):
        if isinstance(volume, Violation):
            yield volume
        elif volume.get("hostPath") is not MISSING:
            yield Violation(f"{volume.path}.hostPath", "mounts a path of the host")


@subject.rule(
    "drop-all-capabilities", "Every container drops all capabilities and adds none.", Severity.HIGH,
    ("CIS Kubernetes 5.2.10", _ANSSI), "Set securityContext.capabilities.drop to [ALL] and add nothing",
)  # fmt: skip
def drop_all_capabilities(resource: Resource, parameters: Parameters) -> Iterator[Violation]:
    """What a program does not need it must not have."""
    if in_force(parameters.waivers, "drop-all-capabilities", resource, parameters.today):
        return
    for part in _each(resource):
        if isinstance(part, Violation):
            yield part
            continue
        path = f"{part.path}.securityContext.capabilities"
        dropped = part.get("securityContext.capabilities.drop")
        listed = list(dropped) if isinstance(dropped, (list, tuple)) else dropped
        yield from must_be(listed, f"{path}.drop", "it must be [ALL]", expected=["ALL"])
        yield from must_not_be_set(part.get("securityContext.capabilities.add"), f"{path}.add", "nothing may be added")


@subject.rule(
    "run-as-non-root", "Every container runs as an unprivileged user.", Severity.HIGH,
    ("CIS Kubernetes 5.2.7", _ANSSI), "Set runAsNonRoot: true and a runAsUser above zero",
)  # fmt: skip
def run_as_non_root(resource: Resource, _: Parameters) -> Iterator[Violation]:
    """Root in a container is root on the host one bug away."""
    for part in _each(resource):
        if isinstance(part, Violation):
            yield part
            continue
        path = f"{part.path}.securityContext"
        yield from must_be(
            _context(resource, part, "runAsNonRoot"), f"{path}.runAsNonRoot", "it must be true", expected=True
        )
        user = _context(resource, part, "runAsUser")
        if user is UNKNOWN or user == 0:
            yield Violation(f"{path}.runAsUser", f"is {user!r}; it must be above zero")


@subject.rule(
    "read-only-root", "Every container's root file system is read-only.", Severity.MEDIUM,
    (_ANSSI,), "Set readOnlyRootFilesystem: true and mount an emptyDir where the program must write",
)  # fmt: skip
def read_only_root(resource: Resource, _: Parameters) -> Iterator[Violation]:
    """A program that cannot be changed in place cannot be made to keep prompts in a place nobody looks."""
    for part in _each(resource):
        if isinstance(part, Violation):
            yield part
        else:
            path = f"{part.path}.securityContext.readOnlyRootFilesystem"
            value = part.get("securityContext.readOnlyRootFilesystem")
            yield from must_be(value, path, "it must be true", expected=True)


@subject.rule(
    "no-privilege-escalation", "No container can gain privileges.", Severity.HIGH,
    ("CIS Kubernetes 5.2.6",), "Set allowPrivilegeEscalation: false",
)  # fmt: skip
def no_privilege_escalation(resource: Resource, _: Parameters) -> Iterator[Violation]:
    """Without it a setuid program in the image is a way up."""
    for part in _each(resource):
        if isinstance(part, Violation):
            yield part
        else:
            path = f"{part.path}.securityContext.allowPrivilegeEscalation"
            value = part.get("securityContext.allowPrivilegeEscalation")
            yield from must_be(value, path, "it must be false", expected=False)


@subject.rule(
    "seccomp-runtime-default", "Every container has the runtime's seccomp profile.", Severity.MEDIUM,
    ("CIS Kubernetes 5.7.2",), "Set seccompProfile.type: RuntimeDefault on the pod",
)  # fmt: skip
def seccomp_runtime_default(resource: Resource, _: Parameters) -> Iterator[Violation]:
    """Most of the kernel's holes are in calls that no server needs."""
    for part in _each(resource):
        if isinstance(part, Violation):
            yield part
            continue
        path = f"{part.path}.securityContext.seccompProfile.type"
        value = _context(resource, part, "seccompProfile")
        kind = value.get("type", MISSING) if isinstance(value, dict) else value
        yield from must_be(kind, path, "it must be RuntimeDefault", expected="RuntimeDefault")


@subject.rule(
    "no-service-account-token", "No pod gets a token of the Kubernetes API that it does not use.", Severity.HIGH,
    ("CIS Kubernetes 5.1.6",), "Set automountServiceAccountToken: false, or name a waiver for a pod that needs it",
)  # fmt: skip
def no_service_account_token(resource: Resource, parameters: Parameters) -> Iterator[Violation]:
    """A stolen token is a way into the cluster."""
    if in_force(parameters.waivers, "no-service-account-token", resource, parameters.today):
        return
    for pod in pod_of(resource):
        if isinstance(pod, Violation):
            yield pod
        else:
            path = f"{pod.path}.automountServiceAccountToken"
            yield from must_be(pod.get("automountServiceAccountToken"), path, "it must be false", expected=False)


@subject.rule(
    "requests-and-limits", "Every container asks for CPU and memory and has a memory limit.", Severity.MEDIUM,
    ("CIS Kubernetes 5.7.1", "SecNumCloud 3.2 17.6"), "Set resources.requests and resources.limits.memory",
)  # fmt: skip
def requests_and_limits(resource: Resource, _: Parameters) -> Iterator[Violation]:
    """One pod without a limit takes its neighbours down with it."""
    for part in _each(resource):
        if isinstance(part, Violation):
            yield part
            continue
        for name in ("requests.cpu", "requests.memory", "limits.memory"):
            value = part.get(f"resources.{name}")
            if value is UNKNOWN or value is MISSING:
                state = "is missing" if value is MISSING else "is not known at preview"
                yield Violation(f"{part.path}.resources.{name}", state)
