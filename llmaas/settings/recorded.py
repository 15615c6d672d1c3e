"""The files beside a stack file: promises that were made, manifests of weights, and where the plan put replicas."""

import hashlib
import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal

import yaml
from llmaas_gateway import chain
from pydantic import TypeAdapter, ValidationError

from llmaas.files import write_atomically
from llmaas.paths import stack_file
from llmaas.settings.errors import Problem, SettingsError
from llmaas.settings.platform import Platform
from llmaas.settings.types import HostName, ModelName, ReplicaCount, Section

_PLACEMENTS: TypeAdapter[dict[ModelName, dict[HostName, ReplicaCount]]] = TypeAdapter(
    dict[ModelName, dict[HostName, ReplicaCount]]
)
_MANIFEST_LINE: Final = re.compile(r"(?P<digest>[0-9a-fA-F]{64})  (?:\./)?(?P<name>\S.*)")
_PLACEMENT_HEAD = "# Where the plan put the replicas; written by `pulumi up` and `llmaas plan --write`. Commit it.\n"


class _Production(Section):
    production_date: str
    long_term_support: bool
    pinned: dict[str, Any]


class _End(Section):
    announced: str
    end_of_support: str
    replacement: str | None


class _Body(Section):
    kind: Literal["production", "end"]
    model: str
    terms: _Production | _End


def promises_file(environment: str) -> Path:
    """The append-only record of an environment's promises."""
    return stack_file(environment).with_name(f"promises.{environment}.jsonl")


def read_records(environment: str) -> list[chain.Record]:
    """All recorded promises; a ``SettingsError`` when one was edited, dropped or cut off."""
    path = promises_file(environment)
    try:
        records = chain.read(path)
        for record in records:
            _Body.model_validate(record.body)
    except (ValueError, OSError) as error:
        problem = Problem(path.name, f"{error}; bring the file back from version control, a promise is never edited")
        raise SettingsError(f"stacks/{path.name}", [problem]) from error
    return records


def append_records(environment: str, bodies: list[dict[str, Any]], now: datetime) -> None:
    """Record promises."""
    read_records(environment)
    chain.append(promises_file(environment), bodies, now)


def manifest_file(platform: Platform, artefact: str) -> Path:
    """Where an artefact's manifest lies once it is imported."""
    return stack_file(platform.environment).parent / platform.artefact(artefact).manifest


def manifest_digests(platform: Platform) -> dict[str, str | None]:
    """SHA-256 of each artefact's manifest, which names the SHA-256 of every file; None where it is not imported yet."""
    digests: dict[str, str | None] = {}
    for artefact in platform.artefacts:
        path = manifest_file(platform, artefact.name)
        digests[artefact.name] = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
    return digests


def file_digests(platform: Platform, artefact: str) -> dict[str, str] | None:
    """SHA-256 of each file that an artefact's manifest names; None where the manifest is not imported yet.

    Raises:
        SettingsError: a line of it cannot be read.
    """
    path = manifest_file(platform, artefact)
    if not path.is_file():
        return None
    digests: dict[str, str] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        entry = _MANIFEST_LINE.fullmatch(line)
        if entry is not None:
            digests[entry["name"]] = entry["digest"].lower()
        elif line.strip():
            problem = Problem(f"line {number}", "is no line of sha256sum; write the manifest anew: sha256sum * > FILE")
            raise SettingsError(str(path), [problem])
    return digests


def placement_file(environment: str) -> Path:
    """Where the plan's placement is kept for models whose placement the stack file leaves open."""
    return stack_file(environment).with_name(f"placement.{environment}.yaml")


def read_placement(environment: str) -> dict[str, dict[str, int]]:
    """The recorded placement by model and host; empty where there is none, a ``SettingsError`` for a broken file."""
    path = placement_file(environment)
    if not path.exists():
        return {}
    try:
        return _PLACEMENTS.validate_python(yaml.safe_load(path.read_text(encoding="utf-8")) or {}, strict=True)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, ValidationError) as error:
        told = "; ".join(str(error).split("\n")[:3])
        text = f"is no placement ({told}); bring it back from version control, or remove it to have it planned anew"
        raise SettingsError(f"stacks/{path.name}", [Problem(path.name, text)]) from error


def write_placement(environment: str, placement: Mapping[str, Mapping[str, int]]) -> Path:
    """Record the placement; nothing is written when it stands there already."""
    path = placement_file(environment)
    content = {model: dict(sorted(hosts.items())) for model, hosts in sorted(placement.items())}
    text = _PLACEMENT_HEAD + yaml.safe_dump(content, default_flow_style=None, width=1000)
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        write_atomically(path, text)
    return path
