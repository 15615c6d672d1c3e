"""A Redis that lost its memory or was started anew gets its counters from PostgreSQL; until then it admits nothing."""

import logging
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, cast

import psycopg
from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.exceptions import WatchError

from llmaas_gateway.ledger.ledger import Ledger
from llmaas_gateway.ledger.memory import TRACE_SECONDS
from llmaas_gateway.ledger.records import forget_expired, migrate, store
from llmaas_gateway.transactions import may_idle

# A rebuild that does not go on for so long is taken over by another replica, and writes nothing more.
_LOCK_SECONDS: Final = 60
_BATCH: Final = 500

_log = logging.getLogger(__name__)


class _OvertakenError(Exception):
    """Another replica holds the lock now, or the ledger is whole."""


class _Turn:
    """One replica's turn at rebuilding: it writes while it holds the lock and the ledger is lost, and no longer."""

    def __init__(self, redis: Redis, ledger: Ledger) -> None:
        self._redis = redis
        self._epoch = ledger.epoch_key
        self.lock = ledger.lock_key
        self.holder = ""

    async def begin(self) -> bool:
        """Take the lock, in the name of Redis' process; False if another replica has it."""
        run = (await self._redis.info("server"))["run_id"]
        self.holder = f"{run}:{uuid.uuid4().hex}"
        return bool(await self._redis.set(self.lock, self.holder, nx=True, ex=_LOCK_SECONDS))

    async def write(self, commands: Callable[[Pipeline], None]) -> None:
        """Write a batch, all or nothing.

        Raises:
            _OvertakenError: the turn is over; nothing was written.
        """
        async with self._redis.pipeline(transaction=True) as pipe:
            await pipe.watch(self.lock, self._epoch)
            if await pipe.get(self.lock) != self.holder.encode() or await pipe.exists(self._epoch):
                raise _OvertakenError
            pipe.multi()  # type: ignore[no-untyped-call]  # redis-py's
            pipe.expire(self.lock, _LOCK_SECONDS)
            commands(pipe)
            try:
                await pipe.execute()
            except WatchError:
                raise _OvertakenError from None

    async def go_on(self) -> None:
        """Keep the lock for longer.

        Raises:
            _OvertakenError: the turn is over.
        """
        await self.write(lambda _: None)

    async def give_up(self) -> None:
        """Let another replica begin at once, if this one still holds the lock."""
        async with self._redis.pipeline(transaction=True) as pipe:
            await pipe.watch(self.lock)
            if await pipe.get(self.lock) == self.holder.encode():
                pipe.multi()  # type: ignore[no-untyped-call]  # redis-py's
                pipe.delete(self.lock)
                try:
                    await pipe.execute()
                except WatchError:
                    return


async def rebuild(redis: Redis, ledger: Ledger, database: str) -> bool:
    """Give a Redis without an epoch its counters and declare it whole; False if another is at it or it is whole.

    What stands in the stream and is not in PostgreSQL yet is moved there first. Then every counter is what PostgreSQL
    says, and what is left in Redis of reservations of calls under way is held on top. Reservations that Redis has lost
    are not restored: their settlements carry the limits themselves, and are charged as far as these have room.

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
    turn = _Turn(redis, ledger)
    if not await turn.begin():
        return False
    try:
        async with await psycopg.AsyncConnection.connect(database, connect_timeout=5) as connection:
            await migrate(connection)
            await _drain(redis, ledger, turn, connection)
            await _forget_counters(redis, ledger, turn)
            await forget_expired(connection)
            # One snapshot: what another replica moves meanwhile is in the counters and the traces, or in neither.
            await connection.set_isolation_level(psycopg.IsolationLevel.REPEATABLE_READ)
            async with connection.transaction():
                # All counters are read at once, and written to Redis after that.
                await may_idle(connection)
                counters = await _restore_counters(turn, connection)
                traces = await _restore_traces(turn, ledger, connection)
        held = await ledger.restore(redis, turn.holder, datetime.now(UTC))
    except _OvertakenError:
        held = None
    finally:
        await turn.give_up()
    if held is None:
        _log.warning("this rebuild of the ledger was overtaken by another one")
        return False
    _log.warning(
        "ledger rebuilt: %d counters, %d settlements of the last hours, %d calls under way", counters, traces, held
    )
    return True


async def _drain(redis: Redis, ledger: Ledger, turn: _Turn, connection: psycopg.AsyncConnection[Any]) -> None:
    """Move what stands in the stream to PostgreSQL; after an outage that is a million records, and takes its time."""
    start = "-"
    while batch := cast("list[Any]", await redis.xrange(ledger.records_key, min=start, count=_BATCH)):
        await store(connection, [fields for _, fields in batch])
        await turn.go_on()
        start = f"({batch[-1][0].decode()}"


async def _forget_counters(redis: Redis, ledger: Ledger, turn: _Turn) -> None:
    """What is left of counters, or of an unfinished rebuild, is not to be trusted."""
    cursor = 0
    while True:
        cursor, keys = await redis.scan(cursor, match=f"{ledger.prefix}:counter:*", count=_BATCH)
        if keys:

            def commands(pipe: Pipeline, keys: list[Any] = keys) -> None:
                pipe.delete(*keys)

            await turn.write(commands)
        if not cursor:
            return


async def _restore_counters(turn: _Turn, connection: psycopg.AsyncConnection[Any]) -> int:
    cursor = await connection.execute(
        "SELECT key, settled, expires_at FROM ledger.counter WHERE expires_at IS NULL OR expires_at > now()"
    )
    count = 0
    while rows := await cursor.fetchmany(_BATCH):

        def commands(pipe: Pipeline, rows: list[Any] = rows) -> None:
            for key, settled, expires_at in rows:
                pipe.hset(key, "settled", settled)
                if expires_at is not None:
                    pipe.pexpireat(key, int(expires_at.timestamp() * 1000))

        await turn.write(commands)
        count += len(rows)
    return count


async def _restore_traces(turn: _Turn, ledger: Ledger, connection: psycopg.AsyncConnection[Any]) -> int:
    # Settlements whose answer was lost with Redis are tried again: so far back they are known to have happened.
    # A cursor of the server's: it may be half a million.
    cursor = connection.cursor(name="traces")
    await cursor.execute(
        "SELECT request_id, nano_eur, output_tokens FROM ledger.record"
        " WHERE settled_at > now() - make_interval(secs => %s)",
        [TRACE_SECONDS],
    )
    count = 0
    while rows := await cursor.fetchmany(_BATCH):

        def commands(pipe: Pipeline, rows: list[Any] = rows) -> None:
            for identity, nano_eur, output_tokens in rows:
                key = ledger.reservation_key(identity)
                trace = {"state": "settled", "charged": nano_eur, "charged_output": output_tokens}
                pipe.hset(key, mapping=cast("Any", trace))
                pipe.expire(key, TRACE_SECONDS)
            # Redis may have come back as it was before the settlement.
            for key in (ledger.leases_key, ledger.lapsed_key):
                pipe.zrem(key, *(identity for identity, *_ in rows))

        await turn.write(commands)
        count += len(rows)
    return count
