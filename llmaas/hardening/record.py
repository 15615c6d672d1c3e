"""Judgements of OpenSCAP that are on record: a file for each host, a line for each judgement, for the evidence."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter, ValidationError

from llmaas.hardening.results import Score
from llmaas.paths import state_dir


class ScoreRecordError(ValueError):
    """A record that cannot be read; the text says where."""


@dataclass(frozen=True)
class Held:
    """How many rules of a profile hold, of those that were judged."""

    passed: int
    judged: int
    percent: float


@dataclass(frozen=True)
class Judgement:
    """What OpenSCAP said of a host at one time; ``failed``: rules that are broken and that no exception excuses."""

    host: str
    at: str
    benchmark: str
    judge: str
    profiles: dict[str, Held]
    failed: tuple[str, ...]


_JUDGEMENT: Final = TypeAdapter(Judgement)


def record_score(environment: str, score: Score, moment: datetime) -> Path:
    """Add a judgement to those of its host; the file that has them."""
    data = score.as_data() | {"at": moment.isoformat(timespec="seconds")}
    line = _JUDGEMENT.dump_json(_JUDGEMENT.validate_python(data))
    path = _file(environment, score.host)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    with path.open("ab") as file:
        file.write(line + b"\n")
    return path


def recorded_scores(environment: str, hosts: Iterable[str]) -> tuple[Judgement, ...]:
    """The first and the latest judgement of each host that has any.

    Raises:
        ScoreRecordError: a line is none.
    """
    found: list[Judgement] = []
    for host in hosts:
        path = _file(environment, host)
        lines = path.read_bytes().splitlines() if path.exists() else []
        for line in dict.fromkeys(lines[:1] + lines[-1:]):
            try:
                found.append(_JUDGEMENT.validate_json(line))
            except ValidationError as error:
                raise ScoreRecordError(f"{path}: is no record of judgements; move it away and judge again") from error
    return tuple(found)


def _file(environment: str, host: str) -> Path:
    return state_dir(environment) / "hardening" / f"{host}.jsonl"
