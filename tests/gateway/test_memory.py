"""What a call takes of Redis is what production's is sized by; how full it is can be read. Needs redis-server."""

import asyncio
import re
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar
from zoneinfo import ZoneInfo

import llmaas_gateway.ledger
from data_servers import memory_redis
from llmaas_gateway.accounts.account import Account, Budget, State, Tier, limits_of
from llmaas_gateway.ledger.ledger import Held, Ledger, connect
from llmaas_gateway.ledger.limits import Window
from llmaas_gateway.ledger.memory import HELD_BYTES, RECORD_BYTES, TRACE_BYTES, TRACE_SECONDS, RedisMemory
from llmaas_gateway.ledger.records import CallRecord
from redis.asyncio import Redis

T = TypeVar("T")
START = datetime(2046, 11, 24, 12, 0, tzinfo=ZoneInfo("Europe/Paris"))
MUCH = 10**15
CALLS = 500
TIER = Tier.model_validate(
    {
        "name": "T1",
        "billing": "prepaid",
        "priority": "normal",
        "requests_per_minute": 10**9,
        "prepaid_eur": 200,
        "monthly_cap_eur": 10**6,
        "output_tokens_per_hour": 10**12,
        "parallel_requests": 10**9,
    }
)
# Names as long as they are: a tenant's and a team's identifier, the hash of a key.
TENANT, TEAM, KEY = f"tn-{uuid.uuid4().hex}", str(uuid.uuid4()), uuid.uuid4().hex * 2
RECORD = CallRecord(
    request_id="",
    began_at=START.isoformat(),
    tenant=TENANT,
    team=TEAM,
    api_key=KEY,
    billing="prepaid",
    model="a-model-of-today-instruct:70b",
    endpoint="/v1/chat/completions",
    status="success",
    counts={"input": 512, "cached_input": 256, "system": 128, "output": 300, "reasoning": 200},
    price_ids={unit: f"2026-07/{unit}" for unit in ("input", "cached_input", "system", "output", "reasoning")},
    factor="1/2",
    nano_eur=12_345_678,
    latency_ms=12_345,
)


@dataclass(frozen=True)
class Taken:
    held: float
    trace: float
    record: float


def with_redis(action: Callable[[Redis], Awaitable[T]]) -> T:
    """One action on a Redis of its own, in which nothing else grows."""
    with memory_redis() as server:
        port = server.connection_pool.connection_kwargs["port"]

        async def body() -> T:
            client = connect(f"redis://127.0.0.1:{port}", timeout_seconds=5)
            try:
                return await action(client)
            finally:
                await client.aclose()

        return asyncio.run(body())


async def used(redis: Redis) -> int:
    return int((await redis.info("memory"))["used_memory"])


async def measure(redis: Redis) -> Taken:
    ledger, budget = Ledger(redis), Budget(MUCH, Window.MONTH)
    await redis.set(ledger.epoch_key, "1")
    limits = limits_of(TIER, Account(TENANT, "T1", State.ACTIVE, MUCH, 1), TEAM, budget, KEY, budget)

    async def reserve(identity: str) -> None:
        lease = timedelta(minutes=1)
        held = await ledger.reserve(identity, limits, nano_eur=MUCH // 10**6, output_tokens=400, at=START, lease=lease)
        assert isinstance(held, Held)

    async def settle(identity: str) -> None:
        record = replace(RECORD, request_id=identity).payload()
        await ledger.settle(identity, nano_eur=12_345_678, output_tokens=300, record=record, at=START)

    # The script, the counters and the sets are there from the first call on.
    await reserve("first")
    await settle("first")
    identities = [uuid.uuid4().hex for _ in range(CALLS)]
    empty = await used(redis)
    for identity in identities:
        await reserve(identity)
    begun = await used(redis)
    for identity in identities:
        await settle(identity)
    settled = await used(redis)
    await redis.delete(ledger.records_key)
    stored = await used(redis)
    return Taken((begun - empty) / CALLS, (stored - empty) / CALLS, (settled - stored) / CALLS)


def test_a_call_takes_no_more_of_redis_than_it_is_sized_by_and_not_much_less() -> None:
    taken = with_redis(measure)
    for measured, declared in ((taken.held, HELD_BYTES), (taken.trace, TRACE_BYTES), (taken.record, RECORD_BYTES)):
        assert 0.6 * declared < measured <= declared, taken


def test_a_trace_is_kept_for_as_long_as_the_script_says() -> None:
    script = (Path(llmaas_gateway.ledger.__file__).parent / "ledger.lua").read_text(encoding="utf-8")
    assert re.findall(r"TRACE_MS = (\d+)", script) == [str(TRACE_SECONDS * 1000)]


def test_how_full_redis_is_can_be_read_and_is_not_told_while_it_is_unknown() -> None:
    async def action(redis: Redis) -> tuple[dict[str, float], dict[str, float], dict[str, float]]:
        memory = RedisMemory(redis)

        def told() -> dict[str, float]:
            return {sample.name: sample.value for metric in memory.collect() for sample in metric.samples}

        before = told()
        await redis.config_set("maxmemory", "100mb")
        await memory.look()
        seen = told()
        await redis.shutdown(nosave=True)
        await memory.look()
        return before, seen, told()

    before, seen, away = with_redis(action)
    assert (before, away) == ({}, {})
    assert seen["llmaas_gateway_redis_limit_bytes"] == 100 * 2**20
    assert 0 < seen["llmaas_gateway_redis_used_bytes"] < 100 * 2**20
