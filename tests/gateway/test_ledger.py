"""Never above a cap, never a refusal while there is room, every call charged once: against a real Redis."""

import asyncio
import json
from datetime import datetime, timedelta
from typing import TypeVar
from zoneinfo import ZoneInfo

import pytest
from ledgers import run
from llmaas_gateway.ledger.ledger import (
    Held,
    Ledger,
    LedgerUnavailableError,
    Refused,
    Settled,
    UnknownReservationError,
)
from llmaas_gateway.ledger.limits import Kind, Limit, Window

T = TypeVar("T")
# Counters expire by the clock of Redis: these windows are open for years.
START = datetime(2046, 11, 24, 12, 0, tzinfo=ZoneInfo("Europe/Paris"))
LEASE = timedelta(seconds=60)
CREDIT = Limit("credit", "tenant:a", Kind.MONEY, Window.NONE, 1_000)
MONTH = Limit("month", "tenant:a", Kind.MONEY, Window.MONTH, 900)
HOURLY = Limit("output-tokens-hour", "tenant:a", Kind.OUTPUT, Window.HOUR, 500)
MINUTE = Limit("requests-minute", "tenant:a", Kind.REQUESTS, Window.MINUTE, 6)
PARALLEL = Limit("parallel", "tenant:a", Kind.PARALLEL, Window.NONE, 4)
LIMITS = (CREDIT, MONTH, HOURLY, MINUTE, PARALLEL)


async def reserve(ledger: Ledger, identity: str, cost: int, output: int, at: datetime = START) -> Held | Refused:
    return await ledger.reserve(identity, LIMITS, nano_eur=cost, output_tokens=output, at=at, lease=LEASE)


def test_two_hundred_parallel_calls_on_a_budget_for_ten_admit_exactly_ten(redis_port: int) -> None:
    limits = (Limit("credit", "tenant:b", Kind.MONEY, Window.NONE, 1_000),)

    async def action(ledger: Ledger) -> list[Held | Refused]:
        return await asyncio.gather(
            *(ledger.reserve(f"r{n}", limits, nano_eur=100, output_tokens=1, at=START, lease=LEASE) for n in range(200))
        )

    verdicts = run(redis_port, action)
    assert sum(isinstance(v, Held) for v in verdicts) == 10


def test_a_refusal_names_the_limit_what_remains_and_when_it_begins_anew(redis_port: int) -> None:
    async def action(ledger: Ledger) -> Held | Refused:
        await reserve(ledger, "first", 10, 450)
        return await reserve(ledger, "second", 10, 51)

    refused = run(redis_port, action)
    assert isinstance(refused, Refused)
    assert (refused.limit, refused.remaining, refused.resets_at) == (HOURLY, 50, START + timedelta(hours=1))
    assert refused.room == (990, 890, 50, 5, 3)


def test_a_request_id_is_used_once(redis_port: int) -> None:
    async def action(ledger: Ledger) -> None:
        await reserve(ledger, "same", 1, 1)
        with pytest.raises(ValueError, match="already held"):
            await reserve(ledger, "same", 1, 1)

    run(redis_port, action)


def test_settlement_and_its_record_are_one_step_and_happen_once(redis_port: int) -> None:
    async def action(ledger: Ledger) -> tuple[Settled, Settled, list[dict[bytes, bytes]]]:
        await reserve(ledger, "one", 100, 50)
        settle = {"nano_eur": 70, "output_tokens": 20, "record": {"model": "m"}, "at": START}
        first = await ledger.settle("one", **settle)  # type: ignore[arg-type]
        second = await ledger.settle("one", **settle)  # type: ignore[arg-type]
        records = [fields for _, fields in await ledger._redis.xrange(ledger.records_key)]  # noqa: SLF001
        return first, second, records

    first, second, records = run(redis_port, action)
    assert first == Settled(70, 20, first=True, late=False)
    assert second == Settled(70, 20, first=False, late=False)
    assert len(records) == 1
    assert json.loads(records[0][b"record"]) == {"model": "m"}
    assert records[0][b"charged"] == b"70"


def test_more_than_was_reserved_is_never_charged(redis_port: int) -> None:
    async def action(ledger: Ledger) -> Settled:
        await reserve(ledger, "one", 100, 50)
        return await ledger.settle("one", nano_eur=5_000, output_tokens=900, record={}, at=START)

    assert run(redis_port, action) == Settled(100, 50, first=True, late=False)


def test_a_killed_proxys_reservation_lapses_and_its_room_comes_back(redis_port: int) -> None:
    async def action(ledger: Ledger) -> tuple[bool, bool, bool]:
        await reserve(ledger, "lost", 900, 1)
        during = await reserve(ledger, "other", 900, 1)
        after = await reserve(ledger, "third", 900, 1, START + LEASE)
        late = await ledger.settle("lost", nano_eur=900, output_tokens=1, record={}, at=START + LEASE)
        return isinstance(during, Refused), isinstance(after, Held), late.late and late.nano_eur == 0

    assert run(redis_port, action) == (True, True, True)


def test_a_renewed_reservation_does_not_lapse(redis_port: int) -> None:
    async def action(ledger: Ledger) -> tuple[bool, int, bool]:
        await reserve(ledger, "long", 900, 1)
        held = await ledger.renew("long", lease=LEASE * 3, at=START)
        lapsed = await ledger.lapse(START + LEASE * 2)
        await ledger.settle("long", nano_eur=1, output_tokens=1, record={}, at=START)
        return held, lapsed, await ledger.renew("long", lease=LEASE, at=START)

    assert run(redis_port, action) == (True, 0, False)


def test_a_call_that_began_before_midnight_settles_in_the_month_in_which_it_began(redis_port: int) -> None:
    night = datetime(2046, 11, 30, 23, 59, 59, tzinfo=START.tzinfo)

    async def action(ledger: Ledger) -> tuple[tuple[int, int], tuple[int, int]]:
        await reserve(ledger, "night", 100, 1, night)
        later = night + timedelta(seconds=5)
        await ledger.settle("night", nano_eur=80, output_tokens=1, record={}, at=later)
        return await ledger.used(MONTH, night), await ledger.used(MONTH, later)

    assert run(redis_port, action) == ((80, 0), (0, 0))


def test_a_redis_without_memory_admits_nothing(redis_port: int) -> None:
    async def action(ledger: Ledger) -> None:
        await ledger._redis.delete(ledger.epoch_key)  # noqa: SLF001
        with pytest.raises(LedgerUnavailableError, match="rebuild"):
            await reserve(ledger, "one", 1, 1)

    run(redis_port, action)


def test_what_was_never_admitted_cannot_be_settled(redis_port: int) -> None:
    async def action(ledger: Ledger) -> None:
        with pytest.raises(UnknownReservationError):
            await ledger.settle("ghost", nano_eur=1, output_tokens=1, record={}, at=START)

    run(redis_port, action)


def test_a_call_without_a_reservation_is_charged_as_far_as_its_limits_have_room(redis_port: int) -> None:
    async def action(ledger: Ledger) -> tuple[list[Settled], tuple[int, int]]:
        await reserve(ledger, "other", 600, 1)
        settled = [
            await ledger.settle(
                name, nano_eur=250, output_tokens=3, record={}, at=START + LEASE, limits=LIMITS, began_at=START
            )
            for name in ("ghost", "ghost", "second")
        ]
        return settled, await ledger.used(MONTH, START)

    settled, used = run(redis_port, action)
    assert settled == [
        Settled(250, 3, first=True, late=True), Settled(250, 3, first=False, late=False),
        Settled(50, 3, first=True, late=True),
    ]  # fmt: skip
    assert used == (300, 600)


def test_a_cancelled_reservation_holds_nothing_even_if_it_arrives_later(redis_port: int) -> None:
    async def action(ledger: Ledger) -> tuple[int, int]:
        await reserve(ledger, "held", 100, 1)
        await ledger.cancel("held", START)
        await ledger.cancel("on its way", START)
        with pytest.raises(ValueError, match="already cancelled"):
            await reserve(ledger, "on its way", 100, 1)
        return await ledger.used(CREDIT, START)

    assert run(redis_port, action) == (0, 0)


def test_a_redis_that_hangs_is_given_up_within_the_time_limit(redis_port: int) -> None:
    async def action(ledger: Ledger) -> float:
        slow = Ledger(ledger._redis, ledger.prefix, timeout_seconds=0.2)  # noqa: SLF001
        await ledger._redis.client_pause(1_500)  # noqa: SLF001
        begun = asyncio.get_running_loop().time()
        with pytest.raises(LedgerUnavailableError):
            await reserve(slow, "slow", 1, 1)
        return asyncio.get_running_loop().time() - begun

    assert run(redis_port, action) < 1.0


def test_shadow_mode_counts_and_names_what_would_have_refused(redis_port: int) -> None:
    async def action(ledger: Ledger) -> tuple[Held | Refused, tuple[int, int]]:
        verdict = await ledger.reserve(
            "big", LIMITS, nano_eur=5_000, output_tokens=1, at=START, lease=LEASE, shadow=True
        )
        return verdict, await ledger.used(CREDIT, START)

    verdict, used = run(redis_port, action)
    assert isinstance(verdict, Held)
    assert verdict.over == CREDIT
    assert used == (0, 5_000)
