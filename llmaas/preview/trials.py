"""A trial: an environment with one thing changed, and what preview says of it. The format is that of tests/fixtures."""

import copy
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

import yaml
from llmaas_policies.model import UNKNOWN, Resource
from pydantic import Field

from llmaas.materials import MaterialError
from llmaas.preview.recorder import Declared
from llmaas.preview.report import declare, preview
from llmaas.preview.verdicts import Refusal
from llmaas.settings import Platform, SettingsError, build_platform
from llmaas.settings.source import sections_of_file
from llmaas.settings.types import Day, Section

_STEP: Final = re.compile(r"\[([^\]]+)\]|([^.\[\]]+)")
_REMOVE: Final = object()


class TrialError(Exception):
    """A trial that cannot be run: its file is wrong, or what it changes is not there."""


@dataclass(frozen=True)
class _Replace:
    """Texts that are exchanged in what stands at a place."""

    texts: tuple[tuple[str, str], ...]


class _Loader(yaml.SafeLoader):
    """YAML with ``!remove``, ``!unknown`` (not known at preview) and ``!replace {old: new}``."""


def _replace(loader: yaml.SafeLoader, node: yaml.Node) -> _Replace:
    if not isinstance(node, yaml.MappingNode):
        raise yaml.constructor.ConstructorError(problem="!replace takes {old: new}", problem_mark=node.start_mark)
    return _Replace(tuple((str(old), str(new)) for old, new in loader.construct_mapping(node).items()))


_Loader.add_constructor("!remove", lambda *_: _REMOVE)
_Loader.add_constructor("!unknown", lambda *_: UNKNOWN)
_Loader.add_constructor("!replace", _replace)


class Expected(Section):
    """Who refuses, by which rule, and where; ``also`` names rules that the same mistake cannot but break."""

    by: str
    rule: str | None = None
    resource: str | None = None
    path: str
    says: str = ""
    also: tuple[str, ...] = ()


@dataclass(frozen=True)
class Trial:
    """What is changed in an environment.

    Attributes:
        about: what the mistake is, in a sentence.
        base: the environment that is changed.
        moment: the time at which promises, prices and waivers are judged.
        stack: path in the stack file (as in errors) to its new value.
        objects: name of a declared object (``*`` stands for any text) to paths in it and their new values.
        add: further Kubernetes objects, or resources of the type that stands at ``pulumi``.
        refused: what is expected; None for a change that preview lets pass.
    """

    about: str
    base: str
    moment: datetime
    stack: dict[str, Any] = field(default_factory=dict)
    objects: dict[str, dict[str, Any]] = field(default_factory=dict)
    add: Sequence[dict[str, Any]] = ()
    refused: Expected | None = None


class _File(Section):
    about: str
    base: str = "lab"
    day: Day | None = None
    stack: dict[str, Any] = Field(default_factory=dict)
    objects: dict[str, dict[str, Any]] = Field(default_factory=dict)
    add: list[dict[str, Any]] = Field(default_factory=list)
    refused: dict[str, Any] | None = None


def read_trial(path: Path, today: date | None = None) -> Trial:
    """The trial that a file describes.

    Args:
        path: the file.
        today: the day it is judged on where the file names none; the clock's if it is left away.

    Raises:
        TrialError: the file is no trial.
    """
    try:
        content = _File.model_validate(yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader))  # noqa: S506 - safe
        expected = None if content.refused is None else Expected.model_validate(content.refused, strict=False)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise TrialError(f"{path}: {error}") from error
    day = content.day or today or datetime.now(UTC).date()
    moment = datetime.combine(day, time(12), UTC)
    return Trial(content.about, content.base, moment, content.stack, content.objects, content.add, expected)


def judge(trial: Trial) -> list[tuple[str, Refusal]]:
    """Everything that is refused, each with the name of who refuses: settings, images or a verdict of preview.

    Raises:
        TrialError: what the trial changes is not there.
    """
    source, sections = sections_of_file(trial.base)
    sections = copy.deepcopy(sections)
    for path, value in trial.stack.items():
        _change(sections, path.removeprefix("llmaas:"), value)
    try:
        platform = build_platform(source, sections)
    except SettingsError as error:
        return [("settings", Refusal(problem.path, problem.text)) for problem in error.problems]
    try:
        report = preview(platform, trial.moment, lambda *asked: _altered(trial, _declared(*asked)))
    except MaterialError as error:
        return [("images", Refusal("llmaas:images.lock", str(error)))]
    return [(verdict.subject, refusal) for verdict in report.verdicts for refusal in verdict.refusals]


# What the program declares of one environment; kept, because trials by the dozen change the same one.
_KEPT: Final[dict[str, list[Declared]]] = {}
# Of these sections nothing is rendered; tests hold that.
NOT_RENDERED: Final[Mapping[str, Any]] = {
    **dict.fromkeys(("country", "state", "backup", "waivers"), True),
    "hosts": {"__all__": {"country"}},
    "site": {"registry_country"},
}


def _declared(platform: Platform, images: Mapping[str, str], moment: datetime) -> list[Declared]:
    key = f"{platform.model_dump_json(exclude=dict(NOT_RENDERED))} {sorted(images.items())} {moment}"
    if key not in _KEPT:
        _KEPT[key] = declare(platform, images, moment)
    return _KEPT[key]


def _altered(trial: Trial, declared: Sequence[Declared]) -> list[Declared]:
    found = copy.deepcopy(list(declared))
    for wanted, changes in trial.objects.items():
        matching = [each for each in found if fnmatchcase(Resource(each.inputs, each.type).label, wanted)]
        if not matching:
            raise TrialError(f"{trial.base} declares no {wanted}")
        for each in matching:
            for path, value in changes.items():
                _change(each.inputs, path, value)
    return [*found, *map(_added, trial.add)]


def _added(body: dict[str, Any]) -> Declared:
    """A further object; ``pulumi`` is the type of a resource that is no Kubernetes object."""
    inputs = {key: value for key, value in body.items() if key != "pulumi"}
    return Declared(str(body.get("pulumi", "")), str(body.get("metadata", {}).get("name", "added")), inputs)


def _change(target: Any, path: str, value: Any) -> None:
    """Put a value at a path like ``hosts[3].country`` or ``data[haproxy.cfg]``."""
    steps = [index or name for index, name in _STEP.findall(path)]
    try:
        for step in steps[:-1]:
            target = target.setdefault(step, {}) if isinstance(target, dict) else target[int(step)]
        last: Any = steps[-1] if isinstance(target, dict) else int(steps[-1])
        if value is _REMOVE:
            del target[last]
        elif isinstance(value, _Replace):
            target[last] = _replaced(target[last], value)
        elif isinstance(target, list) and last == len(target):
            target.append(value)
        else:
            target[last] = value
    except (LookupError, TypeError, ValueError) as error:
        raise TrialError(f"there is no {path} to change: {error}") from error


def _replaced(text: Any, change: _Replace) -> str:
    for old, new in change.texts:
        if old not in text:
            raise ValueError(f"{old!r} is not in it")
        text = text.replace(old, new)
    return str(text)
