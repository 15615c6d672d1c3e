"""Label selectors of the Kubernetes API."""

from collections.abc import Mapping
from typing import Any


class SelectorError(ValueError):
    """A selector that no API server would have accepted."""


def matches(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether the labels satisfy the selector; an empty selector is satisfied by all.

    Raises:
        SelectorError: for an operator that does not exist.
    """
    wanted = selector.get("matchLabels") or {}
    if any(labels.get(key) != value for key, value in wanted.items()):
        return False
    return all(_satisfies(expression, labels) for expression in selector.get("matchExpressions") or ())


def _satisfies(expression: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    key, operator, values = str(expression["key"]), expression.get("operator"), expression.get("values") or ()
    match operator:
        case "In":
            return key in labels and labels[key] in values
        case "NotIn":
            # A label that is absent is not in the list either.
            return key not in labels or labels[key] not in values
        case "Exists":
            return key in labels
        case "DoesNotExist":
            return key not in labels
        case _:
            raise SelectorError(f"operator {operator!r} of key {key!r} is none of In, NotIn, Exists, DoesNotExist")
