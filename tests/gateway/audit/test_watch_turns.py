"""Replicas share the check of all chains, and whatever interrupts it. Needs PostgreSQL 15's programs."""

import asyncio
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from gateway.audit.doing import act, in_database
from gateway.audit.watching import (
    ALTER,
    DAY,
    REMOVE,
    Clock,
    change,
    check,
    told,
    turn,
)
from llmaas_gateway.audit.heads import seal
from llmaas_gateway.audit.log import AuditLog
from llmaas_gateway.audit.removal import Retention, retain
from llmaas_gateway.audit.signing import Signer
from llmaas_gateway.audit.watch import ChainWatch


@pytest.fixture
def in_small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each turn looks at three records of a chain."""
    monkeypatch.setattr("llmaas_gateway.audit.watch._TURN_SECONDS", 0)
    monkeypatch.setattr("llmaas_gateway.audit.watch._STRETCH_RECORDS", 3)


def turns(database: str, watch: ChainWatch, clock: Clock) -> int:
    """How many turns a pass that is due now takes to its end."""
    for number in range(1, 100):
        turn(database, watch)
        if told(watch)[1] == clock.now.timestamp():
            return number
    pytest.fail("the check does not come to its end")


@pytest.mark.usefixtures("in_small_steps")
def test_another_replica_goes_on_where_one_stopped(
    filled: str, signer: Signer, watch: ChainWatch, clock: Clock
) -> None:
    whole = turns(filled, watch, clock)
    clock.now += timedelta(seconds=900)
    turn(filled, *[watch] * (whole // 2))
    other = ChainWatch(signer, 900, clock)
    assert turns(filled, other, clock) == whole - whole // 2
    turn(filled, watch)
    assert told(watch) == told(other) == (1, clock.now.timestamp())


@pytest.mark.usefixtures("in_small_steps")
def test_what_is_found_is_told_by_every_replica_before_the_check_is_over(
    filled: str, signer: Signer, watch: ChainWatch, clock: Clock
) -> None:
    turns(filled, watch, clock)
    change(filled, REMOVE)
    began = clock.now.timestamp()
    clock.now += timedelta(seconds=900)
    other = ChainWatch(signer, 900, clock)
    while told(watch)[0] == 1:
        turn(filled, watch)
    turn(filled, other)
    assert told(watch) == told(other) == (0, began)


@pytest.mark.usefixtures("in_small_steps")
def test_how_far_an_earlier_check_came_does_not_count_for_a_later_one(
    filled: str, watch: ChainWatch, clock: Clock
) -> None:
    whole = turns(filled, watch, clock)
    clock.now += timedelta(seconds=900)
    began = clock.now.timestamp()
    turn(filled, *[watch] * (whole - 1))
    with psycopg.connect(filled) as connection:
        row = connection.execute("SELECT statement, signature FROM audit.watch").fetchone()
    change(filled, ALTER)
    for _ in range(2):
        clock.now += DAY
        with psycopg.connect(filled) as connection:
            connection.execute("UPDATE audit.watch SET statement = %s, signature = %s", row)
        turn(filled, watch)
        assert told(watch) == (1, began)
    assert turns(filled, watch, clock) > 1
    assert told(watch) == (0, clock.now.timestamp())


@pytest.mark.usefixtures("in_small_steps")
def test_chains_that_grow_and_lose_their_beginning_meanwhile_are_intact(
    filled: str, signer: Signer, watch: ChainWatch, clock: Clock
) -> None:
    whole = turns(filled, watch, clock)
    clock.now += timedelta(seconds=900)
    for number in range(whole - 1):
        turn(filled, watch)
        asyncio.run(AuditLog(filled).append([act(number, tenant) for tenant in ("acme", "")]))
        if number == whole // 2:
            in_database(filled, lambda c: seal(c, signer))
            in_database(filled, lambda c: retain(c, signer, Retention(DAY, DAY), datetime.now(UTC) + 2 * DAY))
    turns(filled, watch, clock)
    assert told(watch) == (1, clock.now.timestamp())


def test_while_another_replica_is_at_it_nothing_is_done(filled: str, watch: ChainWatch) -> None:
    with psycopg.connect(filled) as other:
        other.execute("SELECT pg_advisory_lock(hashtext('audit.watch'))")
        turn(filled, watch)
        assert told(watch) == (None, None)
    turn(filled, watch)
    assert told(watch)[0] == 1


def test_a_replica_that_is_ended_gives_the_lock_back(filled: str, watch: ChainWatch, clock: Clock) -> None:
    for _ in range(3):
        clock.now += timedelta(seconds=900)

        async def interrupted() -> None:
            async with AuditLog(filled).connect() as connection:
                task = asyncio.create_task(watch.turn(connection))
                await asyncio.sleep(0.01)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task

        asyncio.run(interrupted())
    assert check(filled, watch, clock) == 1
