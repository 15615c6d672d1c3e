"""Goes through all chains in the database, again and again, and tells Prometheus whether they hold.

Replicas take turns: who gets the lock goes on for a moment where the last one stopped. How far the check came stands in
the database, signed: whoever can write there can put back what stood there before, and it shows by its age.
"""

import logging
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

import psycopg
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from pydantic import BaseModel, ConfigDict, ValidationError

from llmaas_gateway.audit.log import Connection
from llmaas_gateway.audit.signing import Signer
from llmaas_gateway.audit.stored import Judge, Place, keep

_IS: Final = "watch"
_LOCK: Final = "SELECT pg_try_advisory_lock(hashtext('audit.watch'))"
_UNLOCK: Final = "SELECT pg_advisory_unlock(hashtext('audit.watch'))"
_READ: Final = "SELECT array[statement, key, signature] FROM audit.watch"
_KEEP: Final = """
INSERT INTO audit.watch (one, statement, key, signature) VALUES (%s, %s, %s, %s)
ON CONFLICT (one) DO UPDATE SET statement = excluded.statement, key = excluded.key, signature = excluded.signature
"""
_NEXT: Final = "SELECT id::text FROM audit.stream WHERE id > %s ORDER BY id LIMIT 1"
_BEFORE_ALL: Final = "00000000-0000-0000-0000-000000000000"

# A turn ends after the stretch in which its time is over: PostgreSQL and the chaining of calls have the rest.
_TURN_SECONDS: Final = 0.5
_STRETCH_RECORDS: Final = 2_000
_TOLD: Final = 20

_log = logging.getLogger(__name__)


def _now() -> datetime:
    return datetime.now(UTC)


class _End(BaseModel):
    """The last record of the platform's own chain, at a moment."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    stream: str
    place: Place


class Progress(BaseModel):
    """How far the check has come.

    Attributes:
        began_at: when the pass over all chains began that runs, or ran last.
        running: whether it does.
        stream: the last that it looked at.
        after: the last record of it that it looked at; None if it was the last one.
        problems: that it found.
        platform: end of the platform's chain in this pass.
        platform_before: in the last pass that found nothing. No other record vouches for this chain's own end.
        whole_at: when the last pass began that came to its end.
        intact: whether that one found nothing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    began_at: datetime
    running: bool = True
    stream: str = _BEFORE_ALL
    after: Place | None = None
    problems: int = 0
    platform: _End | None = None
    platform_before: _End | None = None
    whole_at: datetime | None = None
    intact: bool = True


class ChainWatch(Collector):
    """The check of one replica."""

    def __init__(self, signer: Signer, seconds: float, clock: Callable[[], datetime] = _now) -> None:
        """Takes the platform's key, the time from the beginning of one pass to that of the next, and a clock."""
        self._signer = signer
        self._judge = Judge(signer)
        self._seconds = seconds
        self._clock = clock
        self._progress: Progress | None = None
        self._unreadable = False
        # Whether this replica last found that what is overdue is not as a signed head vouches for it.
        self.overdue_altered = False

    def collect(self) -> Iterable[Metric]:
        """As Prometheus reads it; every replica tells what the last turn of any of them found."""
        progress = self._progress
        intact = GaugeMetricFamily("llmaas_audit_chain_intact", "Whether all records of the audit are as written.")
        found = self._unreadable or self.overdue_altered
        if found or (progress and (progress.problems or progress.whole_at)):
            holds = not found and progress is not None and progress.intact and not progress.problems
            intact.add_metric((), float(holds))
        yield intact
        meaning = "All records that the audit had at this time have been checked since."
        checked = GaugeMetricFamily("llmaas_audit_chain_checked_timestamp_seconds", meaning)
        if progress and progress.whole_at:
            checked.add_metric((), progress.whole_at.timestamp())
        yield checked

    async def turn(self, connection: Connection) -> None:
        """Go on for a moment, if something is due and no other replica is at it.

        Args:
            connection: not in a transaction.

        Raises:
            psycopg.Error: PostgreSQL is away; what was checked in this turn is checked again.
        """
        try:
            self._progress = await self._read(connection)
            if self._due(self._progress):
                await self._take_turn(connection)
            self._unreadable = False
        except psycopg.DataError as error:
            # Nothing that we write is of a form that PostgreSQL or we cannot read.
            self._unreadable = True
            _log.critical("audit tampered: the database holds what cannot be read (%s)", type(error).__name__)

    def _due(self, progress: Progress | None) -> bool:
        if progress is None or progress.running:
            return True
        return (self._clock() - progress.began_at).total_seconds() >= self._seconds

    async def _read(self, connection: Connection) -> Progress | None:
        row = await (await connection.execute(_READ)).fetchone()
        if row is None:
            return None
        try:
            if row[0][1] != self._signer.key:
                raise ValueError("signed with another key")  # noqa: TRY301 - told as the others are
            statement = self._judge.read(row[0])
            return Progress.model_validate({name: value for name, value in statement.items() if name != "is"})
        except (ValueError, ValidationError, AttributeError) as error:
            _log.warning("the audit is checked from its beginning: how far the last check came is unknown: %s", error)
            return None

    async def _take_turn(self, connection: Connection) -> None:
        got = await (await connection.execute(_LOCK)).fetchone()
        if not got or not got[0]:
            return
        try:
            async with connection.transaction():
                await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                # Another replica may have gone on until the lock was ours.
                self._progress = progress = await self._read(connection)
                if not self._due(progress):
                    return
                progress = await self._advance(connection, progress)
                statement = {"is": _IS, **progress.model_dump(mode="json")}
                await keep(connection, _KEEP, (True,), self._signer.sign(statement))
            self._progress = progress
        finally:
            # A connection that broke has given it back.
            with suppress(psycopg.Error):
                await connection.execute(_UNLOCK)

    async def _advance(self, connection: Connection, progress: Progress | None) -> Progress:
        if progress is None:
            progress = Progress(began_at=self._clock())
        elif not progress.running:
            kept = progress.model_dump(include={"platform_before", "whole_at", "intact"})
            progress = Progress(began_at=self._clock(), **kept)
        deadline = time.monotonic() + _TURN_SECONDS
        while True:
            progress = await self._step(connection, progress)
            if not progress.running or time.monotonic() >= deadline:
                return progress

    async def _step(self, connection: Connection, progress: Progress) -> Progress:
        """One stretch of one chain, or the end of the pass."""
        stream = progress.stream
        if progress.after is None:
            following = await (await connection.execute(_NEXT, [stream])).fetchone()
            if following is None:
                return await self._finish(connection, progress)
            stream = following[0]
        chain = await self._judge.chain(connection, stream)
        if chain is None:
            return progress.model_copy(update={"after": None})
        # Retention may have taken what the last turn looked at.
        after = max(progress.after or chain.start, chain.start, key=lambda place: place.number)
        last, problems = await self._judge.stretch(connection, chain, after, _STRETCH_RECORDS)
        over = last == after or last.number >= chain.end.number
        if over:
            problems += await self._judge.end(connection, chain, last)
        self._tell(stream, problems)
        changed = {
            "stream": stream,
            "after": None if over else last,
            "problems": progress.problems + len(problems),
            "platform": _End(stream=stream, place=chain.end) if over and chain.platform else progress.platform,
        }
        return progress.model_copy(update=changed)

    async def _finish(self, connection: Connection, progress: Progress) -> Progress:
        problems, before = progress.problems, progress.platform_before
        if before is not None and not await self._judge.holds(connection, before.stream, before.place):
            self._tell(before.stream, [f"record {before.place.number}, which was checked before, is gone or another"])
            problems += 1
        changed = {
            "running": False,
            "problems": problems,
            "whole_at": progress.began_at,
            "intact": problems == 0,
            # What is gone must not be forgotten.
            "platform_before": before if problems else progress.platform,
        }
        return progress.model_copy(update=changed)

    @staticmethod
    def _tell(stream: str, problems: list[str]) -> None:
        for problem in problems[:_TOLD]:
            _log.critical("audit tampered: stream %s: %s", stream, problem)
        if len(problems) > _TOLD:
            _log.critical("audit tampered: stream %s: %s more", stream, len(problems) - _TOLD)
