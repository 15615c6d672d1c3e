"""Invoices out of the records: a draft at any time, the issued one once the month is closed, and the replay of it."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from psycopg.rows import dict_row
from psycopg.types.json import Jsonb
from redis.asyncio import Redis

from llmaas_gateway.accounts.account import AccountError
from llmaas_gateway.accounts.administration import Audit
from llmaas_gateway.accounts.database import Connection, Database, DatabaseConflictError, one_moment, rows
from llmaas_gateway.audit.records import Act
from llmaas_gateway.invoices.invoice import Group, Invoice, Line, Totals, invoice_of
from llmaas_gateway.invoices.kept import LAST_REMOVED, check_kept
from llmaas_gateway.invoices.months import Month
from llmaas_gateway.invoices.pending import pending
from llmaas_gateway.invoices.replay import FIELDS, Replay, Replayed
from llmaas_gateway.prices import PriceBook

_OF_MONTH = "FROM ledger.record WHERE tenant = %s AND began_at >= %s AND began_at < %s"
_GROUPS = f"""
SELECT model, unit, price_ids ->> unit AS price_id, factor, sum(count::bigint)::text AS count
{_OF_MONTH.replace("ledger.record", "ledger.record, jsonb_each_text(counts) AS u (unit, count)")}
GROUP BY model, unit, price_id, factor
"""
_TOTALS = f"""
SELECT count(*) AS calls, coalesce(sum(nano_eur), 0)::text AS nano_eur,
    coalesce(sum(nano_eur) FILTER (WHERE billing = 'prepaid'), 0)::text AS credit_nano_eur,
    coalesce(sum(unbilled_nano_eur), 0)::text AS unbilled_nano_eur
{_OF_MONTH}
"""
_RECORDS = f"SELECT {', '.join(FIELDS)} {_OF_MONTH} ORDER BY began_at, request_id"
# So many records are charged anew before calls of tenants have their turn again: a few milliseconds.
_AT_ONCE = 200
_TRIES = 4

_log = logging.getLogger(__name__)


class MonthNotClosedError(AccountError):
    """Calls can still be added to the month."""


@dataclass(frozen=True, slots=True)
class Issued:
    """An invoice as it was issued.

    Attributes:
        sha256: of the records that it was made of.
    """

    invoice: Invoice
    sha256: str
    issued_at: datetime


class Invoices:
    """The invoices of all tenants."""

    def __init__(  # noqa: PLR0913, PLR0917 - each is a part of its own
        self,
        database: Database,
        redis: Redis,
        stream: str,
        book: PriceBook,
        audit: Audit,
        now: Callable[[], datetime],
        *,
        vat_percent: str | None = None,
    ) -> None:
        """Takes the records, the ledger's Redis and stream that may hold more of them, and the price book."""
        self._database = database
        self._redis = redis
        self._stream = stream
        self._book = book
        self._audit = audit
        self._now = now
        self._vat_percent = vat_percent
        self._zone = ZoneInfo(book.time_zone)

    async def draft(self, tenant: str, month: Month) -> Invoice:
        """What the invoice would be now.

        Raises:
            PeriodOverError: the month's accounts are deleted; ``issue`` and ``replay`` say so too.
        """
        async with self._database.change() as connection:
            await self._begin(connection, month)
            return await self._invoice(connection, tenant, month)

    async def issued(self, tenant: str, month: Month) -> Issued | None:
        """The invoice as it was issued; None before that."""
        query = "SELECT * FROM ledger.invoice WHERE tenant = %s AND month = %s"
        found = await self._database.read(query, [tenant, str(month)])
        if not found:
            return None
        document = dict(found[0]["document"])
        lines = tuple(Line(**line) for line in document.pop("lines"))
        return Issued(Invoice(**document, lines=lines), found[0]["records_sha256"], found[0]["issued_at"])

    async def issue(self, actor: str, tenant: str, month: Month) -> Issued:
        """The invoice of a closed month: made and kept at the first time, the same ever after.

        Raises:
            MonthNotClosedError: when it closes, or what is still on its way.
            AccountError: the replay of the records contradicts their sums; nothing was issued.
            DatabaseConflictError: something was done to the tenant during each of some tries; nothing was issued.
        """
        for _ in range(_TRIES):
            if known := await self.issued(tenant, month):
                return known
            await self._check_closed(tenant, month)
            try:
                await self._issue(actor, tenant, month)
            except DatabaseConflictError:
                # What is read is of one moment, the end of the audit's chain too: an act since then is in the way.
                _log.info("invoice %s of %s: something was done to the tenant meanwhile; made anew", month, tenant)
                continue
            issued = await self.issued(tenant, month)
            if issued is None:
                raise AccountError(f"invoice {month} of {tenant!r} was issued and cannot be read")
            return issued
        raise DatabaseConflictError(
            f"invoice {month} of {tenant!r} not issued: each of {_TRIES} times something was done to the tenant"
            " meanwhile; ask again when that is over"
        )

    async def _issue(self, actor: str, tenant: str, month: Month) -> None:
        async with self._database.change() as connection:
            await self._begin(connection, month)
            invoice = await self._invoice(connection, tenant, month)
            replayed = await self._replayed(connection, tenant, month)
            if wrong := replayed.differences(invoice, None):
                raise AccountError(f"invoice {month} of {tenant!r} not issued: {'; '.join(wrong)}")
            await connection.execute(
                "INSERT INTO ledger.invoice (tenant, month, document, total_nano_eur, records_sha256, issued_at)"
                " VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
                [tenant, str(month), Jsonb(invoice.document()), invoice.total_nano_eur, replayed.sha256, self._now()],
            )
            details = {"total_nano_eur": invoice.total_nano_eur, "total_cents": invoice.total_cents}
            act = Act(actor, "invoice.issue", str(month), self._now(), tenant, details)
            await self._audit.append([act], connection)

    async def replay(self, tenant: str, month: Month) -> tuple[Replayed, list[str]]:
        """Every record of a closed month charged anew, and where the invoice says otherwise.

        Raises:
            MonthNotClosedError: as for the invoice.
        """
        issued = await self.issued(tenant, month)
        if issued is None:
            await self._check_closed(tenant, month)
        async with self._database.change() as connection:
            await self._begin(connection, month)
            replayed = await self._replayed(connection, tenant, month)
            invoice = issued.invoice if issued else await self._invoice(connection, tenant, month)
        return replayed, replayed.differences(invoice, issued.sha256 if issued else None)

    async def _check_closed(self, tenant: str, month: Month) -> None:
        closes_at = month.closes_at(self._zone)
        if self._now() < closes_at:
            raise MonthNotClosedError(
                f"{month} is not closed; it closes at {closes_at.isoformat()}: until then only a draft can be had"
            )
        end = month.end(self._zone)
        late = [p for p in await pending(self._redis, self._stream) if p.tenant == tenant and p.began_at < end]
        if late:
            raise MonthNotClosedError(f"{len(late)} calls up to {month} are on their way to the records; try again")

    def _bounds(self, tenant: str, month: Month) -> Sequence[Any]:
        return tenant, month.start(self._zone), month.end(self._zone)

    async def _begin(self, connection: Connection, month: Month) -> None:
        await one_moment(connection)
        check_kept(f"month {month}", month.start(self._zone), await rows(connection, LAST_REMOVED))

    async def _invoice(self, connection: Connection, tenant: str, month: Month) -> Invoice:
        bounds = self._bounds(tenant, month)
        groups = [Group(**{**row, "count": int(row["count"])}) for row in await rows(connection, _GROUPS, bounds)]
        totals = Totals(**{name: int(sum_) for name, sum_ in (await rows(connection, _TOTALS, bounds))[0].items()})
        return invoice_of(tenant, month, groups, totals, self._book, self._vat_percent)

    async def _replayed(self, connection: Connection, tenant: str, month: Month) -> Replayed:
        replay = Replay(self._book)
        # A cursor of the server's: a month may have millions of records.
        async with connection.cursor(name="replay", row_factory=dict_row) as cursor:
            await cursor.execute(_RECORDS.encode(), self._bounds(tenant, month))
            while batch := await cursor.fetchmany(_AT_ONCE):
                for record in batch:
                    replay.add(record)
                await asyncio.sleep(0)
        return replay.result()
