"""What programs are told in text: configuration files, arguments, environment; and every text of an object."""

import base64
import binascii
import functools
from collections.abc import Iterator, Mapping
from typing import Any, Final

import yaml

from llmaas_policies.model import MISSING, UNKNOWN, Resource, Violation
from llmaas_policies.pods import Part, arguments_of, containers_of, environment_of

_HOOKS: Final = ("livenessProbe", "readinessProbe", "startupProbe", "lifecycle.postStart", "lifecycle.preStop")


def decoded(text: Any) -> str:
    """What base64 text holds, as far as it is text; empty for what is no base64."""
    if not isinstance(text, str):
        return ""
    try:
        return base64.b64decode(text, validate=False).decode("utf-8", errors="replace")
    except (binascii.Error, ValueError):
        return ""


@functools.lru_cache(maxsize=256)
def parsed(text: str) -> Any:
    """A file as YAML or JSON; ``MISSING`` for what is neither. Kept, because several rules look at the same file."""
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError):
        return MISSING


def files_of(resource: Resource) -> Iterator[tuple[str, str, str] | Violation]:
    """Path, name and text of each file of a ConfigMap or Secret; a violation for each that is not known."""
    if resource.kind not in {"ConfigMap", "Secret"}:
        return
    encoded = {"binaryData", "data"} if resource.kind == "Secret" else {"binaryData"}
    for field in ("data", "stringData", "binaryData"):
        data = resource.get(field)
        if data is UNKNOWN:
            yield Violation(field, "is not known at preview")
        for name, text in data.items() if isinstance(data, Mapping) else ():
            path = f"{field}[{name}]"
            if text is UNKNOWN:
                yield Violation(path, "is not known at preview")
            else:
                yield path, str(name), decoded(text) if field in encoded else str(text)


def known_files(resource: Resource) -> Iterator[tuple[str, str, str] | Violation]:
    """As ``files_of``, but what is not known of a Secret is left out: its files are judged as far as they are known."""
    for found in files_of(resource):
        if not isinstance(found, Violation) or resource.kind == "ConfigMap":
            yield found


def commands_of(container: Part) -> Iterator[tuple[str, str]]:
    """The command lines that a container runs, also in probes and hooks: words one a line, with their paths."""
    for name in ("command", "args", *(f"{hook}.exec.command" for hook in _HOOKS)):
        words = container.get(name)
        if isinstance(words, (list, tuple)):
            yield f"{container.path}.{name}", "\n".join(map(str, words))


def container_texts(container: Part) -> Iterator[tuple[str, str] | Violation]:
    """Command lines and environment of a container. A value that is not known is left to the rules on its name."""
    yield from (found for found in arguments_of(container) if isinstance(found, Violation))
    yield from commands_of(container)
    for variable in environment_of(container):
        if isinstance(variable, Violation):
            yield variable
            continue
        value = variable.get("value")
        if value is not MISSING and value is not UNKNOWN:
            yield f"{variable.path}.value", f"{variable.get('name')}={value}"


def configuration_texts(resource: Resource) -> Iterator[tuple[str, str] | Violation]:
    """What programs are told: files of ConfigMaps and known ones of Secrets, command lines, environments."""
    for found in known_files(resource):
        yield found if isinstance(found, Violation) else (found[0], found[2])
    for container in containers_of(resource):
        if isinstance(container, Violation):
            yield container
        else:
            yield from container_texts(container)


def strings_of(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every text anywhere in an object, with its path."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for key, below in value.items():
            yield from strings_of(below, f"{path}.{key}" if path else str(key))
    elif isinstance(value, (list, tuple)):
        for index, below in enumerate(value):
            yield from strings_of(below, f"{path}[{index}]")


def without_comments(text: str) -> str:
    """A configuration file without the lines that are comments."""
    return "\n".join(line for line in text.splitlines() if not line.lstrip().startswith(("#", "//")))
