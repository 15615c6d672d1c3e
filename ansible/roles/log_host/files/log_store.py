"""The store of a log host: a folder for each sender, a file for each day (UTC), and the chain of what was closed.

Layout: ``hosts/<sender>/<day>.jsonl`` is written by the receiver, which can append to it and nothing else: folders
belong to root, and the file system itself refuses more where it can (``chattr +a``). A day that is over becomes
``<day>.jsonl.gz``, which nobody writes. ``chain.jsonl`` has a record for each day that was closed or deleted, each with
the hash of the one before, in the format of the platform's audit.
"""

import contextlib
import errno
import fcntl
import grp
import gzip
import hashlib
import json
import os
import re
import shutil
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

GENESIS = "0" * 64
# A line that was received just before midnight may be written a little after it.
CLOSE_AFTER = timedelta(minutes=30)
DAYS_AHEAD = 7
CHUNK = 1 << 20
APPEND_ONLY, IMMUTABLE = 0x20, 0x10
_GET_FLAGS, _SET_FLAGS = 0x80086601, 0x40086602
_NOT_SUPPORTED = {errno.ENOTTY, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS, errno.EPERM}
_SENDER = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
_DAY = re.compile(r"(\d{4}-\d\d-\d\d)\.jsonl(\.gz)?")


class StoreError(RuntimeError):
    """The store is not as it was left; the text says where, and whether something was lost."""


@dataclass(frozen=True)
class Settings:
    """What the role wrote down: where, for whom, and for how long."""

    store: Path
    status: Path
    group: str
    senders: tuple[str, ...]
    retention_days: int
    late_seconds: int

    @classmethod
    def read(cls, path: Path) -> "Settings":
        """From JSON. Raises KeyError or ValueError where it is not what the role writes."""
        raw = json.loads(path.read_text(encoding="utf-8"))
        wrong = [name for name in raw["senders"] if not _SENDER.fullmatch(name)]
        if wrong:
            raise ValueError(f"{path}: senders: {wrong} are no host names")
        return cls(
            Path(raw["store"]),
            Path(raw["status"]),
            raw["group"],
            tuple(raw["senders"]),
            int(raw["retention_days"]),
            int(raw["late_seconds"]),
        )


@dataclass(frozen=True)
class DayFile:
    """The logs of one sender on one day; ``closed``: compressed, and in the chain."""

    sender: str
    day: date
    path: Path
    closed: bool

    def content(self) -> Iterator[bytes]:
        """What it holds, in pieces, as it was received."""
        with gzip.open(self.path, "rb") if self.closed else self.path.open("rb") as file:
            while piece := file.read(CHUNK):
                yield piece

    def digest(self) -> dict[str, Any]:
        """Bytes, lines and SHA-256 of what it holds."""
        digest, size, lines = hashlib.sha256(), 0, 0
        for piece in self.content():
            digest.update(piece)
            size, lines = size + len(piece), lines + piece.count(b"\n")
        return {"bytes": size, "lines": lines, "sha256": digest.hexdigest()}


def set_flag(path: Path, flag: int, *, on: bool) -> bool:
    """Set or clear a flag of the file system; whether the file system has it."""
    with path.open("rb") as file:
        try:
            (flags,) = struct.unpack("L", fcntl.ioctl(file, _GET_FLAGS, struct.pack("L", 0)))
            wanted = flags | flag if on else flags & ~flag
            if wanted != flags:
                fcntl.ioctl(file, _SET_FLAGS, struct.pack("L", wanted))
        except OSError as error:
            if error.errno in _NOT_SUPPORTED:
                return False
            raise
    return True


def has_flag(path: Path, flag: int) -> bool:
    """Whether the file system holds the flag for this file."""
    with path.open("rb") as file, contextlib.suppress(OSError):
        (flags,) = struct.unpack("L", fcntl.ioctl(file, _GET_FLAGS, struct.pack("L", 0)))
        return bool(flags & flag)
    return False


class Store:
    """All logs of a log host; ``now`` is told, so that days can be tried out."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.hosts = settings.store / "hosts"
        self.chain = settings.store / "chain.jsonl"

    def files(self) -> list[DayFile]:
        """Every file of logs, by day, then by sender."""
        named = ((path, _DAY.fullmatch(path.name)) for path in self.hosts.glob("*/*"))
        found = (
            DayFile(path.parent.name, date.fromisoformat(match[1]), path, closed=bool(match[2]))
            for path, match in named
            if match
        )
        return sorted(found, key=lambda file: (file.day, file.sender, file.closed))

    def prepare(self, now: datetime) -> None:
        """Make folders and files for today and the days to come: the receiver may make none."""
        group = grp.getgrnam(self.settings.group).gr_gid
        self.hosts.mkdir(parents=True, exist_ok=True)
        for folder in (self.hosts, *(self.hosts / sender for sender in self.settings.senders)):
            folder.mkdir(exist_ok=True)
            folder.chmod(0o750)
            os.chown(folder, os.geteuid(), group)
        for sender in self.settings.senders:
            for ahead in range(DAYS_AHEAD + 1):
                path = self.hosts / sender / f"{now.date() + timedelta(days=ahead)}.jsonl"
                if not path.exists():
                    path.touch(mode=0o600)
                    os.chown(path, os.geteuid(), group)
                    path.chmod(0o620)
                    set_flag(path, APPEND_ONLY, on=True)

    def close(self, now: datetime) -> Iterator[str]:
        """Close every day that is over; what was done, in words, as it is done.

        Raises:
            StoreError: a day that was closed before has been written since; all others are closed by then.
        """
        last = (now - CLOSE_AFTER).date() - timedelta(days=1)
        days: dict[date, list[DayFile]] = {}
        for file in self.files():
            if not file.closed and file.day <= last:
                days.setdefault(file.day, []).append(file)
        refused = []
        for day, files in days.items():
            recorded = self._closings().get(str(day), {})
            found = {file.sender: file.digest() for file in files}
            late = [sender for sender, digest in found.items() if recorded and recorded.get(sender) != digest]
            if late:
                refused.append(f"{day} was closed, and lines came since for {', '.join(late)}; see docs/logs.md")
                continue
            for file in files:
                _compress(file, empty=found[file.sender]["bytes"] == 0)
            if not recorded:
                head = self.record({"closed": str(day), "files": found}, now)
                yield f"closed {day}: {len(files)} senders, chain {head}"
            for file in files:
                set_flag(file.path, APPEND_ONLY, on=False)
                file.path.unlink()
        if refused:
            raise StoreError("; ".join(refused))

    def expire(self, now: datetime) -> Iterator[str]:
        """Delete closed days whose declared time is over; each is recorded before it goes. What was done, in words."""
        first = self.first_day(now)
        over: dict[date, list[DayFile]] = {}
        for file in self.files():
            if file.closed and file.day < first:
                over.setdefault(file.day, []).append(file)
        deleted = self._deletions()
        for day, files in over.items():
            senders = [file.sender for file in files]
            if str(day) not in deleted:
                reason = f"kept {self.settings.retention_days} days"
                head = self.record({"deleted": str(day), "senders": senders, "reason": reason}, now)
                yield f"deleted {day}: {len(files)} senders, {reason}, chain {head}"
            for file in files:
                set_flag(file.path, IMMUTABLE, on=False)
                file.path.unlink()

    def first_day(self, now: datetime) -> date:
        """The oldest day whose logs are kept."""
        return now.date() - timedelta(days=self.settings.retention_days)

    def verify(self) -> list[str]:
        """Everything that is not as it was closed, in words; nothing where all is whole."""
        try:
            closings, deletions = self._closings(), self._deletions()
        except StoreError as error:
            return [str(error)]
        problems, there = [], {(str(file.day), file.sender): file for file in self.files() if file.closed}
        for day, digests in closings.items():
            for sender, wanted in digests.items() if day not in deletions else ():
                file = there.pop((day, sender), None)
                if file is None:
                    problems += [f"{sender}, {day}: is gone"] if wanted["bytes"] else []
                    continue
                try:
                    same = file.digest() == wanted
                except (OSError, EOFError) as error:
                    problems.append(f"{sender}, {day}: cannot be read: {error}")
                    continue
                problems += [] if same else [f"{sender}, {day}: was changed"]
        return [*problems, *(f"{sender}, {day}: was never closed, or is deleted by the chain" for day, sender in there)]

    def _closings(self) -> dict[str, dict[str, Any]]:
        """By day: what was closed, of every sender."""
        return {body["closed"]: body["files"] for body in self._bodies() if "closed" in body}

    def _deletions(self) -> set[str]:
        return {body["deleted"] for body in self._bodies() if "deleted" in body}

    def _bodies(self) -> list[dict[str, Any]]:
        return [record["body"] for record in self._records()]

    def _records(self) -> list[dict[str, Any]]:
        """The whole chain, checked; StoreError names the first line that does not hold."""
        records, previous = [], GENESIS
        lines = self.chain.read_text(encoding="utf-8").splitlines() if self.chain.exists() else []
        for number, line in enumerate(lines, 1):
            try:
                record = json.loads(line)
                content = {key: record[key] for key in ("number", "at", "body", "previous")}
                holds = record["hash"] == _hash(content) and (record["number"], record["previous"]) == (
                    number,
                    previous,
                )
            except (ValueError, KeyError, TypeError):
                holds = False
            if not holds:
                raise StoreError(f"{self.chain}: line {number} was altered, or does not follow the one before")
            records.append(record)
            previous = record["hash"]
        return records

    def record(self, body: dict[str, Any], now: datetime) -> str:
        """Add a record to the chain; its hash."""
        records = self._records()
        previous = records[-1]["hash"] if records else GENESIS
        content = {"number": len(records) + 1, "at": now.isoformat(), "body": body, "previous": previous}
        with self.chain.open("a", encoding="utf-8") as file:
            file.write(json.dumps({**content, "hash": _hash(content)}) + "\n")
            file.flush()
            os.fsync(file.fileno())
        set_flag(self.chain, APPEND_ONLY, on=True)
        return _hash(content)


def _hash(content: dict[str, Any]) -> str:
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _compress(file: DayFile, *, empty: bool) -> None:
    """Make the file that stays, whole or not at all; of a day without a line nothing stays but its record."""
    if empty:
        return
    target = file.path.with_name(f"{file.path.name}.gz")
    if target.exists():
        set_flag(target, IMMUTABLE, on=False)
    part = target.with_name(f".{target.name}.part")
    with (
        file.path.open("rb") as source,
        part.open("wb") as raw,
        gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0) as packed,
    ):
        shutil.copyfileobj(source, packed, CHUNK)
    with part.open("rb") as written:
        os.fsync(written.fileno())
    part.chmod(0o440)
    part.replace(target)
    set_flag(target, IMMUTABLE, on=True)


def utc_now() -> datetime:
    """This moment; days of the store are those of UTC."""
    return datetime.fromtimestamp(time.time(), tz=UTC)
