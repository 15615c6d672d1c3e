"""Pods wherever they hide: in any workload, with init and ephemeral containers."""

import re
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
# Where one word of a command line ends, also inside a line for a shell.
_BETWEEN_WORDS: Final = re.compile(r"[\s;|&()'\"`]+")
# vllm, /opt/bin/litellm, or a module as python -m takes it
_PROGRAM: Final = re.compile(r"(?:\S*/)?(vllm|litellm)(?:\.(?:entrypoints|proxy)\S*)?")
# what gives a program away under any other name
_VLLM_OPTIONS: Final = {"--served-model-name", "--max-model-len", "--tensor-parallel-size", "--gpu-memory-utilization"}
_LITELLM_VARIABLES: Final = {"LITELLM_MASTER_KEY", "LITELLM_SALT_KEY", "LITELLM_TELEMETRY", "LITELLM_MODE"}


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


def pod_metadata(resource: Resource) -> tuple[str, Any]:
    """The path and the value of a workload's pod metadata; ``MISSING`` for what makes no pods."""
    path = _POD_PATHS.get(resource.kind)
    if path is None:
        return "", MISSING
    above = path.removesuffix("spec") + "metadata"
    return above, resource.get(above)


def listed(part: Part, name: str) -> Iterator[tuple[str, Any] | Violation]:
    """The items of a list below a part, each with its path; a violation for what is no list or not known."""
    found = part.get(name)
    if found is MISSING:
        return
    path = f"{part.path}.{name}"
    if not isinstance(found, (list, tuple)):
        yield Violation(path, "is not known at preview" if found is UNKNOWN else "is no list")
        return
    for index, item in enumerate(found):
        where = f"{path}[{index}]"
        yield Violation(where, "is not known at preview") if item is UNKNOWN else (where, item)


def parts(part: Part, name: str) -> Iterator[Part | Violation]:
    """The objects of a list below a part."""
    for found in listed(part, name):
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
            yield from parts(pod, name)


def volumes_of(resource: Resource) -> Iterator[Part | Violation]:
    """All volumes of a workload; a violation for each that is not known."""
    for pod in pod_of(resource):
        if isinstance(pod, Violation):
            yield pod
        else:
            yield from parts(pod, "volumes")


def environment_of(container: Part) -> Iterator[Part | Violation]:
    """The environment variables of a container; a violation for each that is not known."""
    yield from parts(container, "env")


def arguments_of(container: Part) -> Iterator[tuple[str, str] | Violation]:
    """Command and arguments of a container with their paths, one by one; a violation for each that is not known."""
    for name in ("command", "args"):
        for found in listed(container, name):
            yield found if isinstance(found, Violation) else (found[0], str(found[1]))


def words_of(container: Part) -> Iterator[tuple[str, str] | Violation]:
    """As ``arguments_of``, with a line for a shell taken apart into its words."""
    for found in arguments_of(container):
        if isinstance(found, Violation):
            yield found
            continue
        path, argument = found
        for word in _BETWEEN_WORDS.split(argument):
            if word:
                yield path, word


def options_of(container: Part) -> Iterator[tuple[str, str, str] | Violation]:
    """Path, name (lower-case) and value (may be empty) of each ``--name value`` or ``--name=value``."""
    previous: tuple[str, str] | None = None
    for found in words_of(container):
        if isinstance(found, Violation):
            yield found
            continue
        path, word = found
        if previous is not None:
            yield (*previous, "" if word.startswith("-") else word)
            previous = None
        if word.startswith("-"):
            name, equals, value = word.partition("=")
            name = name.lower().replace("_", "-")
            if equals:
                yield path, name, value
            else:
                previous = (path, name)
    if previous is not None:
        yield (*previous, "")


def variables_of(container: Part) -> dict[str, list[Any]]:
    """Every value that each environment variable is given, in order; ``UNKNOWN`` for one that comes from elsewhere.

    An empty name stands for variables whose names cannot be seen.
    """
    found: dict[str, list[Any]] = {}
    for variable in environment_of(container):
        if isinstance(variable, Violation):
            found.setdefault("", []).append(UNKNOWN)
            continue
        value = variable.get("value")
        from_elsewhere = value is MISSING and variable.get("valueFrom") is not MISSING
        found.setdefault(str(variable.get("name")), []).append(UNKNOWN if from_elsewhere else value)
    return found


def names_in(image: Any) -> list[str]:
    """The words of an image's own name: ``registry:5000/llmaas/vllm-openai:0.32.0@sha256:…`` gives vllm and openai."""
    repository = image.split("@")[0].rsplit("/", 1)[-1].split(":")[0] if isinstance(image, str) else ""
    return re.split(r"[-_.]", repository.lower())


def programs_of(container: Part) -> frozenset[str]:
    """Which of LiteLLM and vLLM a container runs, by its image, name, command line or environment."""
    names = [*names_in(container.get("image")), *re.split(r"[-_.]", str(container.get("name")).lower())]
    words = [found[1] for found in words_of(container) if isinstance(found, tuple)]
    names += [match.group(1) for match in map(_PROGRAM.fullmatch, words) if match]
    variables = [name.upper() for name in variables_of(container)]
    options = [found[1] for found in options_of(container) if isinstance(found, tuple)]
    if any(name.startswith("VLLM_") for name in variables) or _VLLM_OPTIONS.intersection(options):
        names.append("vllm")
    if _LITELLM_VARIABLES.intersection(variables):
        names.append("litellm")
    return frozenset({"litellm", "vllm"} & set(names))
