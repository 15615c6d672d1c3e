"""Watches the store of a log host: whose lines stopped or are missing, is there room, do days close and go in time.

Senders number their lines, over restarts too, and send a mark when they have nothing to say. What is found is told by
metrics, which Prometheus reads, and by an exit code, by which the unit fails.
"""

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from log_store import APPEND_ONLY, Settings, Store, has_flag

# Less than this share of the file system free is a fault: a full one stops all logs.
LEAST_FREE = 0.05
_KEEPER = "see: systemctl status llmaas-log-keep"
_OPENED = b"Syslog connection established"
_NUMBER = re.compile(rb'"number":"(\d+)"')


@dataclass
class Sender:
    """What is known of a sender's lines: how far they were read, the last number, and how many never came."""

    day: str = ""
    offset: int = 0
    number: int = 0
    missing: int = 0
    last_line: float = 0.0


@dataclass
class Findings:
    """What one look gave."""

    senders: dict[str, Sender] = field(default_factory=dict)
    silent: dict[str, float] = field(default_factory=dict)
    newly_missing: dict[str, int] = field(default_factory=dict)
    free: float = 1.0
    append_only: bool = True
    overdue: int = 0
    unclosed: int = 0

    def problems(self) -> list[str]:
        """What somebody must look after, in words."""
        return [
            *(f"{name}: no line for {_words(age)}; its logs stopped" for name, age in self.silent.items()),
            *(f"{name}: {count} lines never came" for name, count in self.newly_missing.items()),
            *([f"the store is full: {self.free:.1%} free"] if self.free < LEAST_FREE else []),
            *([f"{self.overdue} files are older than logs are kept; {_KEEPER}"] if self.overdue else []),
            *([f"{self.unclosed} files of days that are over are not closed; {_KEEPER}"] if self.unclosed else []),
        ]


def _words(age: float) -> str:
    return f"{age:.0f} s" if age != float("inf") else "as long as this host knows"


def look(settings: Settings, now: datetime) -> Findings:
    """Read what came since the last look."""
    store, state = Store(settings), settings.status / "state.json"
    known: dict[str, Any] = json.loads(state.read_text(encoding="utf-8")) if state.exists() else {}
    found = Findings()
    for name in settings.senders:
        sender = Sender(**known.get(name, {}))
        first, gaps, opened = not sender.number, list[int](), 0
        for path in _unread(store.hosts / name, sender, now.date()):
            seen, connections = _read(path, sender)
            gaps, opened = gaps + seen, opened + connections
        # A new sender takes a number or two for itself while it sends the whole old journal, and later one at most for
        # each connection that it opens: after a start those to all log hosts, in one gap.
        missing = 0 if first else sum(gaps) - min(opened, sum(gap for gap in gaps if gap <= opened))
        sender.missing += missing
        found.senders[name] = sender
        age = now.timestamp() - sender.last_line if sender.last_line else float("inf")
        if age > settings.late_seconds:
            found.silent[name] = age
        if missing:
            found.newly_missing[name] = missing
        today = store.hosts / name / f"{now.date()}.jsonl"
        found.append_only &= today.exists() and has_flag(today, APPEND_ONLY)
    found.overdue, found.unclosed = _neglected(store, now)
    usage = shutil.disk_usage(settings.store)
    found.free = usage.free / usage.total
    _write(state, json.dumps({name: asdict(sender) for name, sender in found.senders.items()}))
    _write(settings.status / "llmaas_logs.prom", metrics(found, now))
    return found


def _neglected(store: Store, now: datetime) -> tuple[int, int]:
    """How many files should be gone, and how many others be closed, since a day or more: whoever keeps them fails."""
    yesterday, files = now - timedelta(days=1), store.files()
    overdue = {file.path for file in files if file.day < store.first_day(yesterday)}
    last = yesterday.date() - timedelta(days=1)
    return len(overdue), sum(not file.closed and file.day <= last and file.path not in overdue for file in files)


def _unread(folder: Path, sender: Sender, today: date) -> Iterator[Path]:
    """The rest of the day that was read last, then today; days between are long over if nobody looked."""
    for day in dict.fromkeys((sender.day or str(today), str(today - timedelta(days=1)), str(today))):
        if day < sender.day:
            continue
        path = folder / f"{day}.jsonl"
        if path.exists():
            if day != sender.day:
                sender.day, sender.offset = day, 0
            yield path


def _read(path: Path, sender: Sender) -> tuple[list[int], int]:
    """Count on from where the last look ended: how many numbers each gap lacks, and connections that were opened.

    A sender takes one number for itself when a connection opens, somewhere among the lines that it sends then.
    """
    gaps, opened, status = list[int](), 0, path.stat()
    if status.st_size:
        sender.last_line = max(sender.last_line, status.st_mtime)
    with path.open("rb") as file:
        file.seek(sender.offset)
        for line in file:
            if not line.endswith(b"\n"):
                break
            sender.offset += len(line)
            match = _NUMBER.search(line)
            if match is None:
                continue  # a mark has no number
            number = int(match[1])
            opened += _OPENED in line
            # Lower ones were sent again after a connection broke, or the sender's memory was lost: nothing is missing.
            if sender.number and number > sender.number + 1:
                gaps.append(number - sender.number - 1)
            sender.number = number
    return gaps, opened


def metrics(found: Findings, now: datetime) -> str:
    """The findings in Prometheus' text format."""
    lines: list[str] = []

    def tell(name: str, kind: str, text: str, values: dict[str, float]) -> None:
        lines.extend((f"# HELP {name} {text}", f"# TYPE {name} {kind}"))
        for label, value in values.items():
            lines.append(f'{name}{{sender="{label}"}} {value}' if label else f"{name} {value}")

    senders = found.senders
    last = {name: sender.last_line for name, sender in senders.items()}
    tell("llmaas_log_last_line_timestamp_seconds", "gauge", "When the last line of a sender came, 0 for never.", last)
    silent = {name: float(name in found.silent) for name in senders}
    tell("llmaas_log_silent", "gauge", "Whether a sender's logs stopped.", silent)
    missing = {name: float(sender.missing) for name, sender in senders.items()}
    tell("llmaas_log_missing_lines_total", "counter", "Lines that a sender numbered and that never came.", missing)
    tell("llmaas_log_store_free_ratio", "gauge", "Free share of the store's file system.", {"": found.free})
    kept = {"": float(found.append_only)}
    tell("llmaas_log_store_append_only", "gauge", "Whether the file system itself refuses changes.", kept)
    overdue, unclosed = {"": float(found.overdue)}, {"": float(found.unclosed)}
    tell("llmaas_log_overdue_files", "gauge", "Files that are a day or more older than logs are kept.", overdue)
    tell("llmaas_log_unclosed_files", "gauge", "Files of days that ended a day or more ago and are open.", unclosed)
    tell("llmaas_log_watch_timestamp_seconds", "gauge", "When somebody last looked.", {"": now.timestamp()})
    return "\n".join(lines) + "\n"


def _write(path: Path, text: str) -> None:
    part = path.with_suffix(".part")
    part.write_text(text, encoding="utf-8")
    part.chmod(0o644)
    part.replace(path)
