"""A Redis that lost its memory gets its counters back from PostgreSQL; until then it admits nothing."""

import logging
import uuid
from typing import Any, Final, cast

import psycopg
from redis.asyncio import Redis

from llmaas_gateway.ledger.ledger import Ledger
from llmaas_gateway.ledger.records import migrate, store

# A rebuild that takes longer than this may be joined by a second one, which does the same again: no harm.
_LOCK_SECONDS: Final = 60
_BATCH: Final = 500
# Settlements whose answer was lost with Redis are tried again: so far back they are known to have happened.
_TRACE_MINUTES: Final = 60

_log = logging.getLogger(__name__)


async def rebuild(redis: Redis, ledger: Ledger, database: str) -> bool:
    """Give an empty Redis its counters and declare it whole; False if another replica is at it or it is whole.

    Reservations of calls under way are not restored: their settlements carry the limits themselves, and are charged as
    far as these have room. What stands in the stream and is not in PostgreSQL yet is moved there first.

    Args:
        redis: the ledger's, with a time limit long enough for bulk writing.
        ledger: whose keys they are.
        database: PostgreSQL's URL.

    Raises:
        psycopg.Error: PostgreSQL is away; try again.
        RedisError: Redis is away; try again.
    """
    if await redis.exists(ledger.epoch_key):
        return False
    lock = f"{ledger.prefix}:rebuild"
    if not await redis.set(lock, "1", nx=True, ex=_LOCK_SECONDS):
        return False
    try:
        async with await psycopg.AsyncConnection.connect(database, connect_timeout=5) as connection:
            await migrate(connection)
            await _drain(redis, ledger, connection)
            counters = await _restore_counters(redis, connection)
            traces = await _restore_traces(redis, ledger, connection)
        await redis.set(ledger.epoch_key, uuid.uuid4().hex)
    finally:
        await redis.delete(lock)
    _log.warning("ledger rebuilt: %d counters, %d settlements of the last hour", counters, traces)
    return True


async def _drain(redis: Redis, ledger: Ledger, connection: psycopg.AsyncConnection[Any]) -> None:
    start = "-"
    while batch := cast("list[Any]", await redis.xrange(ledger.records_key, min=start, count=_BATCH)):
        await store(connection, [fields for _, fields in batch])
        start = f"({batch[-1][0].decode()}"


async def _restore_counters(redis: Redis, connection: psycopg.AsyncConnection[Any]) -> int:
    await connection.execute("DELETE FROM ledger.counter WHERE expires_at < now()")
    cursor = await connection.execute("SELECT key, settled, expires_at FROM ledger.counter")
    count = 0
    while rows := await cursor.fetchmany(_BATCH):
        async with redis.pipeline(transaction=False) as pipe:
            for key, settled, expires_at in rows:
                # Written over: what an unfinished rebuild left there, holds included, is not to be trusted.
                pipe.hset(key, mapping={"settled": settled, "held": 0})
                if expires_at is not None:
                    pipe.pexpireat(key, int(expires_at.timestamp() * 1000))
            await pipe.execute()
        count += len(rows)
    return count


async def _restore_traces(redis: Redis, ledger: Ledger, connection: psycopg.AsyncConnection[Any]) -> int:
    cursor = await connection.execute(
        "SELECT request_id, nano_eur, output_tokens FROM ledger.record"
        " WHERE settled_at > now() - make_interval(mins => %s)",
        [_TRACE_MINUTES],
    )
    count = 0
    while rows := await cursor.fetchmany(_BATCH):
        async with redis.pipeline(transaction=False) as pipe:
            for identity, nano_eur, output_tokens in rows:
                key = ledger.reservation_key(identity)
                trace = {"state": "settled", "charged": nano_eur, "charged_output": output_tokens}
                pipe.hset(key, mapping=cast("Any", trace))
                pipe.expire(key, 2 * _TRACE_MINUTES * 60)
            await pipe.execute()
        count += len(rows)
    return count
