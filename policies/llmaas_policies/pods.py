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


def _listed(part: Part, name: str) -> Iterator[tuple[str, Any] | Violation]:
    """The items of a list below a part, each with its path; a violation for what is not known."""
    found = part.get(name)
    if found is MISSING:
        return
    if not isinstance(found, (list, tuple)):
        yield Violation(f"{part.path}.{name}", "is not known at preview")
        return
    for index, item in enumerate(found):
        path = f"{part.path}.{name}[{index}]"
        yield Violation(path, "is not known at preview") if item is UNKNOWN else (path, item)


def _parts(part: Part, name: str) -> Iterator[Part | Violation]:
    """The objects of a list below a part."""
    for found in _listed(part, name):
        if isinstance(found, Violation):
            yield found
        else:
            path, item = found
            yield Part(path, item) if isinstance(item, Mapping) else Violation(path, "is no object")


def containers_of(resource: Resource) -> Iterator[Part | Violation]:
    """All containers of a workload; a violation for each that is not known."""
    for pod in pod_of(resource):
        if isinstance(pod, Violation):
            yield pod
            continue
        if pod.get("containers") is MISSING:
            yield Violation(f"{pod.path}.containers", "is missing")
        for name in _CONTAINER_LISTS:
            yield from _parts(pod, name)


def volumes_of(resource: Resource) -> Iterator[Part | Violation]:
    """All volumes of a workload; a violation for each that is not known."""
    for pod in pod_of(resource):
        if isinstance(pod, Violation):
            yield pod
        else:
            yield from _parts(pod, "volumes")


def environment_of(container: Part) -> Iterator[Part | Violation]:
    """The environment variables of a container; a violation for each that is not known."""
    yield from _parts(container, "env")


def arguments_of(container: Part) -> Iterator[str | Violation]:
    """Command and arguments of a container, one by one; a violation for each that is not known."""
    for name in ("command", "args"):
        for found in _listed(container, name):
            yield found if isinstance(found, Violation) else str(found[1])


def program_of(container: Part) -> str:
    """The last part of the image's name, e.g. ``vllm``; empty if it is not known."""
    image = container.get("image")
    if not isinstance(image, str):
        return ""
    return image.split("@")[0].rsplit("/", 1)[-1].split(":")[0]
