"""Checks a resource's inputs and fills in what the user left out: kind, name, namespace."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from lab.standins.kubernetes_provider.objects import AUTONAMED, Kind, annotation, metadata_of, name_of
from lab.standins.kubernetes_provider.values import UNKNOWN, Secret, Unknown, has_unknown


@dataclass(frozen=True)
class Naming:
    """How to name an object that its author did not name.

    Attributes:
        resource: the Pulumi resource's name.
        seed: randomness from the engine, the same for a preview and its update.
        proposed: a name that the engine proposes or enforces, empty if it leaves it to us.
        disabled: the project's configuration wants every name written out.
    """

    resource: str
    seed: bytes
    proposed: str = ""
    disabled: bool = False

    def new_name(self) -> str:
        """Make a name: the resource's own and eight random hexadecimal digits."""
        return self.proposed or f"{self.resource}-{hashlib.sha256(self.seed).hexdigest()[:8]}"


def checked(
    kind: Kind, old: Mapping[str, Any], new: Mapping[str, Any], naming: Naming, namespace_for: Callable[[Kind], str]
) -> tuple[dict[str, Any], str]:
    """Complete the inputs of a resource.

    Args:
        kind: what kind of object it is.
        old: the inputs of the last update, empty if there was none.
        new: the inputs of the program.
        naming: how to name an object without a name.
        namespace_for: gives the namespace of objects without one, empty for kinds that live in none.

    Returns:
        The inputs, and why they cannot be accepted (empty if they can).
    """
    inputs = {**new, "apiVersion": kind.api_version, "kind": kind.name}
    if kind.name == "Secret" and kind.group == "":
        for key in ("data", "stringData"):
            if key in inputs and not isinstance(inputs[key], Secret):
                inputs[key] = Secret(inputs[key])
    if isinstance(inputs.get("metadata"), Unknown):
        return inputs, ""
    metadata = dict(metadata_of(inputs))
    if not metadata.get("name") and not metadata.get("generateName"):
        if naming.disabled:
            return inputs, "metadata.name is missing and automatic names are disabled: write the name out"
        metadata.update(_automatic_name(metadata, old, naming))
    if not metadata.get("namespace") and (namespace := namespace_for(kind)):
        metadata["namespace"] = namespace
    inputs["metadata"] = metadata
    return inputs, _fault(metadata)


def _automatic_name(metadata: Mapping[str, Any], old: Mapping[str, Any], naming: Naming) -> dict[str, Any]:
    annotations = metadata.get("annotations")
    if isinstance(annotations, Unknown):
        # The mark that the name is ours would be lost: the name itself is then not known yet either.
        return {"name": UNKNOWN}
    known = annotations if isinstance(annotations, dict) else {}
    was_automatic = annotation(old, AUTONAMED) == "true" and name_of(old)
    name = name_of(old) if was_automatic else naming.new_name()
    return {"name": name, "annotations": {**known, AUTONAMED: "true"}}


def _fault(metadata: Mapping[str, Any]) -> str:
    for key in ("labels", "annotations"):
        values = metadata.get(key)
        if isinstance(values, Secret):
            values = values.value
        if values is None or isinstance(values, Unknown):
            continue
        if not isinstance(values, dict):
            return f"metadata.{key} must be a mapping of text to text"
        for name, value in values.items():
            if value is not None and not isinstance(value, (str, Secret)) and not has_unknown(value):
                return f"metadata.{key}[{name!r}] is {value!r}: it must be text; put it in quotes"
    return ""
