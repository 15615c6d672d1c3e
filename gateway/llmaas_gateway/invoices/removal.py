"""Accounts go when the law's period is over: whole months, one after the other, each with an act in the audit.

The rule: a month's records and invoices go once ``days`` have passed since the end of the financial year that the month
belongs to. The law counts from there (France, Code de commerce L123-22: ten years), so January's are kept as long as
December's. Before it goes a month must be closed, and everything that the audit noted of it chained and signed.

What stays: a sum for each tenant, team and way of billing (the balance carried forward, so that credit can still be
compared with the records), which months are gone, tenants and their payments. No counter is touched.
"""

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import psycopg
from pydantic import BaseModel, ConfigDict, Field
from redis.asyncio import Redis

from llmaas_gateway.accounts.administration import Audit
from llmaas_gateway.accounts.database import Connection, Database, DatabaseUnavailableError, rows
from llmaas_gateway.audit.records import Act
from llmaas_gateway.invoices.kept import LAST_REMOVED
from llmaas_gateway.invoices.months import Month
from llmaas_gateway.invoices.pending import pending
from llmaas_gateway.ledger.ledger import LedgerUnavailableError

_LOOK_EVERY_SECONDS: Final = 3_600.0
_AGAIN_SECONDS: Final = 600.0
# Dropping a partition stops every other use of the records for a moment; who reads for longer goes first.
_LOCK_TIMEOUT: Final = "SET LOCAL lock_timeout = '5s'"
_TURN: Final = "SELECT pg_try_advisory_xact_lock(hashtext('ledger.accounts_removal')) AS got"
_OLDEST: Final = """
SELECT (SELECT min(first) FROM ledger.partition) AS record, (SELECT min(month) FROM ledger.invoice) AS invoice
"""
_NOT_SEALED: Final = """
SELECT EXISTS (SELECT FROM audit.pending WHERE (content ->> 'began_at')::timestamptz < %(end)s) OR EXISTS (
    SELECT FROM audit.stream, LATERAL (
        SELECT FROM audit.record
        WHERE record.stream = stream.id AND record.at::timestamptz < %(end)s
          AND number > coalesce((SELECT max(number) FROM audit.head WHERE head.stream = stream.id), 0)
        LIMIT 1
    ) AS unsigned WHERE stream.kind = 'requests'
) AS yes
"""
_REMOVE: Final = "SELECT records, invoices FROM ledger.remove_accounts(%s)"
_KEEP: Final = """
INSERT INTO ledger.removed_month (month, until, records, invoices, at) VALUES (%s, %s, %s, %s, %s)
"""

_log = logging.getLogger(__name__)


class AccountsSettings(BaseModel):
    """What is declared of the accounts.

    Attributes:
        days: how long the law has them kept, from the end of their financial year; more than a month takes to close.
        financial_year_ends: number of the month that closes the financial year.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    days: int = Field(default=3_653, ge=3, le=36_500)
    financial_year_ends: int = Field(default=12, ge=1, le=12)

    def last_over(self, now: datetime, zone: ZoneInfo) -> Month:
        """The last month of the last financial year that ended ``days`` ago or longer."""
        month = Month.of(now - timedelta(days=self.days), zone)
        running_ends = month.year if month.number <= self.financial_year_ends else month.year + 1
        return Month(running_ends - 1, self.financial_year_ends)


class AccountsRemoval:
    """Runs beside the proxy at every replica; the database decides whose turn it is."""

    def __init__(  # noqa: PLR0913, PLR0917 - each is a part of its own
        self,
        database: Database,
        redis: Redis,
        stream: str,
        audit: Audit,
        zone: ZoneInfo,
        settings: AccountsSettings,
        now: Callable[[], datetime],
    ) -> None:
        """Takes the accounts, the ledger's Redis and stream that may hold more of them, and the time zone of months."""
        self._database = database
        self._redis = redis
        self._stream = stream
        self._audit = audit
        self._zone = zone
        self._settings = settings
        self._now = now

    async def run(self) -> None:
        """Look every hour whether the period of a month is over, until cancelled."""
        while True:
            seconds = _LOOK_EVERY_SECONDS
            try:
                await self.look()
            except (DatabaseUnavailableError, LedgerUnavailableError, psycopg.Error) as error:
                seconds = _AGAIN_SECONDS
                _log.warning("accounts: removal waits: %s: %s", type(error).__name__, error)
            await asyncio.sleep(seconds)

    async def look(self) -> tuple[Month, ...]:
        """Remove every month whose period is over, the oldest first; those that had something to remove.

        Raises:
            DatabaseUnavailableError: PostgreSQL is away, or somebody reads the records for longer than is waited.
            LedgerUnavailableError: Redis is away.
        """
        removed = []
        last = self._settings.last_over(self._now(), self._zone)
        month = await self._oldest()
        while month is not None and month <= last:
            async with self._database.change() as connection:
                if not (await rows(connection, _TURN))[0]["got"]:
                    break
                if why := await self._not_yet(connection, month):
                    _log.warning("accounts: %s stays although its period is over: %s", month, why)
                    break
                if await self._remove(connection, month):
                    removed.append(month)
            month = month.following
        return tuple(removed)

    async def _oldest(self) -> Month | None:
        """The month of the oldest record or invoice that there may be."""
        found = (await self._database.read(_OLDEST))[0]
        gone = await self._database.read(LAST_REMOVED)
        months = [] if found["invoice"] is None else [Month.parse(found["invoice"])]
        if found["record"] is not None:
            # The first hours of a month may lie in the partition of the one before, which is gone.
            start = max([found["record"], *(row["until"] for row in gone)])
            months.append(Month.of(start, self._zone))
        return min(months, default=None)

    async def _not_yet(self, connection: Connection, month: Month) -> str:
        """Why nothing of the month may go yet; empty if it may."""
        end = month.end(self._zone)
        if any(settlement.began_at < end for settlement in await pending(self._redis, self._stream)):
            return "calls of it are on their way to the records"
        if (await rows(connection, _NOT_SEALED, {"end": end}))[0]["yes"]:
            return "what the audit has of its calls is not signed"
        return ""

    async def _remove(self, connection: Connection, month: Month) -> bool:
        end, now = month.end(self._zone), self._now()
        await connection.execute(_LOCK_TIMEOUT)
        gone = (await rows(connection, _REMOVE, [end]))[0]
        if not any(gone.values()):
            return False
        await connection.execute(_KEEP, [str(month), end, gone["records"], gone["invoices"], now])
        details = {
            "month": str(month),
            "kept_days": self._settings.days,
            "financial_year_ends": self._settings.financial_year_ends,
            **gone,
        }
        act = Act("system:accounts", "accounts.retention", str(month), now, details=details)
        await self._audit.append([act], connection)
        _log.info("accounts: period of %s is over: %d records, %d invoices deleted", month, *gone.values())
        return True
