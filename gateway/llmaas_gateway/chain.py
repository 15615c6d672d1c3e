"""Append-only files whose records are chained by SHA-256, so that a later change of any of them shows.

One JSON object a line: ``number`` from 1, ``at``, ``body``, ``previous`` (hash of the record before, zeros at first)
and ``hash`` over the other four in canonical JSON. What an attacker who rewrites the whole file could still do is
prevented by signing the head outside.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

GENESIS: Final = "0" * 64


class ChainError(ValueError):
    """A chain that does not hold; the text names each record that is wrong."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record of a chain."""

    number: int
    at: datetime
    body: dict[str, Any]
    previous: str
    hash: str

    @classmethod
    def make(cls, number: int, at: datetime, body: dict[str, Any], previous: str) -> "Record":
        """A record with its hash."""
        content = {"number": number, "at": at.isoformat(), "body": body, "previous": previous}
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return cls(number, at, body, previous, hashlib.sha256(canonical.encode()).hexdigest())

    def line(self) -> str:
        """The record as a line of the file."""
        content = {"number": self.number, "at": self.at.isoformat(), "body": self.body}
        return json.dumps({**content, "previous": self.previous, "hash": self.hash}, ensure_ascii=False)


def _parsed(line: str, place: int) -> Record:
    try:
        raw = json.loads(line)
        at = datetime.fromisoformat(raw["at"])
        return Record(int(raw["number"]), at, dict(raw["body"]), str(raw["previous"]), str(raw["hash"]))
    except (ValueError, KeyError, TypeError) as error:
        raise ChainError(f"line {place}: not a record ({type(error).__name__}: {error}); was the file cut?") from None


def check(lines: Iterable[str], *, previous: str = GENESIS, first_number: int = 1) -> Iterator[Record]:
    """The records of a chain, each checked against the one before.

    Args:
        lines: of the file, or of several files one after the other.
        previous: hash before the first line, for a chain whose beginning was deleted after its retention.
        first_number: number of the first line, likewise.

    Raises:
        ChainError: at the first record that was altered, dropped, reordered or inserted.
    """
    expected = first_number
    for place, line in enumerate(lines, 1):
        record = _parsed(line, place)
        if Record.make(record.number, record.at, record.body, record.previous).hash != record.hash:
            raise ChainError(f"line {place}: record {record.number} was altered; its hash does not fit its content")
        if record.number > expected:
            raise ChainError(f"line {place}: record {record.number} where {expected} belongs; records are missing")
        if record.number < expected:
            raise ChainError(f"line {place}: record {record.number} where {expected} belongs; reordered or repeated")
        if record.previous != previous:
            raise ChainError(f"line {place}: record {record.number} does not follow the one before; it was inserted")
        yield record
        previous, expected = record.hash, expected + 1


def read(path: Path) -> list[Record]:
    """All records of a file, checked; an absent file is an empty chain.

    Raises:
        ChainError: the file's name, the line and what is wrong.
    """
    if not path.exists():
        return []
    try:
        # Not splitlines: it parts at characters that may stand within a record. As bytes: no line end is translated.
        lines = path.read_bytes().decode("utf-8").split("\n")
        return list(check(lines if lines[-1] else lines[:-1]))
    except ChainError as error:
        raise ChainError(f"{path}: {error}") from None


def append(path: Path, bodies: Iterable[dict[str, Any]], at: datetime) -> list[Record]:
    """Append records to a file whose chain holds; all of them or, if the disk is full, none.

    Raises:
        ChainError: the chain is broken already; nothing was written.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        records = read(path)
        previous, number = (records[-1].hash, records[-1].number) if records else (GENESIS, 0)
        new = []
        for number, body in enumerate(bodies, number + 1):  # noqa: B020 - counts on from the last record
            record = Record.make(number, at, body, previous)
            new.append(record)
            previous = record.hash
        size = os.fstat(descriptor).st_size
        try:
            # An editor may have taken the last line's end away.
            end = "" if not size or os.pread(descriptor, 1, size - 1) == b"\n" else "\n"
            _write(descriptor, (end + "".join(f"{record.line()}\n" for record in new)).encode() if new else b"")
        except OSError:
            os.ftruncate(descriptor, size)
            raise
    finally:
        os.close(descriptor)
    return new


def _write(descriptor: int, content: bytes) -> None:
    """All of it, past every buffer: what a buffer keeps would be written again when the file is cut or closed."""
    left = memoryview(content)
    while left:
        left = left[os.write(descriptor, left) :]
    os.fsync(descriptor)
