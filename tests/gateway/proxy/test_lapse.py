"""Reservations that nobody renews: their room comes back before anybody is refused, and each call has its record."""

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pytest
from data_servers import PostgresServer, postgres_server
from llmaas_gateway.ledger.ledger import Held, Ledger
from llmaas_gateway.ledger.limits import Kind, Limit, Window
from llmaas_gateway.ledger.rebuild import rebuild
from llmaas_gateway.ledger.records import RecordConsumer, migrate

from .test_settlement import COST, Scene, play_scene

LATER = timedelta(hours=2, minutes=1)


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


async def _stored(ledger: Ledger, database: str) -> list[dict[str, Any]]:
    """What PostgreSQL has once the stream is empty."""
    async with await psycopg.AsyncConnection.connect(database) as connection:
        await migrate(connection)
        consumer = RecordConsumer(ledger._redis, ledger.records_key, database, "one")  # noqa: SLF001
        while await consumer.consume(connection, wait_ms=10):
            pass
        async with connection.cursor(row_factory=psycopg.rows.dict_row) as cursor:
            return await (await cursor.execute("SELECT * FROM ledger.record ORDER BY began_at")).fetchall()


@pytest.mark.parametrize("mode", ["limits", "shadow"])
def test_no_call_is_refused_for_what_lapsed_however_many_they_were(redis_port: int, tmp_path: Path, mode: str) -> None:
    async def action(scene: Scene) -> None:
        now, lease = datetime.now(ZoneInfo("Europe/Paris")), timedelta(seconds=60)

        async def reserve(tenant: str, at: datetime) -> Any:
            limits = (Limit("credit", f"tenant:{tenant}", Kind.MONEY, Window.NONE, 100),)
            return await scene.ledger.reserve(
                uuid.uuid4().hex, limits, nano_eur=100, output_tokens=1, at=at, lease=lease, shadow=mode == "shadow"
            )

        for number in range(130):
            await reserve(f"{number}", now + timedelta(milliseconds=number))
        verdict = await reserve("129", now + lease + timedelta(seconds=1))
        assert isinstance(verdict, Held)
        assert (verdict.over, verdict.remaining) == (None, (100,))

    play_scene(redis_port, tmp_path, action)


def test_every_turn_lapses_all_that_is_over(redis_port: int, tmp_path: Path) -> None:
    async def action(scene: Scene) -> None:
        for _ in range(60):
            await scene.admit()
        assert set(await scene.credit()) == {"held"}
        redis = scene.ledger._redis  # noqa: SLF001
        scene.settlement._running.clear()  # noqa: SLF001 - their replica was killed
        for identity in await redis.zrange(scene.ledger.leases_key, 0, -1):
            await redis.zadd(scene.ledger.leases_key, {identity: 1})
        await scene.settlement.turn()
        assert await scene.credit() == {}

    play_scene(redis_port, tmp_path, action)


def test_a_call_that_nobody_settles_has_one_record_which_says_so(
    redis_port: int, postgres: PostgresServer, tmp_path: Path
) -> None:
    async def action(scene: Scene) -> None:
        ledger, database = scene.ledger, postgres.new_database()
        lost, late, running = [await scene.admit() for _ in range(3)]
        # not of a zone whose clocks change: what is added are seconds
        now = datetime.now(UTC)
        over = now + timedelta(seconds=7)
        assert await ledger.lapse(over) == 3
        # Its proxy may still come back with what it cost.
        assert await _stored(ledger, database) == []
        await scene.settlement.settle(late, "success")
        await ledger._redis.delete(ledger.epoch_key)  # noqa: SLF001
        assert await rebuild(ledger._redis, ledger, database)  # noqa: SLF001
        assert not await ledger.renew(running.identity, lease=timedelta(seconds=6), at=now + timedelta(hours=1))
        assert await ledger.lapse(now + LATER) == 0
        first, second = await _stored(ledger, database)
        assert (first["request_id"], first["kind"], first["status"]) == (lost.identity, "lapsed", "lapsed")
        assert (first["tenant"], first["api_key"], first["model"]) == (scene.tenant, scene.tenant, "chat-model")
        assert (first["nano_eur"], first["counts"], first["billing"]) == (0, {}, "prepaid")
        assert (second["request_id"], second["kind"], second["nano_eur"]) == (late.identity, "settled", COST)
        # Too late: it has a record already, which says that nothing was charged.
        await scene.settlement.settle(lost, "success")
        await scene.settlement.settle(running, "success")
        *_, third = rows = await _stored(ledger, database)
        assert len(rows) == 3
        assert (third["request_id"], third["kind"], third["nano_eur"]) == (running.identity, "settled", COST)
        assert await scene.credit() == {"settled": 2 * COST}
        assert await ledger.lapse(now + 2 * LATER) == 0
        assert len(await _stored(ledger, database)) == 3

    play_scene(redis_port, tmp_path, action)


@pytest.mark.parametrize(("shadow", "charged"), [(True, COST), (False, 0)])
def test_a_call_whose_reservation_is_lost_is_charged_in_shadow_mode_though_there_is_no_room(
    redis_port: int, tmp_path: Path, *, shadow: bool, charged: int
) -> None:
    async def action(scene: Scene) -> None:
        call, redis = await scene.admit(), scene.ledger._redis  # noqa: SLF001
        await redis.delete(scene.ledger.reservation_key(call.identity))
        credit = f"{scene.ledger.prefix}:counter:tenant:{scene.tenant}:credit"
        await redis.hset(credit, "settled", str(10**9))  # type: ignore[misc]  # redis-py's types cover both clients
        await scene.settlement.settle(call, "success")
        assert call.charged_nano_eur == charged

    play_scene(redis_port, tmp_path, action, shadow=shadow)
