"""No cap is passed and nothing goes uncharged, however late a call is settled. A real Redis, whose clock counts."""

import uuid
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from ledgers import run
from llmaas_gateway.ledger.ledger import Held, Ledger, Settled
from llmaas_gateway.ledger.limits import Kind, Limit, Window
from llmaas_gateway.proxy.settlement import LATEST_SECONDS

LEASE = timedelta(seconds=60)
BUDGET = Limit("key-budget-minute", "key:a", Kind.MONEY, Window.MINUTE, 900)
OUTPUT = Limit("output-tokens", "tenant:a", Kind.OUTPUT, Window.MINUTE, 90)
LIMITS = (BUDGET, OUTPUT)


def ago(time: timedelta) -> datetime:
    """In Paris, but counted where no clock changes."""
    return (datetime.now(UTC) - time).astimezone(ZoneInfo("Europe/Paris"))


async def charge(ledger: Ledger, began_at: datetime) -> None:
    """Use up two thirds of the minute in which ``began_at`` is."""
    identity = uuid.uuid4().hex
    held = await ledger.reserve(identity, LIMITS, nano_eur=600, output_tokens=60, at=began_at, lease=LEASE)
    assert isinstance(held, Held)
    await ledger.settle(identity, nano_eur=600, output_tokens=60, record={}, at=began_at)


async def settle_late(ledger: Ledger, began_at: datetime, *, reserved: bool) -> Settled:
    """Settle a call now, whose reservation has lapsed or was never made."""
    identity, now = uuid.uuid4().hex, datetime.now(began_at.tzinfo)
    if reserved:
        await ledger.reserve(identity, LIMITS, nano_eur=300, output_tokens=30, at=began_at, lease=LEASE)
        assert await ledger.lapse(began_at + LEASE) == 1
        await charge(ledger, began_at)
    else:
        await charge(ledger, began_at)
    return await ledger.settle(
        identity, nano_eur=500, output_tokens=50, record={}, at=now, limits=LIMITS, began_at=began_at
    )


@pytest.mark.parametrize("reserved", [False, True])
def test_the_latest_settlement_still_finds_what_was_charged_in_its_window(redis_port: int, *, reserved: bool) -> None:
    began_at = ago(timedelta(seconds=LATEST_SECONDS))

    async def action(ledger: Ledger) -> tuple[Settled, tuple[int, int]]:
        settled = await settle_late(ledger, began_at, reserved=reserved)
        return settled, await ledger.used(BUDGET, began_at)

    assert run(redis_port, action) == (Settled(300, 30, first=True, late=True), (900, 0))


@pytest.mark.parametrize("reserved", [False, True])
def test_nothing_is_charged_in_a_window_that_redis_has_forgotten(redis_port: int, *, reserved: bool) -> None:
    began_at = ago(timedelta(hours=4))

    async def action(ledger: Ledger) -> tuple[Settled, tuple[int, int]]:
        settled = await settle_late(ledger, began_at, reserved=reserved)
        return settled, await ledger.used(BUDGET, began_at)

    assert run(redis_port, action) == (Settled(0, 0, first=True, late=True), (0, 0))


@pytest.mark.parametrize("hours", [0, 4])
def test_in_shadow_mode_a_call_is_charged_however_late_it_is_and_whatever_room_there_is(
    redis_port: int, hours: int
) -> None:
    began_at = ago(timedelta(hours=hours))

    async def action(ledger: Ledger) -> tuple[list[Settled], list[tuple[bytes, bytes]]]:
        await charge(ledger, began_at)
        await ledger.reserve("lapsed", LIMITS, nano_eur=5_000, output_tokens=500, at=began_at, lease=LEASE, shadow=True)
        assert await ledger.lapse(began_at + LEASE) == 1
        settled = [
            await ledger.settle(
                identity, nano_eur=6_000, output_tokens=200, record={}, at=began_at + LEASE, limits=LIMITS,
                began_at=began_at, shadow=shadow,
            )
            for identity, shadow in (("lapsed", False), ("never reserved", True))
        ]  # fmt: skip
        records = await ledger._redis.xrange(ledger.records_key)  # noqa: SLF001
        return settled, [(fields[b"charged"], fields[b"output"]) for _, fields in records]

    # No more than was reserved, where it was.
    assert run(redis_port, action) == (
        [Settled(5_000, 200, first=True, late=True), Settled(6_000, 200, first=True, late=True)],
        [(b"600", b"60"), (b"5000", b"200"), (b"6000", b"200")],
    )
