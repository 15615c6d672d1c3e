"""Reads the typed files that stand beside the stack files: a mapping with one list, every mistake at once."""

from pathlib import Path
from typing import Any, Final, TypeVar

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from llmaas.settings.errors import Problem, SettingsError
from llmaas.settings.types import Section

DocumentT = TypeVar("DocumentT", bound=Section)
_SHOWN: Final = 80


def read_beside(path: Path, document: type[DocumentT], entry: type[Section]) -> DocumentT:
    """The content of a file; ``entry`` is the type of what its list holds, for texts.

    Raises:
        SettingsError: the file cannot be read or is wrong; every mistake with its place and what would be right.
    """
    name = f"stacks/{path.name}"
    try:
        # every value as text: a version is no number, and a day is no date before its type says so
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)  # noqa: S506
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        keys = ", ".join(document.model_fields)
        raise SettingsError(name, [Problem(name, f"cannot be read ({error}); give a mapping with {keys}")]) from error
    try:
        return document.model_validate(_tuples(content))
    except ValidationError as error:
        found = [_problem(detail, document, entry) for detail in error.errors()]
        raise SettingsError(name, found) from error


def _tuples(content: Any) -> Any:
    """Lists as tuples, as frozen sections have them."""
    if isinstance(content, dict):
        return {key: _tuples(value) for key, value in content.items()}
    if isinstance(content, list):
        return tuple(_tuples(value) for value in content)
    return content


def _problem(detail: ErrorDetails, document: type[Section], entry: type[Section]) -> Problem:
    path, owner, info = "", document, None
    for part in detail["loc"]:
        if isinstance(part, int):
            path += f"[{part}]"
            # the first number is an entry's; what lies deeper keeps the description of its list
            owner = entry
        else:
            path += f".{part}" if path else str(part)
            info = owner.model_fields.get(part)
    if detail["type"] == "extra_forbidden":
        return Problem(path, f"is no known key; known are: {', '.join(owner.model_fields)}")
    right = f"; give {info.description}" if info is not None and info.description else ""
    if detail["type"] == "missing":
        return Problem(path, f"is missing{right}")
    shown = str(detail["input"])
    shown = shown if len(shown) <= _SHOWN else f"{shown[: _SHOWN - 3]}..."
    return Problem(path or "the file", f"{shown!r} is wrong{right}")
