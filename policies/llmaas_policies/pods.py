"""Pods wherever they hide: in any workload, with init and ephemeral containers."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from llmaas_policies.model import MISSING, UNKNOWN, Resource, Violation, get

_POD_PATHS: Final = {
    "Pod": "spec",
    "Deployment": "spec.template.spec",
    "StatefulSet": "spec.template.spec",
    "DaemonSet": "spec.template.spec",
    "ReplicaSet": "spec.template.spec",
    "ReplicationController": "spec.template.spec",
    "Job": "spec.template.spec",
    "CronJob": "spec.jobTemplate.spec.template.spec",
    "PodTemplate": "template.spec",
}
_CONTAINER_LISTS: Final = ("initContainers", "containers", "ephemeralContainers")


@dataclass(frozen=True, slots=True)
class Part:
    """A pod's specification or one of its containers, with its path in the object."""

    path: str
    body: Mapping[str, Any]

    def get(self, path: str) -> Any:
        """The value at a dotted path below."""
        return get(self.body, path)


def pod_of(resource: Resource) -> Iterator[Part | Violation]:
    """The pod specification of a workload; nothing for other objects; a violation if it is not known."""
    path = _POD_PATHS.get(resource.kind)
    if path is None:
        return
    found = resource.get(path)
    if isinstance(found, Mapping):
        yield Part(path, found)
    else:
        yield Violation(path, "is not known at preview" if found is UNKNOWN else "is missing")


def containers_of(resource: Resource) -> Iterator[Part | Violation]:
    """All containers of a workload; a violation for each that is not known."""
    for pod in pod_of(resource):
        if isinstance(pod, Violation):
            yield pod
            continue
        for name in _CONTAINER_LISTS:
            found = pod.get(name)
            if found is MISSING and name != "containers":
                continue
            if not isinstance(found, (list, tuple)):
                yield Violation(f"{pod.path}.{name}", "is not known at preview" if found is UNKNOWN else "is missing")
                continue
            for index, container in enumerate(found):
                path = f"{pod.path}.{name}[{index}]"
                if isinstance(container, Mapping):
                    yield Part(path, container)
                else:
                    yield Violation(path, "is not known at preview")


def volumes_of(resource: Resource) -> Iterator[Part | Violation]:
    """All volumes of a workload; a violation for each that is not known."""
    for pod in pod_of(resource):
        if isinstance(pod, Violation):
            yield pod
            continue
        found = pod.get("volumes")
        if found is MISSING:
            continue
        if found is UNKNOWN:
            yield Violation(f"{pod.path}.volumes", "is not known at preview")
            continue
        for index, volume in enumerate(found):
            path = f"{pod.path}.volumes[{index}]"
            yield Part(path, volume) if isinstance(volume, Mapping) else Violation(path, "is not known at preview")


def environment_of(container: Part) -> Iterator[Part | Violation]:
    """The environment variables of a container; a violation for each that is not known."""
    found = container.get("env")
    if found is MISSING:
        return
    if found is UNKNOWN:
        yield Violation(f"{container.path}.env", "is not known at preview")
        return
    for index, variable in enumerate(found):
        path = f"{container.path}.env[{index}]"
        yield Part(path, variable) if isinstance(variable, Mapping) else Violation(path, "is not known at preview")


def arguments_of(container: Part) -> Iterator[str | Violation]:
    """Command and arguments of a container, one by one; a violation for each that is not known."""
    for name in ("command", "args"):
        found = container.get(name)
        if found is MISSING:
            continue
        if found is UNKNOWN:
            yield Violation(f"{container.path}.{name}", "is not known at preview")
            continue
        for index, argument in enumerate(found):
            if argument is UNKNOWN:
                yield Violation(f"{container.path}.{name}[{index}]", "is not known at preview")
            else:
                yield str(argument)


def program_of(container: Part) -> str:
    """The last part of the image's name, e.g. ``vllm``; empty if it is not known."""
    image = container.get("image")
    if not isinstance(image, str):
        return ""
    return image.split("@")[0].rsplit("/", 1)[-1].split(":")[0]
