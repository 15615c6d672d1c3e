"""Compares the inputs of the last update with those of the program, field by field."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from lab.standins.kubernetes_provider import immutable, pods
from lab.standins.kubernetes_provider.configuration import Configuration
from lab.standins.kubernetes_provider.immutable import Path
from lab.standins.kubernetes_provider.objects import (
    AUTONAMED,
    Kind,
    annotation,
    is_set,
    metadata_of,
    name_of,
    namespace_of,
)
from lab.standins.kubernetes_provider.values import Unknown, plain, without_nulls


class Change(Enum):
    """What happened to a field."""

    ADD = "add"
    DELETE = "delete"
    UPDATE = "update"


@dataclass(frozen=True)
class FieldChange:
    """One changed field."""

    path: Path
    change: Change
    replaces: bool

    @property
    def text(self) -> str:
        """The path as the engine writes it: `spec.ports[0].port`, `metadata.labels["a/b"]`."""
        written = ""
        for part in self.path:
            if isinstance(part, int):
                written += f"[{part}]"
            elif re.fullmatch(r"[A-Za-z_$][\w$]*", part):
                written += f".{part}" if written else part
            else:
                written += '["' + part.replace('"', '\\"') + '"]'
        return written


@dataclass(frozen=True)
class Difference:
    """All changed fields of a resource."""

    fields: tuple[FieldChange, ...]
    delete_first: bool
    """The new object has the old one's name: the old one has to go before."""

    @property
    def replaces(self) -> list[FieldChange]:
        """The fields whose change replaces the object."""
        return [field for field in self.fields if field.replaces]


def compare(
    old: Mapping[str, Any], new: Mapping[str, Any], kinds: tuple[Kind, Kind], configuration: Configuration
) -> Difference:
    """Compare the inputs of the last update (of `kinds[0]`) with the program's (of `kinds[1]`)."""
    old_kind, new_kind = kinds
    is_immutable = bool(plain(old.get("immutable")))
    listed = immutable.fields(new_kind, configuration, immutable=is_immutable)
    if old_kind.group != new_kind.group:
        listed.append(("apiVersion",))
    if old_kind.name != new_kind.name:
        listed.append(("kind",))
    before, after = without_nulls(plain(dict(old))), without_nulls(plain(dict(new)))
    found = [
        FieldChange(path, change, immutable.is_below(path, listed)) for path, change in _changes((), before, after)
    ]
    return Difference(tuple(found), any(field.replaces for field in found) and _in_the_way(old, new))


def replace_unready(found: Difference, old: Mapping[str, Any], new: Mapping[str, Any], kind: Kind) -> Difference:
    """Replace a Job that did not complete, where the annotation `pulumi.com/replaceUnready` asks for it.

    `old` are the outputs of the last update: without this, an update would wait again for a Job that gave up.
    """
    is_job = (kind.group, kind.name) == ("batch", "Job")
    if not is_job or not is_set(new, "pulumi.com/replaceUnready"):
        return found
    if pods.condition(plain(dict(old)), "Complete").get("status") == "True":
        return found
    whole = FieldChange(("metadata",), Change.UPDATE, replaces=True)
    return Difference((*found.fields, whole), delete_first=_in_the_way(old, new))


def _in_the_way(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether the new object cannot be made before the old one is gone: they have one name."""
    named_by_us = annotation(new, AUTONAMED) == "true" or metadata_of(new).get("generateName")
    return not named_by_us and name_of(old) == name_of(new) and namespace_of(old) == namespace_of(new)


def _changes(path: Path, old: Any, new: Any) -> Iterator[tuple[Path, Change]]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            if key not in new:
                yield (*path, key), Change.DELETE
            elif key not in old:
                yield (*path, key), Change.ADD
            else:
                yield from _changes((*path, key), old[key], new[key])
    elif isinstance(old, list) and isinstance(new, list):
        for position, (before, after) in enumerate(zip(old, new, strict=False)):
            yield from _changes((*path, position), before, after)
        for position in range(len(old), len(new)):
            yield (*path, position), Change.ADD
        for position in range(len(new), len(old)):
            yield (*path, position), Change.DELETE
    elif isinstance(new, Unknown) or type(old) is not type(new) or old != new:
        yield path, Change.UPDATE
