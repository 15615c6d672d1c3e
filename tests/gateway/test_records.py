"""No record is lost or doubled, whatever fails between the ledger and PostgreSQL. Needs PostgreSQL 15's programs."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import psycopg
import pytest
from data_servers import PostgresServer, postgres_server
from ledgers import run
from llmaas_gateway.ledger.ledger import Ledger, LedgerLostError, Settled
from llmaas_gateway.ledger.limits import Kind, Limit, Window
from llmaas_gateway.ledger.rebuild import rebuild
from llmaas_gateway.ledger.records import CallRecord, RecordConsumer, forget_expired, migrate, prepare_month
from llmaas_gateway.tasks import end

T = TypeVar("T")
START = datetime(2096, 11, 30, 23, 0, tzinfo=ZoneInfo("Europe/Paris"))
LIMITS = (Limit("credit", "tenant:a", Kind.MONEY, Window.NONE, 10**12),)
RECORD = CallRecord(
    request_id="r",
    began_at=START.isoformat(),
    tenant="a",
    team="t",
    api_key="hash",
    billing="prepaid",
    model="m",
    endpoint="/v1/chat/completions",
    status="success",
    counts={"input": 10, "output": 5},
    price_ids={"input": "seed/input", "output": "seed/output"},
    factor="1",
    nano_eur=29_000,
    latency_ms=120,
)


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


async def call(ledger: Ledger, identity: str, at: datetime = START) -> None:
    record = replace(RECORD, request_id=identity, began_at=at.isoformat())
    await ledger.reserve(identity, LIMITS, nano_eur=50_000, output_tokens=9, at=at, lease=timedelta(minutes=5))
    await ledger.settle(identity, nano_eur=29_000, output_tokens=5, record=record.payload(), at=at)


async def rows(connection: psycopg.AsyncConnection[Any], prefix: str) -> list[Any]:
    cursor = await connection.execute(
        "SELECT request_id, nano_eur, tableoid::regclass::text FROM ledger.record WHERE request_id LIKE %s ORDER BY 1",
        [f"{prefix}%"],
    )
    return await cursor.fetchall()


def test_records_arrive_once_in_the_partition_of_their_month(redis_port: int, postgres: PostgresServer) -> None:
    async def action(ledger: Ledger) -> list[Any]:
        consumer = RecordConsumer(ledger._redis, ledger.records_key, postgres.url, "one")  # noqa: SLF001
        async with await psycopg.AsyncConnection.connect(postgres.url) as connection:
            await migrate(connection)
            await call(ledger, "month-a")
            await call(ledger, "month-b", START + timedelta(hours=3))
            assert await consumer.consume(connection, wait_ms=10) == 2
            assert await consumer.consume(connection, wait_ms=10) == 0
            assert await ledger._redis.xlen(ledger.records_key) == 0  # noqa: SLF001
            return await rows(connection, "month-")

    # 23:00 and 02:00 in Paris: November and December in UTC
    assert run(redis_port, action) == [
        ("month-a", 29_000, "ledger.record_2096_11"),
        ("month-b", 29_000, "ledger.record_2096_12"),
    ]


def test_a_batch_has_calls_of_both_sides_of_a_month_of_utc(redis_port: int, postgres: PostgresServer) -> None:
    async def action(ledger: Ledger) -> list[Any]:
        consumer = RecordConsumer(ledger._redis, ledger.records_key, postgres.url, "one")  # noqa: SLF001
        turn = datetime(2097, 12, 1, 1, 0, tzinfo=START.tzinfo)  # of the month of UTC; in Paris it is an hour old
        async with await psycopg.AsyncConnection.connect(postgres.url) as connection:
            await migrate(connection)
            # One after the turn is settled before one that began before it.
            await call(ledger, "turn-a", turn + timedelta(seconds=1))
            await call(ledger, "turn-b", turn - timedelta(seconds=1))
            assert await consumer.consume(connection, wait_ms=10) == 2
            return await rows(connection, "turn-")

    assert run(redis_port, action) == [
        ("turn-a", 29_000, "ledger.record_2097_12"),
        ("turn-b", 29_000, "ledger.record_2097_11"),
    ]


def test_a_batch_that_was_committed_but_not_acknowledged_is_not_doubled(
    redis_port: int, postgres: PostgresServer
) -> None:
    async def action(ledger: Ledger) -> list[Any]:
        redis, stream = ledger._redis, ledger.records_key  # noqa: SLF001
        consumer = RecordConsumer(redis, stream, postgres.url, "one")
        async with await psycopg.AsyncConnection.connect(postgres.url) as connection:
            await migrate(connection)
            await call(ledger, "twice-a")
            copies = await redis.xrange(stream)
            await consumer.consume(connection, wait_ms=10)
            for _, fields in copies:
                await redis.xadd(stream, fields)
            await consumer.consume(connection, wait_ms=10)
            return await rows(connection, "twice-")

    assert len(run(redis_port, action)) == 1


def test_nothing_is_lost_while_postgresql_is_away(redis_port: int, postgres: PostgresServer) -> None:
    async def action(ledger: Ledger) -> list[Any]:
        consumer = RecordConsumer(ledger._redis, ledger.records_key, postgres.url, "one")  # noqa: SLF001
        task = asyncio.create_task(consumer.run())
        await call(ledger, "away-a")
        await asyncio.sleep(1)
        await asyncio.to_thread(postgres.kill)
        for n in range(20):
            await call(ledger, f"away-b{n}")
        await asyncio.to_thread(postgres.start)
        async with await psycopg.AsyncConnection.connect(postgres.url) as connection:
            for _ in range(100):
                found = await rows(connection, "away-")
                if len(found) == 21:
                    break
                await asyncio.sleep(0.2)
        await end(task)
        return found

    assert len(run(redis_port, action)) == 21


def test_a_record_cannot_be_changed_or_deleted(redis_port: int, postgres: PostgresServer) -> None:
    async def action(ledger: Ledger) -> None:
        consumer = RecordConsumer(ledger._redis, ledger.records_key, postgres.url, "one")  # noqa: SLF001
        async with await psycopg.AsyncConnection.connect(postgres.url, autocommit=True) as connection:
            await migrate(connection)
            await call(ledger, "fixed-a")
            await consumer.consume(connection, wait_ms=10)
            for statement in ("UPDATE ledger.record SET nano_eur = 0", "DELETE FROM ledger.record"):
                with pytest.raises(psycopg.errors.RaiseException, match="append-only"):
                    await connection.execute(statement.encode())

    run(redis_port, action)


def test_counters_of_windows_that_are_over_go_while_records_are_moved(
    redis_port: int, postgres: PostgresServer
) -> None:
    async def action(ledger: Ledger) -> None:
        async with await psycopg.AsyncConnection.connect(postgres.url, autocommit=True) as connection:
            await migrate(connection)
            await connection.execute(
                "INSERT INTO ledger.counter VALUES ('over:1', 1, now() - interval '1 s'), ('over:2', 1, NULL),"
                " ('over:3', 1, now() + interval '1 h'), ('over:4', 1, now() - interval '1 s'),"
                # what tenants spent in a month is compared with its records for a week
                " ('over:5:spend-month:a', 1, now() - interval '6 d 23 h'),"
                " ('over:6:spend-month:b', 1, now() - interval '7 d 1 s')"
            )

            async def left() -> list[str]:
                cursor = await connection.execute("SELECT key FROM ledger.counter WHERE key LIKE 'over:%' ORDER BY 1")
                return [key for (key,) in await cursor.fetchall()]

            async with await psycopg.AsyncConnection.connect(postgres.url) as other, other.transaction():
                # one that a late settlement is just being added to is left for the next time, and not waited for
                await other.execute("UPDATE ledger.counter SET settled = 2 WHERE key = 'over:4'")
                assert await forget_expired(connection) == 2
                assert await left() == ["over:2", "over:3", "over:4", "over:5:spend-month:a"]
            consumer = RecordConsumer(ledger._redis, ledger.records_key, postgres.url, "one")  # noqa: SLF001
            task = asyncio.create_task(consumer.run())
            async with asyncio.timeout(20):
                while await left() != ["over:2", "over:3", "over:5:spend-month:a"]:  # noqa: ASYNC110 - another program's table has no event
                    await asyncio.sleep(0.05)
            await end(task)

    run(redis_port, action)


def test_months_are_those_of_utc_whatever_the_sessions_time_zone(postgres: PostgresServer) -> None:
    async def bounds() -> list[str]:
        async with await psycopg.AsyncConnection.connect(postgres.new_database(), autocommit=True) as connection:
            await connection.execute("SET TIME ZONE 'Europe/Paris'")
            await migrate(connection)
            for month in ("2096-03-15", "2096-10-15"):  # summer time begins, and ends
                await connection.execute("SELECT ledger.ensure_month(%s)", [f"{month} 12:00+00"])
            await connection.execute("SET TIME ZONE 'UTC'")
            found = await connection.execute(
                "SELECT pg_get_expr(relpartbound, oid) FROM pg_class "
                "WHERE relispartition AND relkind = 'r' ORDER BY relname"
            )
            return [row[0] for row in await found.fetchall()]

    assert asyncio.run(bounds()) == [
        "FOR VALUES FROM ('2096-03-01 00:00:00+00') TO ('2096-04-01 00:00:00+00')",
        "FOR VALUES FROM ('2096-10-01 00:00:00+00') TO ('2096-11-01 00:00:00+00')",
    ]


def test_partitions_of_a_version_before_are_guarded_against_being_emptied(postgres: PostgresServer) -> None:
    async def action() -> None:
        async with await psycopg.AsyncConnection.connect(postgres.new_database(), autocommit=True) as connection:
            await migrate(connection)
            await connection.execute("SELECT ledger.ensure_month('2096-03-01')")
            await connection.execute("DROP TRIGGER record_not_truncated ON ledger.record_2096_03")
            await connection.execute("DROP TABLE ledger.applied_schema")
            await migrate(connection)
            with pytest.raises(psycopg.errors.RaiseException, match="append-only: TRUNCATE refused"):
                await connection.execute("TRUNCATE ledger.record_2096_03")

    asyncio.run(action())


def test_a_redis_that_lost_everything_is_rebuilt_from_the_records_to_the_same_counters(
    redis_port: int, postgres: PostgresServer
) -> None:
    limits = (
        Limit("credit", "tenant:lost", Kind.MONEY, Window.NONE, 100_000),
        Limit("output-tokens-day", "tenant:lost", Kind.OUTPUT, Window.DAY, 1_000),
        Limit("parallel-requests", "tenant:lost", Kind.PARALLEL, Window.NONE, 10),
    )
    now = datetime.now(ZoneInfo("Europe/Paris"))

    async def action(ledger: Ledger) -> None:
        redis = ledger._redis  # noqa: SLF001

        async def settle(identity: str) -> Settled:
            record = replace(RECORD, request_id=identity, began_at=now.isoformat()).payload()
            return await ledger.settle(
                identity, nano_eur=29_000, output_tokens=5, record=record, at=now, limits=limits, began_at=now
            )

        for identity in ("lost-a", "lost-b", "lost-c"):
            await ledger.reserve(identity, limits, nano_eur=30_000, output_tokens=9, at=now, lease=timedelta(minutes=5))
        await settle("lost-a")
        async with await psycopg.AsyncConnection.connect(postgres.url) as connection:
            await migrate(connection)
            await RecordConsumer(redis, ledger.records_key, postgres.url, "one").consume(connection, wait_ms=10)
        # Everything is lost but a settlement that nobody has moved yet.
        await settle("lost-b")
        for key in await redis.keys(f"{ledger.prefix}:*"):
            if key != ledger.records_key.encode():
                await redis.delete(key)
        with pytest.raises(LedgerLostError):
            await settle("lost-c")

        assert sorted(await asyncio.gather(*(rebuild(redis, ledger, postgres.url) for _ in range(3)))) == [
            False,
            False,
            True,
        ]
        assert [await ledger.used(limit, now) for limit in limits] == [(58_000, 0), (10, 0), (0, 0)]
        assert not (await settle("lost-a")).first
        # The call that was under way is charged as far as there is room, and no further.
        assert await settle("lost-c") == Settled(29_000, 5, first=True, late=True)
        assert await settle("lost-d") == Settled(13_000, 5, first=True, late=True)

    run(redis_port, action)


def test_the_coming_months_partition_is_made_ahead_and_waits_for_no_long_reader(
    redis_port: int, postgres: PostgresServer
) -> None:
    url = postgres.new_database()
    there = (
        "SELECT to_regclass('ledger.record_' || to_char((now() + interval '7 days') AT TIME ZONE 'UTC', 'YYYY_MM'))"
        " IS NOT NULL"
    )

    async def action(ledger: Ledger) -> list[Any]:
        found = []
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            await migrate(connection)
            async with await psycopg.AsyncConnection.connect(url) as reader:
                await reader.execute("SELECT count(*) FROM ledger.record")
                await prepare_month(connection)
                found.append(await (await connection.execute(there)).fetchone())
            # as every replica does beside the moving of records
            consumer = RecordConsumer(ledger._redis, ledger.records_key, url, "one")  # noqa: SLF001
            task = asyncio.create_task(consumer.run())
            # two minutes: it takes a moment, but others may have the machine
            for _ in range(2_400):
                if await (await connection.execute(there)).fetchone() == (True,):
                    found.append((True,))
                    break
                await asyncio.sleep(0.05)
            await end(task)
        return found

    assert run(redis_port, action) == [(False,), (True,)]
