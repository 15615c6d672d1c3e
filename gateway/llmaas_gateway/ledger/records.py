"""The durable record: what the ledger's script enqueued goes to PostgreSQL, each call once, whatever fails between."""

import asyncio
import json
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg.types.json import Jsonb
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from llmaas_gateway import schemas
from llmaas_gateway.schemas import LOCKED_RETRY_SECONDS

_SCHEMA: Final = (Path(__file__).parent / "schema.sql").read_text(encoding="utf-8")
_GROUP: Final = "records"
_BATCH: Final = 200
_RETRY_SECONDS: Final = 2.0
_GATHER_SECONDS: Final = 1.0
_CLAIM_AFTER_MS: Final = 30_000
_FORGET_EVERY_SECONDS: Final = 600.0

_log = logging.getLogger(__name__)

_COLUMNS: Final = (
    "request_id, began_at, kind, tenant, team, api_key, billing, model, endpoint, status, counts, price_ids, factor,"
    " nano_eur, unbilled_nano_eur, output_tokens, latency_ms, settled_at, late"
)
_INSERT: Final = f"""
INSERT INTO ledger.record ({_COLUMNS})
SELECT {_COLUMNS} FROM jsonb_populate_recordset(NULL::ledger.record, %s)
ON CONFLICT DO NOTHING
RETURNING request_id
"""  # noqa: S608 - columns of ours
# In one order everywhere, so that two replicas never wait for each other.
_COUNT: Final = """
INSERT INTO ledger.counter AS c (key, settled, expires_at)
SELECT * FROM unnest(%s::text[], %s::bigint[], %s::timestamptz[]) ORDER BY 1
ON CONFLICT (key) DO UPDATE SET settled = c.settled + excluded.settled
"""
# After the insert: whoever sums the month up at this moment has seen the new records, or finds that it may not.
_NOT_SUMMED: Final = "DELETE FROM ledger.summed_month WHERE first = ANY(%s)"
# What tenants spent in a month is compared with its records for so long after it: its last day too has a night then.
KEPT_AFTER_MONTH: Final = timedelta(days=7)
# Whoever adds to a counter at this moment, for a call that ended late, is not waited for.
_FORGET: Final = """
DELETE FROM ledger.counter WHERE key IN (
    SELECT key FROM ledger.counter WHERE expires_at < now() AND (
        key NOT LIKE '%%:spend-month:%%' OR expires_at < now() - %s
    ) FOR UPDATE SKIP LOCKED
)
"""


@dataclass(frozen=True, slots=True)
class CallRecord:
    """What is kept of a call: numbers and names, never text of a prompt or an answer.

    Attributes:
        began_at: ISO 8601 with offset.
        api_key: the hash that names the key.
        billing: how the tenant paid when the call began, ``prepaid`` or ``monthly``: only the former uses up credit.
        counts: units of the price book.
        price_ids: entry of the price book by unit.
        factor: product of the factors, as a fraction.
        nano_eur: what the usage costs by the book; what was charged of it is the ledger's word.
        latency_ms: from admission to the end of the answer.
    """

    request_id: str
    began_at: str
    tenant: str
    team: str
    api_key: str
    billing: str
    model: str
    endpoint: str
    status: str
    counts: Mapping[str, int] = field(default_factory=dict)
    price_ids: Mapping[str, str] = field(default_factory=dict)
    factor: str = "1"
    nano_eur: int = 0
    latency_ms: int = 0

    def payload(self) -> dict[str, Any]:
        """As plain data for the ledger's stream."""
        # asdict would copy every value first.
        return {name: getattr(self, name) for name in self.__slots__}


def _row(fields: Mapping[bytes, bytes]) -> dict[str, Any]:
    record = json.loads(fields[b"record"])
    charged = int(fields[b"charged"])
    return {
        **record,
        "kind": fields[b"kind"].decode(),
        "nano_eur": charged,
        "unbilled_nano_eur": max(0, int(record["nano_eur"]) - charged),
        "output_tokens": int(fields[b"output"]),
        "settled_at": datetime.fromtimestamp(int(fields[b"at"]) / 1000, tz=UTC).isoformat(),
        "late": fields[b"late"] == b"1",
    }


def _month(began_at: str) -> datetime:
    """The month of a record's partition: that of UTC, which ends at another moment than that of the windows."""
    moment = datetime.fromisoformat(began_at).astimezone(UTC)
    return moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def _counted(fields: Mapping[bytes, bytes]) -> Iterator[tuple[str, int, datetime | None]]:
    """What a settlement adds to which counter, and when that counter expires."""
    amounts = {"money": int(fields[b"charged"]), "output": int(fields[b"output"]), "requests": 1}
    for counter in json.loads(fields.get(b"spec", b"[]")):
        if counter["kind"] in amounts:
            expires = counter["expires"]
            yield (
                counter["key"],
                amounts[counter["kind"]],
                datetime.fromtimestamp(expires / 1000, tz=UTC) if expires else None,
            )


async def migrate(connection: psycopg.AsyncConnection[Any]) -> None:
    """Make the tables that are missing.

    Raises:
        psycopg.errors.LockNotAvailable: somebody uses what would be changed; try again later.
    """
    await schemas.apply(connection, "ledger.record", _SCHEMA)


async def store(connection: psycopg.AsyncConnection[Any], entries: Sequence[Mapping[bytes, bytes]]) -> int:
    """Insert what is in the ledger's stream and add settlements to the counters; how many were new.

    A call that is there already changes nothing.
    """
    # Of an entry of an older version, which only said that a reservation had lapsed, nothing can be kept.
    calls = {fields[b"id"].decode(): fields for fields in entries if b"record" in fields}
    rows = {identity: _row(fields) for identity, fields in calls.items()}
    if not rows:
        return 0
    async with connection.transaction():
        months = sorted({_month(row["began_at"]) for row in rows.values()})
        for month in months:
            await connection.execute("SELECT ledger.ensure_month(%s)", [month])
        cursor = await connection.execute(_INSERT.encode(), [Jsonb(list(rows.values()))])
        new = [str(identity) for (identity,) in await cursor.fetchall()]
        await connection.execute(_NOT_SUMMED, [months])
        sums: dict[str, tuple[int, datetime | None]] = {}
        for identity in new:
            for key, amount, expires in _counted(calls[identity]):
                sums[key] = (sums.get(key, (0, None))[0] + amount, expires)
        if sums:
            amounts, ends = zip(*sums.values(), strict=True)
            await connection.execute(_COUNT, [list(sums), list(amounts), list(ends)])
    return len(new)


async def forget_expired(connection: psycopg.AsyncConnection[Any]) -> int:
    """Delete the counters of windows that are over, a thousand tenants' of each minute; how many there were."""
    async with connection.transaction():
        return (await connection.execute(_FORGET, [KEPT_AFTER_MONTH])).rowcount


async def prepare_month(connection: psycopg.AsyncConnection[Any]) -> None:
    """Make the partition of the coming month days before its first record, at a moment when nobody reads for long.

    To make one waits for all who read the records, who may do so for minutes, and whoever comes then waits behind it.
    """
    try:
        async with connection.transaction():
            await connection.execute("SET LOCAL lock_timeout = '2s'")
            await connection.execute("SELECT ledger.ensure_month(now() + interval '7 days')")
    except psycopg.errors.LockNotAvailable:
        _log.info("the coming month's partition waits: somebody reads the records")


class RecordConsumer:
    """Moves records from the ledger's stream to PostgreSQL; any number of replicas may run one.

    A batch is acknowledged and deleted only after PostgreSQL has committed it, and an insert of what is there already
    changes nothing: a crash at any point repeats work but neither loses nor doubles a record.
    """

    def __init__(self, redis: Redis, stream: str, database: str, name: str) -> None:
        """Takes the ledger's Redis and stream, a PostgreSQL URL, and a name unique to this replica."""
        self._redis = redis
        self._stream = stream
        self._database = database
        self._name = name
        self._grouped = False
        self._claim_at = 0.0
        self._forget_at = 0.0

    async def run(self) -> None:
        """Consume until cancelled; PostgreSQL or Redis being away only delays it."""
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(self._database, connect_timeout=5) as connection:
                    await migrate(connection)
                    while True:
                        if time.monotonic() >= self._forget_at:
                            self._forget_at = time.monotonic() + _FORGET_EVERY_SECONDS
                            await forget_expired(connection)
                            await prepare_month(connection)
                        # One batch a second costs the proxy less than one a call.
                        if await self.consume(connection, wait_ms=1_000) < _BATCH:
                            await asyncio.sleep(_GATHER_SECONDS)
            except psycopg.errors.LockNotAvailable:
                _log.warning("records wait: their tables are in use; trying again in %s s", LOCKED_RETRY_SECONDS)
                await asyncio.sleep(LOCKED_RETRY_SECONDS)
            except (psycopg.Error, RedisError, OSError) as error:
                self._grouped = False
                _log.warning("records wait: %s; trying again in %s s", type(error).__name__, _RETRY_SECONDS)
                await asyncio.sleep(_RETRY_SECONDS)

    async def consume(self, connection: psycopg.AsyncConnection[Any], *, wait_ms: int) -> int:
        """Move one batch; how many records it had. First those that a dead consumer left behind."""
        await self._ensure_group()
        batch = await self._abandoned() or await self._new(wait_ms)
        if not batch:
            return 0
        await store(connection, [fields for _, fields in batch])
        identities = [identity for identity, _ in batch]
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.xack(self._stream, _GROUP, *identities)
            pipe.xdel(self._stream, *identities)
            await pipe.execute()
        return len(batch)

    async def _ensure_group(self) -> None:
        if self._grouped:
            return
        try:
            await self._redis.xgroup_create(self._stream, _GROUP, id="0", mkstream=True)
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise
        self._grouped = True

    async def _abandoned(self) -> list[Any]:
        if time.monotonic() < self._claim_at:
            return []
        answer = await self._redis.xautoclaim(self._stream, _GROUP, self._name, _CLAIM_AFTER_MS, "0-0", count=_BATCH)
        batch = list(answer[1])
        if not batch:
            self._claim_at = time.monotonic() + _CLAIM_AFTER_MS / 2_000
        return batch

    async def _new(self, wait_ms: int) -> list[Any]:
        # Our own unfinished batch first ("0"), as after a failed commit; then what nobody has had (">").
        for start in ("0", ">"):
            answer: Any = await self._redis.xreadgroup(
                _GROUP, self._name, {self._stream: start}, count=_BATCH, block=wait_ms if start == ">" else None
            )
            for _, batch in answer or []:
                if batch:
                    return list(batch)
        return []
