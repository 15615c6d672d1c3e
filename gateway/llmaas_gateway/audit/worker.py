"""What the audit does beside the requests, in every replica: chains calls, signs heads, deletes the overdue, checks."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import psycopg
from pydantic import BaseModel, ConfigDict, Field

from llmaas_gateway.audit.heads import seal
from llmaas_gateway.audit.log import AuditLog, Connection, migrate
from llmaas_gateway.audit.records import Act
from llmaas_gateway.audit.refusals import Refusals
from llmaas_gateway.audit.removal import MOST, Retention, retain
from llmaas_gateway.audit.requests import chain_all
from llmaas_gateway.audit.signing import Signer
from llmaas_gateway.audit.stored import TamperedError
from llmaas_gateway.audit.watch import ChainWatch
from llmaas_gateway.schemas import LOCKED_RETRY_SECONDS
from llmaas_gateway.tasks import end

KEY_VARIABLE: Final = "LLMAAS_AUDIT_KEY"
_CHAIN_SECONDS: Final = 1.0
_REFUSALS_SECONDS: Final = 10.0
_RETENTION_SECONDS: Final = 3_600.0
_WATCH_SECONDS: Final = 2.0
_RETRY_SECONDS: Final = 2.0

_log = logging.getLogger(__name__)


class AuditSettings(BaseModel):
    """What is declared of the audit.

    Attributes:
        acts_days: how long the law has administrative acts kept.
        requests_days: how long it has the metadata of calls kept.
        seal_seconds: time between two signed heads of a chain that grows.
        check_seconds: time between the beginnings of two checks of all that the database holds.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    acts_days: int = Field(ge=1, le=36_500)
    requests_days: int = Field(ge=1, le=36_500)
    seal_seconds: float = Field(default=300, ge=1, le=86_400)
    check_seconds: float = Field(default=900, ge=1, le=86_400)

    @property
    def retention(self) -> Retention:
        """As periods of time."""
        return Retention(timedelta(days=self.acts_days), timedelta(days=self.requests_days))


class Audit:
    """The audit of one replica: its log, what counts refusals, and the work in the background."""

    def __init__(self, database: str, key: str, settings: AuditSettings) -> None:
        """Takes a PostgreSQL URL, the text of the secret that ``LLMAAS_AUDIT_KEY`` holds, and what is declared.

        Raises:
            KeyFormatError: the secret is no key.
        """
        self.log = AuditLog(database)
        self.signer = Signer.from_secret(key)
        self.refusals = Refusals()
        self.watch = ChainWatch(self.signer, settings.check_seconds)
        self._settings = settings

    @asynccontextmanager
    async def running(self, *in_force: Act) -> AsyncIterator[None]:
        """While the block runs, the work is done; what is counted at its end is chained.

        Args:
            in_force: what this replica runs with (configuration, price book, catalogue), by digest; recorded if it
                differs from what was last in force.
        """
        task = asyncio.create_task(self._run(in_force))
        try:
            yield
        finally:
            await end(task)
            with suppress(psycopg.Error, OSError):
                async with self.log.connect() as connection:
                    for job in (self.refusals.flush, chain_all):
                        await self._again(job(connection), connection, 0.0)

    async def _run(self, in_force: tuple[Act, ...]) -> None:
        left = list(in_force)
        migrated = False
        while True:
            try:
                async with self.log.connect() as connection:
                    if not migrated:
                        await migrate(connection)
                        migrated = True
                    while left:
                        await self.log.declare(left[0])
                        del left[0]
                    await self._work(connection)
            except psycopg.errors.LockNotAvailable:
                _log.warning("audit waits: its tables are in use; trying again in %s s", LOCKED_RETRY_SECONDS)
                await asyncio.sleep(LOCKED_RETRY_SECONDS)
            except (psycopg.Error, OSError) as error:
                _log.warning("audit waits: %s; trying again in %s s", type(error).__name__, _RETRY_SECONDS)
                await asyncio.sleep(_RETRY_SECONDS)
            except Exception:  # noqa: BLE001 - as the next line says
                # Whatever it is, calls go on, and what is to be chained waits in the database until it is mended.
                _log.exception("audit stopped by an error; trying again in %s s", _RETRY_SECONDS)
                await asyncio.sleep(_RETRY_SECONDS)

    async def _work(self, connection: Connection) -> None:
        jobs: dict[Callable[[Connection], Awaitable[Any]], float] = {
            chain_all: _CHAIN_SECONDS,
            self.refusals.flush: _REFUSALS_SECONDS,
            self._seal: self._settings.seal_seconds,
            self._retain: _RETENTION_SECONDS,
            self.watch.turn: _WATCH_SECONDS,
        }
        due = dict.fromkeys(jobs, 0.0)
        while True:
            for job, seconds in jobs.items():
                if due[job] <= time.monotonic():
                    due[job] = time.monotonic() + await self._again(job(connection), connection, seconds)
            await asyncio.sleep(max(0.0, min(due.values()) - time.monotonic()))

    @staticmethod
    async def _again(work: Awaitable[Any], connection: Connection, seconds: float) -> float:
        """Do what is due; in how many seconds it is due again."""
        try:
            # Only a job that says True has more to do; the others' numbers say what they did.
            return 0.0 if await work is True else seconds
        except Exception:
            if connection.broken or connection.closed:
                raise
            # Whatever one job stumbles over keeps no other from its work: least of all the check that raises the alert.
            _log.exception("audit: a part of its work failed; trying again in %s s", _RETRY_SECONDS)
            return _RETRY_SECONDS

    async def _seal(self, connection: Connection) -> None:
        try:
            await seal(connection, self.signer)
        except TamperedError as error:
            # Told at every round until somebody looks; the check of all chains raises the alert.
            _log.critical("audit tampered: %s", error)

    async def _retain(self, connection: Connection) -> bool:
        """Whether more is overdue than one round deletes."""
        try:
            gone = await retain(connection, self.signer, self._settings.retention, datetime.now(UTC))
        except TamperedError as error:
            self.watch.overdue_altered = True
            _log.critical("audit tampered: %s", error)
            return False
        self.watch.overdue_altered = False
        if gone:
            _log.info("audit: %s records deleted, their legal period is over", gone)
        return gone >= MOST
