"""Builds sections one by one and keeps what is right of a wrong one, so that one mistake hides no other."""

import difflib
import json
from dataclasses import dataclass, field
from functools import cache
from types import UnionType
from typing import Annotated, Any, Generic, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, Field, ValidationError, create_model
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from llmaas.settings.errors import Problem
from llmaas.settings.platform import Platform
from llmaas.settings.types import Section

SectionT = TypeVar("SectionT", bound=Section)

# pydantic's error type -> what is wrong, said after the value
_PHRASES = {
    "string_type": "is not text",
    "string_pattern_mismatch": "is not of the right form",
    "string_too_long": "is too long",
    "string_too_short": "is empty",
    "int_type": "is not a whole number",
    "int_from_float": "is not a whole number",
    "float_type": "is not a number",
    "bool_type": "is neither true nor false",
    "tuple_type": "is not a list",
    "dict_type": "is not a mapping",
    "model_type": "is not a mapping",
    "model_attributes_type": "is not a mapping",
    "ip_v4_address": "is not an IPv4 address",
    # the only values of ours that raise it are addresses
    "value_error": "is not an IPv4 address",
    "ip_v4_network": "is not an IPv4 network",
    "date_type": "is not a date",
    "date_parsing": "is not a date",
    "date_from_datetime_parsing": "is not a date",
    "literal_error": "is not one of the allowed values",
    "too_short": "has too few entries",
    "greater_than": "is too small",
    "greater_than_equal": "is too small",
    "less_than": "is too large",
    "less_than_equal": "is too large",
    "finite_number": "is not a finite number",
}
# these say in their own text what would be right
_COMPLETE = {"network_without_length", "network_host_bits", "recipient_checksum"}


@dataclass(frozen=True)
class Item(Generic[SectionT]):
    """A section, or an entry of one, with the fields whose value cannot be relied on."""

    path: str
    value: SectionT
    doubtful: frozenset[str] = frozenset()

    def sure(self, *names: str) -> bool:
        """Whether all these fields hold what the stack file says."""
        return self.doubtful.isdisjoint(names)


@dataclass
class Draft:
    """What could be read of a stack file, and what is wrong with the rest."""

    raw: dict[str, Any]
    values: dict[str, Any] = field(default_factory=dict)
    items: dict[str, list[Item[Any]]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def entries(self, section: str, _type: type[SectionT]) -> list[Item[SectionT]]:
        """The entries of a list section, or the one item of a mapping section."""
        return self.items.get(section, [])

    def names(self, section: str) -> dict[str, int]:
        """Every name that a list section gives, right or wrong, with the number of its first entry."""
        found: dict[str, int] = {}
        raw = self.raw.get(section)
        for index, entry in enumerate(raw if isinstance(raw, list) else []):
            if isinstance(entry, dict) and isinstance(entry.get("name"), str):
                found.setdefault(entry["name"], index)
        return found


def read(raw: dict[str, Any]) -> Draft:
    """Validate each section on its own."""
    draft = Draft(raw)
    for name in raw:
        if name not in Platform.model_fields:
            draft.problems.append(Problem(f"llmaas:{name}", _unknown_key(name, Platform)))
    for name, info in Platform.model_fields.items():
        path = f"llmaas:{name}"
        if name not in raw:
            if info.is_required():
                draft.problems.append(Problem(path, f"is missing; give {info.description}"))
            continue
        _read_section(draft, name, info, path)
    return draft


def _read_section(draft: Draft, name: str, info: FieldInfo, path: str) -> None:
    value = draft.raw[name]
    errors: list[ErrorDetails] = []
    try:
        section = _holder(name).model_validate_json(json.dumps({name: value}))
        draft.values[name] = getattr(section, name)
    except ValidationError as error:
        errors = error.errors()
        draft.problems.extend(_problem(detail) for detail in errors)
    is_list = get_origin(info.annotation) is tuple
    entry_type = get_args(info.annotation)[0] if is_list else info.annotation
    if not (isinstance(entry_type, type) and issubclass(entry_type, Section)):
        return
    if not is_list:
        draft.items[name] = _salvage(path, entry_type, value, [detail["loc"][1:] for detail in errors])
        return
    draft.items[name] = [
        item
        for index, entry in enumerate(value if isinstance(value, list) else [])
        for item in _salvage(
            f"{path}[{index}]",
            entry_type,
            entry,
            [detail["loc"][2:] for detail in errors if detail["loc"][1:2] == (index,)],
        )
    ]


@cache
def _holder(name: str) -> type[Section]:
    """A model with one section only, under its own name and with its own constraints."""
    info = Platform.model_fields[name]
    holder: type[Section] = create_model(f"Only_{name}", __base__=Section, **{name: (info.annotation, info)})  # type: ignore[call-overload]
    return holder


@cache
def _tolerant(entry_type: type[Section]) -> type[Section]:
    """The same type with every field optional; one that had a default keeps it."""
    optional = {
        name: (
            Any if info.annotation is None else info.annotation | None,
            Field(default=None if info.is_required() else info.get_default(call_default_factory=True)),
        )
        for name, info in entry_type.model_fields.items()
    }
    tolerant: type[Section] = create_model(f"Tolerant{entry_type.__name__}", __base__=entry_type, **optional)  # type: ignore[call-overload]
    return tolerant


def _salvage(path: str, entry_type: type[Section], raw: Any, places: list[tuple[int | str, ...]]) -> list[Item[Any]]:
    """The entry without its wrong fields; nothing when it is no mapping at all."""
    if not isinstance(raw, dict):
        return []
    doubtful = frozenset(str(place[0]) for place in places if place)
    if not doubtful:
        return [Item(path, entry_type.model_validate_json(json.dumps(raw)))]
    kept = {key: value for key, value in raw.items() if key not in doubtful}
    return [Item(path, _tolerant(entry_type).model_validate_json(json.dumps(kept)), doubtful)]


def _problem(detail: ErrorDetails) -> Problem:
    location = [part for part in detail["loc"] if part != "[key]"]
    owner, info = _owner_and_field(location)
    path = "llmaas:" + _join(location)
    kind = detail["type"]
    if kind == "extra_forbidden":
        return Problem(path, _unknown_key(str(location[-1]), owner))
    right = info.description if info is not None else None
    remedy = f"; give {right}" if right else ""
    if kind == "missing":
        return Problem(path, f"is missing{remedy}")
    shown = _shown(detail["input"])
    if kind in _COMPLETE:
        return Problem(path, f"{shown} {detail['msg']}")
    return Problem(path, f"{shown} {_PHRASES.get(kind, 'is wrong (' + detail['msg'] + ')')}{remedy}")


def _unknown_key(name: str, owner: type[BaseModel]) -> str:
    known = list(owner.model_fields)
    near = difflib.get_close_matches(name, known, n=1)
    return f"is no known key; {f'did you mean {near[0]}?' if near else 'known are: ' + ', '.join(known)}"


def _shown(value: Any) -> str:
    text = json.dumps(value, default=str) if isinstance(value, (dict, list, bool)) or value is None else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _join(location: list[int | str]) -> str:
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _owner_and_field(location: list[int | str]) -> tuple[type[BaseModel], FieldInfo | None]:
    """The section that a place lies in, and the field whose description says what belongs there."""
    owner: type[BaseModel] = Platform
    annotation: Any = Platform
    info: FieldInfo | None = None
    for part in location:
        annotation = _without_none(annotation)
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            owner = annotation
            info = owner.model_fields.get(str(part))
            annotation = info.annotation if info is not None else None
        else:
            # entries of a list or values of a mapping; the last argument of tuple[X, ...] is an ellipsis
            arguments = [argument for argument in get_args(annotation) if argument is not Ellipsis]
            annotation = arguments[-1] if arguments else None
            if get_origin(annotation) is Annotated:
                annotation = get_args(annotation)[0]
    return owner, info


def _without_none(annotation: Any) -> Any:
    if isinstance(annotation, UnionType) or get_origin(annotation) is Union:
        return next(argument for argument in get_args(annotation) if argument is not type(None))
    return annotation
