"""The counters of the ledger against the records: Redis, PostgreSQL's sums of it, and the records themselves."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from redis.asyncio import Redis

from llmaas_gateway.accounts.account import Billing
from llmaas_gateway.accounts.database import Database, DatabaseBusyError, one_moment, rows
from llmaas_gateway.invoices.finding import Finding
from llmaas_gateway.invoices.month_sums import charged
from llmaas_gateway.invoices.months import Month
from llmaas_gateway.invoices.pending import ledgers_redis, settlements
from llmaas_gateway.ledger.ledger import Ledger, LedgerUnavailableError
from llmaas_gateway.ledger.records import KEPT_AFTER_MONTH

# Calls go on while we look: a real difference stays the same, one between two glances does not.
_LOOKS: Final = 3
_BETWEEN_LOOKS_SECONDS: Final = 0.5
_KEYS_AT_ONCE: Final = 500
# Records wait for a second or two, and all that wait are read with each piece of the counters, as both must be of one
# moment. After an outage there may be a million, which Redis would do nothing else than send.
_MOST_WAITING: Final = 2_000
_CREDIT: Final = "credit"


@dataclass(frozen=True, slots=True)
class _Difference:
    redis: int
    expected: int


class Counters:
    """Compares the counters; changes none."""

    def __init__(self, redis: Redis, ledger: Ledger, database: Database, zone: ZoneInfo) -> None:
        """Takes the ledger with its Redis, the records, and the time zone of months."""
        self._redis = redis
        self._ledger = ledger
        self._database = database
        self._zone = zone

    async def against_redis(self, now: datetime) -> tuple[int, list[Finding]]:
        """How many counters of money and tokens were compared with Redis, and those that differ.

        Raises:
            DatabaseBusyError: too many records wait for PostgreSQL.
            LedgerUnavailableError: Redis is away or has lost its counters.
        """
        await self._check_few_wait()
        known = [row["key"] for row in await self._database.read(_KEYS, [now])]
        differing = await self._look(known)
        for _ in range(_LOOKS - 1):
            if not differing:
                break
            await asyncio.sleep(_BETWEEN_LOOKS_SECONDS)
            again = await self._look(differing)
            differing = {
                key: difference
                for key, difference in again.items()
                if difference.redis - difference.expected == differing[key].redis - differing[key].expected
            }
        findings = [
            Finding("redis", key, f"Redis has {d.redis}, the records and what is on its way to them {d.expected}")
            for key, d in sorted(differing.items())
        ]
        return len(known), findings

    async def _look(self, keys: Iterable[str]) -> dict[str, _Difference]:
        wanted = list(keys)
        found: dict[str, _Difference] = {}
        for start in range(0, len(wanted), _KEYS_AT_ONCE):
            found |= await self._look_at(wanted[start : start + _KEYS_AT_ONCE])
        return found

    async def _check_few_wait(self) -> None:
        with ledgers_redis():
            waiting = int(await self._redis.xlen(self._ledger.records_key))
        if waiting > _MOST_WAITING:
            raise _too_many(waiting)

    async def _look_at(self, keys: list[str]) -> dict[str, _Difference]:
        """Redis first and all of it at one moment; what is stored after that can only be seen again, not missed."""
        with ledgers_redis():
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.exists(self._ledger.epoch_key)
                pipe.xrange(self._ledger.records_key, count=_MOST_WAITING + 1)
                for key in keys:
                    pipe.hget(key, "settled")
                whole, entries, *settled = await pipe.execute()
        if not whole:
            raise LedgerUnavailableError("the ledger's Redis lost its counters; they are rebuilt from the records")
        if len(entries) > _MOST_WAITING:
            raise _too_many(len(entries))
        waiting = {p.request_id: p for p in settlements(entries)}
        async with self._database.change() as connection:
            await one_moment(connection)
            stored = {row["request_id"] for row in await rows(connection, _STORED, [list(waiting)])}
            sums = {row["key"]: row["settled"] for row in await rows(connection, _SETTLED, [keys])}
        expected: dict[str, int] = defaultdict(int, sums)
        for identity, settlement in waiting.items():
            if identity not in stored:
                for key, amount in settlement.counted.items():
                    expected[key] += amount
        differences = {key: _Difference(int(s or 0), expected[key]) for key, s in zip(keys, settled, strict=True)}
        return {key: d for key, d in differences.items() if d.redis != d.expected}

    async def against_records(self, now: datetime) -> tuple[int, list[Finding]]:
        """How many counters of tenants' money were compared with the records themselves, and those that differ.

        Both sides name tenants: one whose records are all gone still has its counters. Credit is the sum over all time:
        of records that are gone the balance carried forward counts. Spend is that of this month, and for a week of the
        one before, whose last day no night of its own has compared.
        """
        month = Month.of(now, self._zone)
        months = [month]
        if now < month.start(self._zone) + KEPT_AFTER_MONTH:
            months.insert(0, month.previous)
        begins = [each.start(self._zone) for each in months]
        # By the end of a counter's key: the sum of each tenant's records.
        sums: dict[str, dict[str, int]] = {_CREDIT: defaultdict(int)}
        async with self._database.change() as connection:
            await one_moment(connection)
            for row in await charged(connection, now):
                if row["billing"] == Billing.PREPAID:
                    sums[_CREDIT][row["tenant"]] += row["nano_eur"]
            for begin, each in zip(begins, months, strict=True):
                spent = await rows(connection, _SPENT, [begin, each.end(self._zone)])
                sums[_spend_month(begin)] = {row["tenant"]: int(row["sum"]) for row in spent}
            before = f"{self._ledger.prefix}:counter:tenant:"
            kept: dict[str, dict[str, int]] = {name: {} for name in sums}
            for row in await rows(connection, _OF_TENANTS, [before]):
                tenant, _, name = row["key"].removeprefix(before).partition(":")
                if name in kept:
                    kept[name][tenant] = row["settled"]
        if len(months) > 1:
            # Which of its counters were forgotten before they were kept for longer, nobody knows.
            past = _spend_month(begins[0])
            sums[past] = {tenant: amount for tenant, amount in sums[past].items() if tenant in kept[past]}
        pairs = [
            (f"{before}{tenant}:{name}", kept[name].get(tenant, 0), sums[name].get(tenant, 0))
            for name in sums
            for tenant in sorted(kept[name] | sums[name])
        ]
        return len(pairs), [
            Finding("records", key, f"the counter kept in PostgreSQL has {counted}, its records {amount}")
            for key, counted, amount in pairs
            if counted != amount
        ]


def _too_many(waiting: int) -> DatabaseBusyError:
    return DatabaseBusyError(f"{waiting} or more records wait to be moved to PostgreSQL; try again later")


def _spend_month(begins: datetime) -> str:
    """The end of the key of what a tenant spent in a month that begins then."""
    return f"spend-month:{begins.isoformat()}"


# Requests are counted when they begin, so Redis is ahead of the records by those under way and those refused upstream.
_KEYS: Final = """
SELECT key FROM ledger.counter
WHERE (expires_at IS NULL OR expires_at > %s) AND key NOT LIKE ALL (ARRAY['%%:requests-%%', '%%:key-requests-%%'])
ORDER BY key
"""
_STORED: Final = "SELECT request_id FROM ledger.record WHERE request_id = ANY(%s)"
_SETTLED: Final = "SELECT key, settled FROM ledger.counter WHERE key = ANY(%s)"
_OF_TENANTS: Final = """
SELECT key, settled FROM ledger.counter
WHERE starts_with(key, %s) AND key LIKE ANY (ARRAY['%%:credit', '%%:spend-month:%%'])
"""
_SPENT: Final = """
SELECT tenant, sum(nano_eur)::text AS sum FROM ledger.record WHERE began_at >= %s AND began_at < %s GROUP BY tenant
"""
