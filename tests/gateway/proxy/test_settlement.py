"""No settlement is lost, whoever hangs up and whatever ends while it is made. Against a real Redis."""

import asyncio
import functools
import json
import uuid
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pytest
from llmaas_gateway.accounts.account import Account, State
from llmaas_gateway.ledger.ledger import Held, Ledger, LedgerUnavailableError, Refused, Settled, connect
from llmaas_gateway.price_file import load_price_book
from llmaas_gateway.proxy.admission import Admission, KeyOwner
from llmaas_gateway.proxy.away import Allowances
from llmaas_gateway.proxy.call import Call
from llmaas_gateway.proxy.costs import Costs
from llmaas_gateway.proxy.counting import InputCounter, tokenizer
from llmaas_gateway.proxy.settings import GatewaySettings
from llmaas_gateway.proxy.settlement import Settlement
from llmaas_gateway.tasks import end

from .stack import PRICES, TIERS

ZONE = ZoneInfo("Europe/Paris")
COST = 10 * 1_000 + 5 * 10_000


class Stalling(Ledger):
    """A ledger that can be made slow, or to fail, before or after it did what it was asked."""

    before: Callable[[str], Awaitable[None]] | None = None
    after: Callable[[str], Awaitable[None]] | None = None

    async def settle(self, identity: str, **named: Any) -> Settled:
        if self.before is not None:
            await self.before(identity)
        settled = await super().settle(identity, **named)
        if self.after is not None:
            await self.after(identity)
        return settled

    async def reserve(self, identity: str, *arguments: Any, **named: Any) -> Held | Refused:
        verdict = await super().reserve(identity, *arguments, **named)
        if self.after is not None:
            await self.after(identity)
        return verdict


class Scene:
    """One replica's admission and settlement, with a tenant of its own that has a euro."""

    def __init__(self, ledger: Stalling, folder: Path, **gateway: Any) -> None:
        (folder / "prices.yaml").write_text(PRICES)
        settings = GatewaySettings.model_validate(
            {
                "prices": folder / "prices.yaml",
                "models": [{"name": "chat-model", "context_tokens": 4096}],
                "tiers": TIERS,
                "prefix": ledger.prefix,
                "lease_seconds": 6,
                **gateway,
            }
        )
        self.ledger = ledger
        self.tier = "prepaid"
        self.tenant = f"tn-{uuid.uuid4().hex}"
        self.lost = 0
        costs = Costs(settings, load_price_book(settings.prices), InputCounter(settings.models, tokenizer))
        self.model = settings.models[0]
        self.allowances = allowances = Allowances(1)
        self.settlement = Settlement(ledger, costs, allowances, ZONE, timedelta(seconds=6), self._rebuild)
        self.admission = Admission(settings, b"secret", self, ledger, costs, self.settlement, allowances, ZONE)

    async def _rebuild(self) -> bool:
        if await self.ledger._redis.exists(self.ledger.epoch_key):  # noqa: SLF001
            return False
        self.lost += 1
        raise psycopg.OperationalError("PostgreSQL is away")

    async def account(self, tenant: str) -> Account:
        return Account(tenant, self.tier, State.ACTIVE, 10**9, 1)

    async def admit(self) -> Call:
        body = {"messages": [{"role": "user", "content": "x"}], "max_tokens": 5}
        call = Call("/v1/chat/completions", "chat", self.model, body)
        owner = KeyOwner(self.tenant, {}, None, self.tenant, {"tenant": self.tenant})
        assert await self.admission.admit(call, owner) is None
        call.usage = {"prompt_tokens": 10, "completion_tokens": 5}
        return call

    async def settled(self) -> list[str]:
        """Ids of the calls that are enqueued, each once."""
        entries: Any = await self.ledger._redis.xrange(self.ledger.records_key)  # noqa: SLF001
        return [json.loads(fields[b"record"])["request_id"] for _, fields in entries]

    async def credit(self) -> dict[str, int]:
        """What is settled and held of the tenant's credit."""
        key = f"{self.ledger.prefix}:counter:tenant:{self.tenant}:credit"
        found: Any = await self.ledger._redis.hgetall(key)  # type: ignore[misc]  # noqa: SLF001
        return {name.decode(): int(value) for name, value in found.items() if int(value)}


def play_scene(port: int, folder: Path, action: Callable[[Scene], Awaitable[None]], **gateway: Any) -> None:
    """Play a scene on a fresh ledger of the Redis at ``port``, with fields of the gateway's file if wanted."""

    async def body() -> None:
        client = connect(f"redis://127.0.0.1:{port}", timeout_seconds=5)
        try:
            ledger = Stalling(client, f"t{uuid.uuid4().hex}")
            await client.set(ledger.epoch_key, "1")
            await action(Scene(ledger, folder, **gateway))
        finally:
            await client.aclose()

    asyncio.run(body())


@pytest.fixture
def play(redis_port: int, tmp_path: Path) -> Callable[[Callable[[Scene], Awaitable[None]]], None]:
    """Plays a scene on a fresh ledger."""
    return functools.partial(play_scene, redis_port, tmp_path)


Play = Callable[[Callable[[Scene], Awaitable[None]]], None]


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_client_that_hangs_up_while_its_call_is_settled_pays_once(play: Play, moment: str) -> None:
    async def action(scene: Scene) -> None:
        call = await scene.admit()
        stalled = asyncio.Event()

        async def stall(_: str) -> None:
            stalled.set()
            await asyncio.sleep(60)

        setattr(scene.ledger, moment, stall)
        settling = asyncio.create_task(scene.settlement.settle(call, "success"))
        await stalled.wait()
        settling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await settling
        setattr(scene.ledger, moment, None)
        assert scene.settlement.owed == 1
        await scene.settlement.turn()
        assert await scene.settled() == [call.identity]
        assert await scene.credit() == {"settled": COST}
        assert call.charged_nano_eur == COST

    play(action)


def test_a_client_that_hangs_up_while_its_call_is_admitted_holds_nothing(play: Play) -> None:
    async def action(scene: Scene) -> None:
        stalled = asyncio.Event()

        async def stall(_: str) -> None:
            stalled.set()
            await asyncio.sleep(60)

        scene.ledger.after = stall
        admitting = asyncio.create_task(scene.admit())
        await stalled.wait()
        assert set(await scene.credit()) == {"held"}
        admitting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await admitting
        await scene.settlement.turn()
        assert await scene.credit() == {}

    play(action)


def test_a_settlement_that_goes_wrong_by_itself_keeps_no_other_from_being_made(play: Play) -> None:
    async def action(scene: Scene) -> None:
        calls = [await scene.admit() for _ in range(2)]

        async def wrong(identity: str) -> None:
            if identity == calls[0].identity:
                raise ZeroDivisionError

        async def away(_: str) -> None:
            raise LedgerUnavailableError("away")

        scene.ledger.before = wrong
        with pytest.raises(ZeroDivisionError):
            await scene.settlement.settle(calls[0], "success")
        scene.ledger.before = away
        await scene.settlement.settle(calls[1], "success")
        scene.ledger.before = wrong
        for _ in range(2):
            with pytest.raises(ZeroDivisionError):
                await scene.settlement.turn()
        assert await scene.settled() == [calls[1].identity]
        scene.ledger.before = None
        await scene.settlement.turn()
        assert await scene.settled() == [calls[1].identity, calls[0].identity]

    play(action)


def test_what_a_redis_that_was_started_anew_forgot_is_settled_again_and_nothing_else(play: Play) -> None:
    async def action(scene: Scene) -> None:
        known, forgotten = await scene.admit(), await scene.admit()
        await scene.settlement.settle(known, "success")
        redis: Any = scene.ledger._redis  # noqa: SLF001
        key = f"{scene.ledger.prefix}:counter:tenant:{scene.tenant}:credit"
        counter = await redis.dump(key)
        last = (await redis.xrange(scene.ledger.records_key))[-1][0]
        await scene.settlement.settle(forgotten, "success")
        await redis.restore(key, 0, counter, replace=True)
        await redis.delete(scene.ledger.reservation_key(forgotten.identity))
        for identity, _ in await redis.xrange(scene.ledger.records_key, min=f"({last.decode()}"):
            await redis.xdel(scene.ledger.records_key, identity)
        assert await scene.settled() == [known.identity]
        scene.settlement.redis_restarted()
        await scene.settlement.turn()
        assert await scene.settled() == [known.identity, forgotten.identity]
        assert (await scene.credit())["settled"] == 2 * COST
        scene.settlement.redis_restarted()
        await scene.settlement.turn()
        assert len(await scene.settled()) == 2

    play(action)


async def _owe(scene: Scene, number: int) -> list[str]:
    """So many settlements that wait."""

    async def away(_: str) -> None:
        raise LedgerUnavailableError("away")

    calls = [await scene.admit() for _ in range(number)]
    scene.ledger.before = away
    for call in calls:
        await scene.settlement.settle(call, "success")
    scene.ledger.before = None
    assert scene.settlement.owed == number
    return [call.identity for call in calls]


def test_at_the_end_everything_that_is_owed_is_settled_while_the_loop_still_runs(play: Play) -> None:
    async def action(scene: Scene) -> None:
        owed = await _owe(scene, 3)

        begun, failed = asyncio.Event(), False

        async def slow(identity: str) -> None:
            nonlocal failed
            begun.set()
            await asyncio.sleep(0.05)
            if identity == owed[1] and not failed:
                failed = True
                raise LedgerUnavailableError("away")

        scene.ledger.before = slow
        loop = asyncio.create_task(scene.settlement.run())
        await begun.wait()
        await scene.settlement.drain(10)
        assert not loop.done()
        await end(loop)
        assert sorted(await scene.settled()) == sorted(owed)
        assert await scene.credit() == {"settled": 3 * COST}

    play(action)


def test_the_end_waits_for_a_settlement_that_is_being_made(play: Play) -> None:
    async def action(scene: Scene) -> None:
        call = await scene.admit()

        async def slow(_: str) -> None:
            await asyncio.sleep(0.3)

        scene.ledger.before = slow
        settling = asyncio.create_task(scene.settlement.settle(call, "abandoned"))
        await asyncio.sleep(0)
        await scene.settlement.drain(10)
        assert await scene.settled() == [call.identity]
        await settling

    play(action)


def test_the_end_survives_a_rebuild_that_fails_and_says_what_was_not_settled(
    play: Play, caplog: pytest.LogCaptureFixture
) -> None:
    async def action(scene: Scene) -> None:
        owed = await _owe(scene, 2)
        await scene.ledger._redis.delete(scene.ledger.epoch_key)  # noqa: SLF001
        began = datetime.now(ZONE)
        await scene.settlement.drain(1.3)
        assert datetime.now(ZONE) - began < timedelta(seconds=5)
        assert scene.lost
        for identity in owed:
            assert f"request {identity}: not settled" in caplog.text

    play(action)
