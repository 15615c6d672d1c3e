"""A ledger is rebuilt while calls are under way: they keep what they hold, no cap is passed. Real Redis, PostgreSQL."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pytest
from data_servers import PostgresServer, RedisServer, postgres_server
from llmaas_gateway.ledger import rebuild as rebuilding
from llmaas_gateway.ledger.ledger import Held, Ledger, LedgerLostError, Refused, Settled, connect, epoch_key, lock_key
from llmaas_gateway.ledger.limits import Kind, Limit, Window
from llmaas_gateway.ledger.process import RedisProcess
from llmaas_gateway.ledger.rebuild import rebuild
from llmaas_gateway.ledger.records import CallRecord, RecordConsumer, migrate, store
from redis.asyncio import Redis

ZONE = ZoneInfo("Europe/Paris")
LEASE = timedelta(minutes=5)


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


class Scene:
    """A ledger with a tenant of its own: a credit of 100,000, ten calls at once."""

    def __init__(self, redis: Redis, database: str, prefix: str | None = None) -> None:
        self.redis, self.database = redis, database
        self.ledger = Ledger(redis, prefix or f"t{uuid.uuid4().hex}")
        self.now = datetime.now(ZONE)
        tenant = f"tenant:{uuid.uuid4().hex}"
        self.limits = (
            Limit("credit", tenant, Kind.MONEY, Window.NONE, 100_000),
            Limit("output-tokens-day", tenant, Kind.OUTPUT, Window.DAY, 1_000),
            Limit("parallel-requests", tenant, Kind.PARALLEL, Window.NONE, 10),
            Limit("requests-day", tenant, Kind.REQUESTS, Window.DAY, 100),
        )

    async def reserve(self, identity: str, cost: int = 30_000, *, shadow: bool = False) -> Held | Refused:
        return await self.ledger.reserve(
            identity, self.limits, nano_eur=cost, output_tokens=9, at=self.now, lease=LEASE, shadow=shadow
        )

    async def settle(self, identity: str, cost: int = 29_000) -> Settled:
        record = CallRecord(
            request_id=identity, began_at=self.now.isoformat(), tenant="a", team="t", api_key="hash",
            billing="prepaid", model="m", endpoint="/v1/chat/completions", status="success", counts={}, price_ids={},
            factor="1", nano_eur=cost, latency_ms=1,
        )  # fmt: skip
        return await self.ledger.settle(
            identity, nano_eur=cost, output_tokens=5, record=record.payload(), at=self.now, limits=self.limits,
            began_at=self.now,
        )  # fmt: skip

    async def store(self) -> None:
        """All that is settled reaches PostgreSQL."""
        async with await psycopg.AsyncConnection.connect(self.database) as connection:
            await migrate(connection)
            consumer = RecordConsumer(self.redis, self.ledger.records_key, self.database, "one")
            while await consumer.consume(connection, wait_ms=10):
                pass

    async def rebuild(self) -> bool:
        return await rebuild(self.redis, self.ledger, self.database)

    async def used(self) -> list[tuple[int, int]]:
        return [await self.ledger.used(limit, self.now) for limit in self.limits]


def play(port: int, postgres: PostgresServer, action: Callable[[Scene], Awaitable[None]]) -> None:
    async def body() -> None:
        client = connect(f"redis://127.0.0.1:{port}", timeout_seconds=5)
        try:
            scene = Scene(client, postgres.url)
            await client.set(scene.ledger.epoch_key, "1")
            await action(scene)
        finally:
            await client.aclose()

    asyncio.run(body())


def name() -> str:
    return uuid.uuid4().hex


def test_calls_under_way_keep_what_they_hold_when_only_the_epoch_is_deleted(
    redis_port: int, postgres: PostgresServer
) -> None:
    async def action(scene: Scene) -> None:
        stored, enqueued, running = name(), name(), name()
        for identity in (stored, enqueued, running):
            await scene.reserve(identity)
        await scene.settle(stored)
        await scene.store()
        await scene.settle(enqueued)
        before = await scene.used()
        await scene.redis.delete(scene.ledger.epoch_key)
        assert await scene.rebuild()
        assert await scene.used() == before == [(58_000, 30_000), (10, 9), (0, 1), (3, 0)]
        assert isinstance(await scene.reserve(name(), 12_001), Refused)
        assert await scene.settle(running) == Settled(29_000, 5, first=True, late=False)
        assert await scene.used() == [(87_000, 0), (15, 0), (0, 0), (3, 0)]

    play(redis_port, postgres, action)


def test_a_wrong_counter_is_put_right_and_what_has_no_room_then_is_not_charged(
    redis_port: int, postgres: PostgresServer
) -> None:
    async def action(scene: Scene) -> None:
        first, second, third = name(), name(), name()
        await scene.reserve(first, 90_000)
        await scene.settle(first, 90_000)
        await scene.store()
        credit = scene.limits[0].counter_key(scene.ledger.prefix, scene.now)
        # It forgot, so two calls were admitted of which one at most has room.
        await scene.redis.hset(credit, "settled", "0")  # type: ignore[misc]  # redis-py's types cover both clients
        await scene.reserve(second, 10_000)
        await scene.reserve(third, 30_000)
        await scene.redis.delete(scene.ledger.epoch_key)
        assert await scene.rebuild()
        assert (await scene.used())[0] == (90_000, 10_000)
        assert await scene.settle(second, 4_000) == Settled(4_000, 5, first=True, late=False)
        assert await scene.settle(third, 29_000) == Settled(6_000, 5, first=True, late=True)
        assert (await scene.used())[0] == (100_000, 0)
        await scene.redis.delete(scene.ledger.epoch_key)
        assert await scene.rebuild()
        assert (await scene.used())[0] == (100_000, 0)

    play(redis_port, postgres, action)


def test_a_call_of_shadow_mode_keeps_what_it_holds_though_there_is_no_room(
    redis_port: int, postgres: PostgresServer
) -> None:
    async def action(scene: Scene) -> None:
        identity = name()
        await scene.reserve(identity, 150_000, shadow=True)
        await scene.redis.delete(scene.ledger.epoch_key)
        assert await scene.rebuild()
        assert (await scene.used())[0] == (0, 150_000)
        assert await scene.settle(identity, 140_000) == Settled(140_000, 5, first=True, late=False)
        assert (await scene.used())[0] == (140_000, 0)

    play(redis_port, postgres, action)


def test_what_redis_believes_held_and_postgresql_knows_settled_is_settled(
    redis_port: int, postgres: PostgresServer
) -> None:
    async def action(scene: Scene) -> None:
        identity = name()
        await scene.reserve(identity)
        key = scene.ledger.reservation_key(identity)
        held = await scene.redis.hgetall(key)  # type: ignore[misc]  # as above
        lease = await scene.redis.zscore(scene.ledger.leases_key, identity)
        await scene.settle(identity)
        await scene.store()
        # Redis comes back as it was before the settlement.
        await scene.redis.hset(key, mapping=held)  # type: ignore[misc]  # as above
        await scene.redis.zadd(scene.ledger.leases_key, {identity: lease or 0})
        await scene.redis.delete(scene.ledger.epoch_key)
        assert await scene.rebuild()
        assert not (await scene.settle(identity)).first
        await scene.ledger.lapse(scene.now + 2 * LEASE)
        assert (await scene.used())[0] == (29_000, 0)

    play(redis_port, postgres, action)


@pytest.mark.parametrize("step", ["_restore_counters", "_restore_traces"])
def test_a_rebuild_that_was_overtaken_writes_nothing_more(
    redis_port: int, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    original: Any = getattr(rebuilding, step)

    async def action(scene: Scene) -> None:
        stopped, go_on = asyncio.Event(), asyncio.Event()

        async def slow(*arguments: Any) -> Any:
            monkeypatch.setattr(rebuilding, step, original)
            stopped.set()
            await go_on.wait()
            return await original(*arguments)

        stored, running = name(), name()
        await scene.reserve(stored)
        await scene.settle(stored)
        await scene.store()
        await scene.redis.delete(scene.ledger.epoch_key)
        monkeypatch.setattr(rebuilding, step, slow)
        late = asyncio.create_task(scene.rebuild())
        await stopped.wait()
        # Its lock is over.
        await scene.redis.delete(scene.ledger.lock_key)
        assert await scene.rebuild()
        await scene.reserve(running)
        go_on.set()
        assert not await late
        assert (await scene.used())[0] == (29_000, 30_000)
        await scene.settle(running)
        assert (await scene.used())[0] == (58_000, 0)

    play(redis_port, postgres, action)


@pytest.mark.parametrize("overtaken", [False, True])
def test_a_rebuild_keeps_its_lock_while_it_moves_what_waits_and_stops_when_it_has_lost_it(
    redis_port: int, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch, *, overtaken: bool
) -> None:
    async def action(scene: Scene) -> None:
        lock, left = scene.ledger.lock_key, []

        async def slow(*arguments: Any) -> int:
            left.append(await scene.redis.ttl(lock))
            if overtaken:
                await scene.redis.set(lock, "another's")
            else:
                # so much of its time has passed
                await scene.redis.expire(lock, 20)
            return await store(*arguments)

        for _ in range(3):
            identity = name()
            await scene.reserve(identity)
            await scene.settle(identity)
        monkeypatch.setattr(rebuilding, "store", slow)
        monkeypatch.setattr(rebuilding, "_BATCH", 1)
        await scene.redis.delete(scene.ledger.epoch_key)
        assert await scene.rebuild() is not overtaken
        if overtaken:
            assert (len(left), await scene.redis.get(lock)) == (1, b"another's")
        else:
            assert len(left) == 3
            assert min(left) > 30
            assert (await scene.used())[0] == (87_000, 0)

    play(redis_port, postgres, action)


def test_a_rebuild_that_was_overtaken_leaves_the_others_lock(
    redis_port: int, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def action(scene: Scene) -> None:
        lock = scene.ledger.lock_key

        async def overtaken(*_: Any) -> int:
            await scene.redis.set(lock, "another's")
            raise psycopg.OperationalError("gone")

        monkeypatch.setattr(rebuilding, "_restore_counters", overtaken)
        await scene.redis.delete(scene.ledger.epoch_key)
        with pytest.raises(psycopg.OperationalError):
            await scene.rebuild()
        assert await scene.redis.get(lock) == b"another's"
        assert not await scene.rebuild()

    play(redis_port, postgres, action)


def test_a_rebuild_that_failed_can_be_begun_anew_at_once(
    redis_port: int, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def action(scene: Scene) -> None:
        async def gone(*_: Any) -> int:
            raise psycopg.OperationalError("gone")

        running = name()
        await scene.reserve(running)
        await scene.redis.delete(scene.ledger.epoch_key)
        with monkeypatch.context() as patch:
            patch.setattr(rebuilding, "_restore_traces", gone)
            with pytest.raises(psycopg.OperationalError):
                await scene.rebuild()
        assert await scene.rebuild()
        assert await scene.used() == [(0, 30_000), (0, 9), (0, 1), (1, 0)]

    play(redis_port, postgres, action)


def test_a_redis_that_was_started_anew_is_not_trusted_until_it_is_rebuilt(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    server, restarts = RedisServer(tmp_path), []

    async def body() -> None:
        prefix = f"t{uuid.uuid4().hex}"
        process = RedisProcess(epoch_key(prefix), lock_key(prefix))
        process.restarted = lambda: restarts.append(1)
        client = connect(f"redis://127.0.0.1:{server.port}", timeout_seconds=5, process=process)
        scene = Scene(client, postgres.url, prefix)
        running, stored = name(), name()
        assert await scene.rebuild()
        await scene.reserve(running)
        await asyncio.to_thread(server.saved, tmp_path / "saved")
        await scene.reserve(stored)
        await scene.settle(stored)
        await scene.store()
        # Another connection to the same process changes nothing.
        other = connect(f"redis://127.0.0.1:{server.port}", timeout_seconds=5, process=process)
        assert (await Scene(other, postgres.url, prefix).ledger.used(scene.limits[0], scene.now)) == (29_000, 30_000)
        assert await client.exists(scene.ledger.epoch_key)
        assert not restarts
        # A rebuild was under way when the power went.
        await client.set(scene.ledger.lock_key, str((await client.info("server"))["run_id"]))
        server.cut_power(tmp_path / "saved")
        server.start()
        await client.connection_pool.disconnect()
        with pytest.raises(LedgerLostError):
            await scene.settle(running)
        assert restarts == [1]
        assert await scene.rebuild()
        assert await scene.used() == [(29_000, 30_000), (5, 9), (0, 1), (2, 0)]
        assert not (await scene.settle(stored)).first
        assert await scene.settle(running) == Settled(29_000, 5, first=True, late=False)
        await other.aclose()
        await client.aclose()

    server.start()
    try:
        asyncio.run(body())
    finally:
        server.kill()
