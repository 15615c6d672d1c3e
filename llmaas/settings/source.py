"""Reads the raw sections of an environment: from its stack file, or from Pulumi while a program runs.

Both give the same plain data, so that both loaders build equal platforms.
"""

import difflib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml
from llmaas_gateway.unique_keys import UniqueKeyLoader

from llmaas.paths import stack_file
from llmaas.settings.errors import KeysError, Problem, SettingsError

NAMESPACE = "llmaas"
# What Pulumi itself keeps in a stack file.
_TOP_KEYS = frozenset({"config", "encryptionsalt", "encryptedkey", "secretsprovider", "environment"})
# Pulumi writes a secret as a mapping with the key secure.
_SECRET_KEY = re.compile(
    r"(?i)(password|passwd|passphrase|secret|token|credential|(api|access|private|secret|master)_?key)$"
)


class _StackLoader(UniqueKeyLoader):
    """YAML as Pulumi reads it: ``no`` is text, ``1:30`` is text, a date stays text, a key may stand once only."""


_StackLoader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
    ("null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("int", r"^[-+]?(?:0|[1-9][0-9]*)$", "-+0123456789"),
    ("float", r"^[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?$", "-+.0123456789"),
    ("merge", r"^<<$", "<"),
):
    _StackLoader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), list(_first))


def sections_of_file(environment: str) -> tuple[str, dict[str, Any]]:
    """The ``llmaas:`` sections of a stack file without their namespace, and the name for error texts.

    Raises:
        KeysError: it can be read, and has keys where they cannot stand.
        SettingsError: it cannot be read.
    """
    path = stack_file(environment)
    name = f"stacks/{path.name}"
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        known = sorted(other.name.split(".")[1] for other in path.parent.glob("Pulumi.*.yaml"))
        hint = f"environments there are: {', '.join(known)}" if known else "there is no environment yet"
        raise SettingsError(name, [Problem(name, f"no such file; {hint}")]) from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(name, [Problem(name, f"cannot be read ({error}); give it as UTF-8 text")]) from error
    return name, sections_of_text(name, text)


def sections_of_text(name: str, text: str) -> dict[str, Any]:
    """As ``sections_of_file``, for text that is already there."""
    try:
        document = yaml.load(text, Loader=_StackLoader)  # noqa: S506  (a SafeLoader)
        # an alias that contains itself cannot be written as JSON, nor can Pulumi read it
        json.dumps(document)
    except yaml.YAMLError as error:
        raise SettingsError(name, [_yaml_problem(name, error)]) from error
    except (ValueError, TypeError, RecursionError) as error:
        problem = Problem(name, f"is no plain data ({error}); use text keys, lists, mappings and plain values")
        raise SettingsError(name, [problem]) from error
    if not isinstance(document, dict) or not isinstance(document.get("config"), dict):
        raise SettingsError(name, [Problem("config", "is missing; the description stands below one key config:")])
    prefix = f"{NAMESPACE}:"
    sections = {
        str(key).removeprefix(prefix): value for key, value in document["config"].items() if str(key).startswith(prefix)
    }
    problems = [*_misplaced(document), *_in_the_clear(document["config"])]
    if problems:
        raise KeysError(name, problems, sections)
    return sections


def _misplaced(document: dict[Any, Any]) -> Iterator[Problem]:
    """Keys that nobody would read."""
    for key in document:
        if key not in _TOP_KEYS:
            yield Problem(str(key), "is no key of a stack file; the description stands below config:")
    for key in document["config"]:
        namespace, _, section = str(key).rpartition(":")
        if not namespace:
            yield Problem(f"config.{key}", f"has no namespace; give {NAMESPACE}:{key}")
        elif namespace != NAMESPACE and difflib.get_close_matches(namespace.lower(), [NAMESPACE], cutoff=0.8):
            yield Problem(str(key), f"is read by nobody; did you mean {NAMESPACE}:{section}?")


def _in_the_clear(config: dict[Any, Any]) -> Iterator[Problem]:
    for key, value in config.items():
        if _SECRET_KEY.search(str(key)) and isinstance(value, (str, int, float)):
            text = "is named like a secret and stands in the clear; set it with: pulumi config set --secret"
            yield Problem(str(key), text)


def _yaml_problem(name: str, error: yaml.YAMLError) -> Problem:
    mark = getattr(error, "problem_mark", None)
    where = name if mark is None else f"{name}:{mark.line + 1}:{mark.column + 1}"
    return Problem(where, str(getattr(error, "problem", None) or error))


def sections_of_pulumi(configuration: Mapping[str, str], scalars: frozenset[str]) -> dict[str, Any]:
    """The sections as Pulumi holds them: text for ``scalars``, JSON text for everything else."""
    sections: dict[str, Any] = {}
    for key, value in configuration.items():
        namespace, _, section = key.partition(":")
        if namespace != NAMESPACE:
            continue
        sections[section] = value
        if section in scalars:
            continue
        try:
            sections[section] = json.loads(value)
        except ValueError:
            # left as text: the section's own check says that it is no mapping or list
            sections[section] = value
    return sections
