"""The files beside a stack file: promises that were made, and manifests of model weights."""

import hashlib
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from llmaas_gateway import chain

from llmaas.paths import stack_file
from llmaas.settings.errors import Problem, SettingsError
from llmaas.settings.platform import Platform
from llmaas.settings.types import Section


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


def manifest_digests(platform: Platform) -> dict[str, str | None]:
    """SHA-256 of each artefact's manifest, which names the SHA-256 of every file; None where it is not imported yet."""
    folder = stack_file(platform.environment).parent
    digests: dict[str, str | None] = {}
    for artefact in platform.artefacts:
        path = folder / artefact.manifest
        digests[artefact.name] = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
    return digests
