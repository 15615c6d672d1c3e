"""What a container may do on its host: nothing beyond its own program."""

import re
from collections.abc import Iterator
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
    number,
)
from llmaas_policies.pods import Part, containers_of, pod_of, volumes_of

subject = Subject()
# by the subjects that the control map names, for the guide's own numbers are not used there
_ANSSI: Final = "ANSSI containers"
_QUANTITY: Final = re.compile(r"\+?(\d+(?:\.\d*)?|\.\d+)(m|k|[KMGTPE]i?|[eE][+-]?\d+)?")


def context_of(resource: Resource, container: Part, name: str) -> Any:
    """A field of the container's security context, else of the pod's."""
    own = container.get(f"securityContext.{name}")
    if own is not MISSING:
        return own
    for pod in pod_of(resource):
        if isinstance(pod, Part):
            return pod.get(f"securityContext.{name}")
    return MISSING


@subject.rule(
    "no-privileged-container", "No container is privileged.", Severity.CRITICAL,
    ("CIS Kubernetes 5.2.2", f"{_ANSSI} devices"),
    "Remove securityContext.privileged, or name a waiver", waivable=True,
)  # fmt: skip
def no_privileged_container(resource: Resource, _: Parameters) -> Iterator[Violation]:
    """A privileged container is root on its host; so is a process of the host on Windows."""
    for part in [*containers_of(resource), *pod_of(resource)]:
        if isinstance(part, Violation):
            yield part
            continue
        for name in ("privileged", "windowsOptions"):
            value = part.get(f"securityContext.{name}")
            yield from must_not_be_set(value, f"{part.path}.securityContext.{name}", "it must not be privileged")


@subject.rule(
    "no-host-namespace", "No pod shares the host's network, processes, IPC or users.", Severity.HIGH,
    ("CIS Kubernetes 5.2.3", "SecNumCloud 3.2 9.7.a"), "Remove hostNetwork, hostPID, hostIPC and hostUsers, "
    "or name a waiver", waivable=True,
)  # fmt: skip
def no_host_namespace(resource: Resource, _: Parameters) -> Iterator[Violation]:
    """In the host's network a pod is outside every NetworkPolicy."""
    for pod in pod_of(resource):
        if isinstance(pod, Violation):
            yield pod
            continue
        for name in ("hostNetwork", "hostPID", "hostIPC", "hostUsers"):
            yield from must_not_be_set(pod.get(name), f"{pod.path}.{name}", "the host's own must not be shared")


@subject.rule(
    "no-shared-processes", "The containers of a pod do not see each other's processes.", Severity.MEDIUM,
    ("CIS Kubernetes 5.2.3",), "Remove shareProcessNamespace, or name a waiver", waivable=True,
)  # fmt: skip
def no_shared_processes(resource: Resource, _: Parameters) -> Iterator[Violation]:
    """Through /proc one container reads the other's environment and files, keys among them."""
    for pod in pod_of(resource):
        if isinstance(pod, Violation):
            yield pod
        else:
            path = f"{pod.path}.shareProcessNamespace"
            yield from must_not_be_set(pod.get("shareProcessNamespace"), path, "processes must not be shared")


@subject.rule(
    "no-host-path", "No pod mounts a path of its host.", Severity.HIGH,
    ("CIS Kubernetes 5.2.12", "SecNumCloud 3.2 9.7.a"), "Use a claim on a local volume, or name a waiver",
    waivable=True,
)  # fmt: skip
def no_host_path(resource: Resource, _: Parameters) -> Iterator[Violation]:
    """A host path escapes quotas, claims and the check that data lies on encrypted disks."""
    for volume in volumes_of(resource):
        if isinstance(volume, Violation):
            yield volume
        elif volume.get("hostPath") is not MISSING:
            yield Violation(f"{volume.path}.hostPath", "mounts a path of the host")
    if resource.kind == "PersistentVolume" and resource.get("spec.hostPath") is not MISSING:
        yield Violation("spec.hostPath", "makes a volume of any path of any host")


@subject.rule(
    "drop-all-capabilities", "Every container drops all capabilities and adds none.", Severity.HIGH,
    ("CIS Kubernetes 5.2.10", f"{_ANSSI} capabilities"),
    "Set securityContext.capabilities.drop to [ALL] and add nothing", waivable=True,
)  # fmt: skip
def drop_all_capabilities(resource: Resource, _: Parameters) -> Iterator[Violation]:
    """What a program does not need it must not have."""
    for part in containers_of(resource):
        if isinstance(part, Violation):
            yield part
            continue
        path = f"{part.path}.securityContext.capabilities"
        dropped = part.get("securityContext.capabilities.drop")
        listed = list(dropped) if isinstance(dropped, (list, tuple)) else dropped
        yield from must_be(listed, f"{path}.drop", "it must be [ALL]", expected=["ALL"])
        yield from must_not_be_set(part.get("securityContext.capabilities.add"), f"{path}.add", "nothing may be added")


def _groups(resource: Resource) -> Iterator[tuple[str, Any]]:
    for pod in pod_of(resource):
        if isinstance(pod, Part):
            for name in ("runAsGroup", "fsGroup"):
                yield f"{pod.path}.securityContext.{name}", pod.get(f"securityContext.{name}")
            more = pod.get("securityContext.supplementalGroups")
            for index, group in enumerate(more if isinstance(more, (list, tuple)) else ()):
                yield f"{pod.path}.securityContext.supplementalGroups[{index}]", group
    for part in containers_of(resource):
        if isinstance(part, Part):
            yield f"{part.path}.securityContext.runAsGroup", part.get("securityContext.runAsGroup")


@subject.rule(
    "run-as-non-root", "Every container runs as an unprivileged user and group.", Severity.HIGH,
    ("CIS Kubernetes 5.2.7", f"{_ANSSI} users"),
    "Set runAsNonRoot: true and users and groups above zero", waivable=True,
)  # fmt: skip
def run_as_non_root(resource: Resource, _: Parameters) -> Iterator[Violation]:
    """Root in a container is root on the host one bug away."""
    for part in containers_of(resource):
        if isinstance(part, Violation):
            yield part
            continue
        path = f"{part.path}.securityContext"
        yield from must_be(
            context_of(resource, part, "runAsNonRoot"), f"{path}.runAsNonRoot", "it must be true", expected=True
        )
        user = context_of(resource, part, "runAsUser")
        if user is not MISSING and (number(user) or 0) <= 0:
            yield Violation(f"{path}.runAsUser", f"is {user!r}; it must be above zero")
    for path, group in _groups(resource):
        if group is not MISSING and (number(group) or 0) <= 0:
            yield Violation(path, f"is {group!r}; it must be above zero")


@subject.rule(
    "read-only-root", "Every container's root file system is read-only.", Severity.MEDIUM,
    (f"{_ANSSI} read-only",),
    "Set readOnlyRootFilesystem: true and mount an emptyDir where the program must write", waivable=True,
)  # fmt: skip
def read_only_root(resource: Resource, _: Parameters) -> Iterator[Violation]:
    """A program that cannot be changed in place cannot be made to keep prompts in a place nobody looks."""
    for part in containers_of(resource):
        if isinstance(part, Violation):
            yield part
        else:
            path = f"{part.path}.securityContext.readOnlyRootFilesystem"
            value = part.get("securityContext.readOnlyRootFilesystem")
            yield from must_be(value, path, "it must be true", expected=True)


@subject.rule(
    "no-privilege-escalation", "No container can gain privileges.", Severity.HIGH,
    ("CIS Kubernetes 5.2.6",), "Set allowPrivilegeEscalation: false", waivable=True,
)  # fmt: skip
def no_privilege_escalation(resource: Resource, _: Parameters) -> Iterator[Violation]:
    """Without it a setuid program in the image is a way up."""
    for part in containers_of(resource):
        if isinstance(part, Violation):
            yield part
        else:
            path = f"{part.path}.securityContext.allowPrivilegeEscalation"
            value = part.get("securityContext.allowPrivilegeEscalation")
            yield from must_be(value, path, "it must be false", expected=False)


def _wrong_quantity(value: Any) -> str | None:
    """What is wrong with an amount of CPU or memory."""
    if value is MISSING or value is UNKNOWN:
        return "is missing" if value is MISSING else "is not known at preview"
    amount = _QUANTITY.fullmatch(str(value)) if not isinstance(value, bool) else None
    if amount is None:
        return f"is {value!r}, which is no amount"
    return None if float(amount.group(1)) > 0 else f"is {value!r}; it must be above zero"


@subject.rule(
    "requests-and-limits", "Every container asks for CPU and memory and has a memory limit, all above zero.",
    Severity.MEDIUM, ("CIS Kubernetes 5.7.1", "SecNumCloud 3.2 17.6"),
    "Set resources.requests and resources.limits.memory",
)  # fmt: skip
def requests_and_limits(resource: Resource, _: Parameters) -> Iterator[Violation]:
    """One pod without a limit takes its neighbours down with it."""
    for part in containers_of(resource):
        if isinstance(part, Violation):
            yield part
            continue
        for name in ("requests.cpu", "requests.memory", "limits.memory"):
            wrong = _wrong_quantity(part.get(f"resources.{name}"))
            if wrong:
                yield Violation(f"{part.path}.resources.{name}", wrong)
