"""Between an object as the API server has it and a resource's inputs and outputs in Pulumi's state."""

import base64
import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from lab.standins.kubernetes_provider.objects import Kind
from lab.standins.kubernetes_provider.values import UNKNOWN, Secret, plain, with_secrets_of, without_nulls

FIELD_MANAGER = "__fieldManager"
INITIAL_API_VERSION = "__initialApiVersion"
_SERVER_METADATA = ("creationTimestamp", "generation", "managedFields", "resourceVersion", "selfLink", "uid")
_SUFFIXES = {
    "n": Fraction(1, 10**9), "u": Fraction(1, 10**6), "m": Fraction(1, 1000), "": Fraction(1),
    "k": Fraction(10**3), "M": Fraction(10**6), "G": Fraction(10**9), "T": Fraction(10**12), "P": Fraction(10**15),
    "Ki": Fraction(2**10), "Mi": Fraction(2**20), "Gi": Fraction(2**30), "Ti": Fraction(2**40), "Pi": Fraction(2**50),
}  # fmt: skip
_QUANTITY = re.compile(r"([+-]?\d+(?:\.\d*)?|[+-]?\.\d+)([numkMGTP]|[KMGTP]i)?")


def is_secret(kind: Kind) -> bool:
    """Tell whether the kind is core/v1 Secret."""
    return (kind.group, kind.name) == ("", "Secret")


def body(kind: Kind, inputs: Mapping[str, Any], *, namespaced: bool) -> dict[str, Any]:
    """Make the object to send from a resource's inputs."""
    sent: dict[str, Any] = without_nulls(plain(dict(inputs)))
    sent.update(apiVersion=kind.api_version, kind=kind.name)
    sent.pop("status", None)
    if not namespaced:
        sent.get("metadata", {}).pop("namespace", None)
    if is_secret(kind) and (texts := sent.pop("stringData", None)):
        # Server-side apply cannot take back what came in by the write-only stringData, so it goes in as data.
        encoded = {key: base64.b64encode(str(text).encode()).decode() for key, text in texts.items()}
        sent["data"] = {**(sent.get("data") or {}), **encoded}
    return sent


def outputs(kind: Kind, inputs: Mapping[str, Any], seen: Mapping[str, Any], manager: str) -> dict[str, Any]:
    """Make a resource's outputs from the object as the server returned it; secrets of the inputs stay secret."""
    shown = dict(seen)
    shown["metadata"] = {key: value for key, value in (seen.get("metadata") or {}).items() if key != "managedFields"}
    shown = {key: with_secrets_of(value, inputs.get(key)) for key, value in shown.items()}
    if is_secret(kind):
        if "stringData" in inputs:
            shown["stringData"] = inputs["stringData"]
        for key in ("data", "stringData"):
            if key in shown and not isinstance(shown[key], Secret):
                shown[key] = Secret(shown[key])
    shown[FIELD_MANAGER] = manager
    shown[INITIAL_API_VERSION] = kind.api_version
    return shown


def preview_outputs(kind: Kind, inputs: Mapping[str, Any], seen: Mapping[str, Any], manager: str) -> dict[str, Any]:
    """Make the outputs of an object that a dry run would create: what the server would choose is not known yet."""
    shown = outputs(kind, inputs, seen, manager)
    metadata = shown["metadata"]
    for key in ("creationTimestamp", "generation", "resourceVersion", "uid"):
        if key in metadata:
            metadata[key] = UNKNOWN
    if (kind.group, kind.name) == ("", "Service"):
        wanted, spec = plain(inputs.get("spec")) or {}, shown.get("spec") or {}
        for key in ("clusterIP", "clusterIPs", "healthCheckNodePort"):
            if key in spec and key not in wanted:
                spec[key] = UNKNOWN
    return shown


def imported_inputs(kind: Kind, seen: Mapping[str, Any]) -> dict[str, Any]:
    """Make inputs for an object that was not created by a program."""
    inputs = {key: value for key, value in seen.items() if key != "status"}
    inputs["metadata"] = {
        key: value for key, value in (seen.get("metadata") or {}).items() if key not in _SERVER_METADATA
    }
    if is_secret(kind) and "data" in inputs:
        inputs["data"] = Secret(inputs["data"])
    return inputs


def refreshed_inputs(kind: Kind, inputs: Mapping[str, Any], seen: Mapping[str, Any]) -> dict[str, Any]:
    """Give the inputs that would have led to the object as it is: what somebody else changed shows as a difference.

    Fields that the inputs do not have belong to others (defaults, controllers) and are left out.
    """
    compared = dict(seen)
    if is_secret(kind) and "stringData" in inputs:
        compared["stringData"], compared["data"] = _split_secret(inputs, seen)
    refreshed = _reconciled(dict(inputs), compared)
    return refreshed if isinstance(refreshed, dict) else dict(inputs)


def _split_secret(inputs: Mapping[str, Any], seen: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, str]]:
    texts, encoded = plain(inputs["stringData"]) or {}, dict(seen.get("data") or {})
    decoded = {key: base64.b64decode(encoded.pop(key)).decode(errors="replace") for key in texts if key in encoded}
    return decoded, encoded


def _reconciled(wanted: Any, found: Any) -> Any:
    if isinstance(wanted, Secret):
        return Secret(_reconciled(wanted.value, found))
    if isinstance(wanted, dict) and isinstance(found, dict):
        kept = {}
        for key, value in wanted.items():
            if key in found:
                kept[key] = _reconciled(value, found[key])
            elif plain(value) in (None, "", 0, False, [], {}):
                # The server drops what is empty: that is no change.
                kept[key] = value
        return kept
    if isinstance(wanted, list) and isinstance(found, list):
        return _reconciled_list(wanted, found)
    return wanted if _same_scalar(wanted, found) else found


def _reconciled_list(wanted: list[Any], found: list[Any]) -> list[Any]:
    def name(item: Any) -> Any:
        item = item.value if isinstance(item, Secret) else item
        return plain(item.get("name")) if isinstance(item, dict) else None

    names = [name(item) for item in wanted]
    if wanted and all(names) and len(set(names)) == len(names) and all(name(item) for item in found):
        # The server merges such lists by name; entries of other names are somebody else's.
        by_name = {name(item): item for item in found}
        return [_reconciled(item, by_name[key]) for item, key in zip(wanted, names, strict=True) if key in by_name]
    pairs = [_reconciled(item, seen) for item, seen in zip(wanted, found, strict=False)]
    return pairs + found[len(pairs) :]


def _same_scalar(wanted: Any, found: Any) -> bool:
    if type(wanted) is type(found) and wanted == found:
        return True
    if isinstance(wanted, (bool, dict, list)) or isinstance(found, (bool, dict, list)):
        return False
    one, other = _quantity(wanted), _quantity(found)
    return one is not None and one == other


def _quantity(value: Any) -> Fraction | None:
    """Read 0.5, "500m" and "1Gi" alike: the server writes quantities in its own way."""
    match = _QUANTITY.fullmatch(str(value)) if value is not None else None
    return Fraction(match[1]) * _SUFFIXES[match[2] or ""] if match else None
