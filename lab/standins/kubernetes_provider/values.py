"""Property values as they travel between the engine and the provider.

The engine sends protobuf structs in which secrets and values that are not known yet are marked by signatures.
Here they become plain Python values, `Secret` and `UNKNOWN`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf import struct_pb2

_SIGNATURE_KEY = "4dabf18193072939515e22adb298388d"
_SECRET_SIGNATURE = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105 - the protocol's constant
_OUTPUT_SIGNATURE = "d0e6a833031e9bbcd3f4e8bde6ca49a4"
_UNKNOWN_TEXTS = frozenset(
    {
        "04da6b54-80e4-46f7-96ec-b56ff0331ba9",  # string
        "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7",  # boolean
        "3eeb2bf0-c639-47a8-9e75-3b44932eb421",  # number
        "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2",  # array
        "030794c1-ac77-496b-92df-f27374a8bd58",  # asset
        "e48ece36-62e2-4504-bad9-02848725956a",  # archive
        "dd056dcd-154b-4c76-9bd3-c8f88648b5ff",  # object
    }
)
_UNKNOWN_TEXT = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"


class Unknown:
    """The type of a value that only an update will tell."""

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN = Unknown()


@dataclass(frozen=True)
class Secret:
    """A value that the engine encrypts in its state."""

    value: Any


def from_struct(struct: struct_pb2.Struct) -> dict[str, Any]:
    """Turn the engine's properties into Python values."""
    return {key: _from_value(value) for key, value in struct.fields.items()}


def _from_value(value: struct_pb2.Value) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        return _from_fields(value.struct_value)
    if kind == "list_value":
        return [_from_value(item) for item in value.list_value.values]
    if kind == "string_value":
        return UNKNOWN if value.string_value in _UNKNOWN_TEXTS else value.string_value
    if kind == "number_value":
        number = value.number_value
        # JSON has one kind of number; the API server refuses 8080.0 where it wants an integer.
        return int(number) if number.is_integer() else number
    if kind == "bool_value":
        return value.bool_value
    return None


def _from_fields(struct: struct_pb2.Struct) -> Any:
    plain = from_struct(struct)
    signature = plain.get(_SIGNATURE_KEY)
    if signature == _SECRET_SIGNATURE:
        return Secret(plain.get("value"))
    if signature == _OUTPUT_SIGNATURE:
        inner = plain.get("value", UNKNOWN)
        return Secret(inner) if plain.get("secret") else inner
    return plain


def to_struct(properties: Mapping[str, Any]) -> struct_pb2.Struct:
    """Turn Python values into the engine's properties."""
    struct = struct_pb2.Struct()
    for key, value in properties.items():
        _set_value(struct.fields[key], value)
    return struct


def _set_value(target: struct_pb2.Value, value: Any) -> None:
    if value is None:
        target.null_value = struct_pb2.NULL_VALUE
    elif isinstance(value, Unknown):
        target.string_value = _UNKNOWN_TEXT
    elif isinstance(value, Secret):
        _set_value(target, {_SIGNATURE_KEY: _SECRET_SIGNATURE, "value": value.value})
    elif isinstance(value, bool):
        target.bool_value = value
    elif isinstance(value, (int, float)):
        target.number_value = value
    elif isinstance(value, str):
        target.string_value = value
    elif isinstance(value, Mapping):
        target.struct_value.SetInParent()
        for key, item in value.items():
            _set_value(target.struct_value.fields[key], item)
    else:
        target.list_value.SetInParent()
        for item in value:
            _set_value(target.list_value.values.add(), item)


def _transformed(value: Any, leaf: Callable[[Any], Any]) -> Any:
    if isinstance(value, Secret):
        return _transformed(value.value, leaf)
    if isinstance(value, dict):
        return {key: _transformed(item, leaf) for key, item in value.items()}
    if isinstance(value, list):
        return [_transformed(item, leaf) for item in value]
    return leaf(value)


def plain(value: Any) -> Any:
    """Take the secret marks off, at every depth."""
    return _transformed(value, lambda leaf: leaf)


def without_nulls(value: Any) -> Any:
    """Drop map entries that are null: an absent field and a null one mean the same to the API server."""
    if isinstance(value, Secret):
        return Secret(without_nulls(value.value))
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [without_nulls(item) for item in value]
    return value


def has_unknown(value: Any) -> bool:
    """Tell whether a value, or any part of it, is not known yet."""
    if isinstance(value, Unknown):
        return True
    if isinstance(value, Secret):
        return has_unknown(value.value)
    if isinstance(value, dict):
        return any(has_unknown(item) for item in value.values())
    if isinstance(value, list):
        return any(has_unknown(item) for item in value)
    return False


def with_secrets_of(value: Any, model: Any) -> Any:
    """Mark in `value` what is marked secret at the same place in `model`."""
    if isinstance(value, Secret):
        return value
    if isinstance(model, Secret):
        return Secret(value)
    if isinstance(value, dict) and isinstance(model, dict):
        return {key: with_secrets_of(item, model.get(key)) for key, item in value.items()}
    if isinstance(value, list) and isinstance(model, list):
        marked = [with_secrets_of(item, part) for item, part in zip(value, model, strict=False)]
        # The server may have reordered or lengthened the list: a secret element then hides the whole list.
        if len(value) != len(model) and any(contains_secret(part) for part in model):
            return Secret(value)
        return marked + value[len(marked) :]
    return value


def contains_secret(value: Any) -> bool:
    """Tell whether a value, or any part of it, is marked secret."""
    if isinstance(value, Secret):
        return True
    if isinstance(value, dict):
        return any(contains_secret(item) for item in value.values())
    if isinstance(value, list):
        return any(contains_secret(item) for item in value)
    return False
