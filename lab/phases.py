"""Phases of bringing the lab up: each has a name, a log, a time, and says what to do when it fails."""

import json
import os
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from rich.console import Console

from lab.environment import PIPELINING, STRATEGY
from lab.errors import LabError
from lab.layout import Layout
from llmaas.files import write_atomically


@dataclass(frozen=True)
class Phase:
    """One step. ``action`` is given its log and answers one line for people; it does nothing if all is done."""

    name: str
    what: str
    action: Callable[[Path], str]


def run_phases(phases: Sequence[Phase], layout: Layout, console: Console) -> dict[str, float]:
    """Run the phases in order and return their seconds; the first that fails ends the run.

    Raises:
        LabError: naming the phase; what was reached before it stays, and a new run goes on from there.
    """
    seconds: dict[str, float] = {}
    for number, phase in enumerate(phases, 1):
        log = layout.logs / f"{phase.name}.log"
        log.write_text("", encoding="utf-8")
        began = time.monotonic()
        title = f"[{number}/{len(phases)}] {phase.name}"
        try:
            with console.status(f"{title}: {phase.what} (log: {log})"):
                result = phase.action(log)
        except Exception as error:
            console.print(f"[red]{title}: failed after {time.monotonic() - began:.0f} s[/]", highlight=False)
            raise _told(phase, error, log) from error
        seconds[phase.name] = round(time.monotonic() - began, 1)
        console.print(f"{title:<24} {seconds[phase.name]:6.1f} s  {result}", highlight=False, soft_wrap=True)
    return seconds


class Start(StrEnum):
    """What a run found when it began."""

    COLD = "cold cache"
    WARM = "warm cache, after make down"
    PARTLY = "part of the lab"
    RUNNING = "nothing to do"


def times_file(layout: Layout) -> Path:
    """Times of all runs that came to their end; in the cache, which `down` leaves."""
    return layout.cache / "up-times.jsonl"


def record_times(layout: Layout, start: Start, seconds: dict[str, float]) -> None:
    """Keep the times of a run that came to its end, for `make bench`."""
    path = times_file(layout)
    entry = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "start": start.value,
        "total": round(sum(seconds.values()), 1),
        "phases": seconds,
        "strategy": os.environ.get(STRATEGY, ""),
        "pipelining": os.environ.get(PIPELINING, "yes").lower() not in {"no", "false", "off", "0"},
    }
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    write_atomically(path, f"{text}{json.dumps(entry)}\n")


def _told(phase: Phase, error: Exception, log: Path) -> LabError:
    """The error with the phase's name, its log and what to do; one that nobody foresaw goes to the log whole."""
    remedy = "mend it, then run `make up` again; it goes on from here"
    if isinstance(error, LabError):
        return LabError(f"{phase.name}: {error.what}", remedy=error.remedy or remedy, log=error.log or log)
    with log.open("a", encoding="utf-8") as stream:
        traceback.print_exception(error, file=stream)
    return LabError(f"{phase.name}: {type(error).__name__}: {error}", remedy=remedy, log=log)
