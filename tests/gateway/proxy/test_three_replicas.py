"""Three replicas, two hundred calls at a time, replicas and Redis killed at random: no cap broken, no cent astray."""

import asyncio
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import httpx
import pytest

from .client import ask, headers, request
from .stack import Proxy, Stack
from .test_limits import most_nano_eur

NewKey = Callable[..., tuple[str, str]]
INPUT, OUTPUT = 1_000, 10_000
WORKERS = 200
# A busy machine takes longer until enough has happened.
SECONDS, MOST_SECONDS = 40, 240
ENOUGH_CALLS = 200
SEED = 20261125
pytestmark = pytest.mark.timeout(2 * MOST_SECONDS)


@dataclass
class Seen:
    """What the tenants see.

    Attributes:
        whole: ids of requests whose answer came whole, and the address of the replica that gave it.
        wrong: refusals that contradict themselves.
    """

    whole: dict[str, str] = field(default_factory=dict)
    answers: Counter[Any] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def enough(self) -> bool:
        return self.answers[200] > ENOUGH_CALLS and self.answers[429] > 0


class Killer:
    """Kills a replica or Redis every few seconds and brings it back, out of the test's event loop."""

    def __init__(self, stack: Stack, proxies: list[Proxy], enough: Callable[[], bool]) -> None:
        self._stack, self._proxies, self._enough = stack, proxies, enough
        self._random = random.Random(SEED)  # noqa: S311 - a test that fails must fail again
        self.done: list[str] = []
        # Addresses of replicas, a kill each, that had calls to settle which Redis had not taken.
        self.owing: list[str] = []

    def _goes_on(self, seconds: float) -> bool:
        if seconds < SECONDS:
            return True
        return seconds < MOST_SECONDS and not (self._enough() and {"replica", "redis"} <= set(self.done))

    def run(self) -> None:
        start = time.monotonic()
        while self._goes_on(time.monotonic() - start):
            time.sleep(self._random.uniform(2, 5))
            what = self._random.choice(["replica", "redis", "hang"])
            proxy = self._random.choice(self._proxies)
            # One that is still starting would only start once more: then it is Redis' turn.
            if what == "replica" and proxy.ready():
                if _unsettled(proxy):
                    self.owing.append(proxy.url)
                proxy.end(signal.SIGKILL)
                proxy.start()
            elif what == "hang":
                self._stack.redis.hang()
                time.sleep(1)
                self._stack.redis.wake()
            else:
                self._stack.redis.kill()
                time.sleep(self._random.uniform(0, 2))
                self._stack.redis.start()
                what = "redis"
            self.done.append(what)


def _unsettled(proxy: Proxy) -> bool:
    """Whether calls wait at a replica for Redis to be charged; one that cannot say so now may have some."""
    try:
        page = httpx.get(f"{proxy.url}/metrics", timeout=30).text
    except httpx.HTTPError:
        return True
    return "llmaas_gateway_unsettled_calls 0.0" not in page.splitlines()


async def _calls(proxies: list[Proxy], keys: list[str], seen: Seen, stop: asyncio.Event) -> None:
    choose = random.Random(SEED)  # noqa: S311 - as above

    async def worker(client: httpx.AsyncClient) -> None:
        while not stop.is_set():
            stream = choose.random() < 0.3
            body = request("/v1/chat/completions", max_tokens=10, stream=stream, delay=round(choose.uniform(3, 7), 2))
            url = choose.choice(proxies).url
            try:
                answer = await client.post(
                    f"{url}/v1/chat/completions", json=body, headers=headers(choose.choice(keys))
                )
            except httpx.HTTPError:
                seen.answers["no answer"] += 1
                await asyncio.sleep(0.2)
                continue
            seen.answers[answer.status_code] += 1
            _judge(answer, url, seen)
            if answer.status_code != 200:
                await asyncio.sleep(0.5)

    limits = httpx.Limits(max_connections=WORKERS)
    async with httpx.AsyncClient(timeout=30, limits=limits) as client:
        await asyncio.gather(*(worker(client) for _ in range(WORKERS)))


def _judge(answer: httpx.Response, url: str, seen: Seen) -> None:
    if answer.status_code == 200 and (
        not answer.headers["content-type"].startswith("text/event") or "[DONE]" in answer.text
    ):
        seen.whole[answer.headers["x-request-id"]] = url
    if answer.status_code == 429:
        left = round(float(answer.headers["x-ratelimit-remaining-credit"]) * 10**9)
        if left >= most_nano_eur(10) + 20 * 2 * INPUT:
            seen.wrong.append(answer.text)


def _settle_down(stack: Stack, proxy: Proxy, tenant: str, key: str) -> None:
    def settled() -> bool:
        ask(proxy, key, max_tokens=5)
        time.sleep(0.5)
        total = sum(record["nano_eur"] for record in stack.records(tenant))
        return stack.used(f"tenant:{tenant}", "credit") == {"settled": total, "held": 0}

    stack.wait_until(settled, f"the accounts of {tenant}", 120)


def test_whatever_dies_no_cap_is_broken_and_every_sum_agrees(
    stack: Stack, proxies: list[Proxy], new_key: NewKey
) -> None:
    cost = 10 * INPUT + 5 * OUTPUT
    tenants = {
        tenant: (key, credit)
        for credit in (60 * cost, 200 * cost)
        for tenant, key in [new_key("prepaid", credit_nano_eur=credit)]
    }
    rich, rich_key = new_key("prepaid", credit_nano_eur=10**12)
    tenants[rich] = (rich_key, 10**12)
    seen = Seen()

    async def body() -> Killer:
        stop = asyncio.Event()
        killer = Killer(stack, proxies, seen.enough)

        async def kill() -> None:
            await asyncio.to_thread(killer.run)
            stop.set()

        await asyncio.gather(kill(), _calls(proxies, [key for key, _ in tenants.values()], seen, stop))
        return killer

    killer = asyncio.run(body())
    for proxy in proxies:
        proxy.wait()
    print(f"{sum(seen.answers.values())} calls: {dict(seen.answers)}; killed: {killer.done}")  # shown when it fails
    assert {"replica", "redis"} <= set(killer.done)
    assert seen.enough()
    assert not seen.wrong
    # Reservations of killed replicas lapse, settlements that waited are made, and the records arrive.
    for tenant, (key, credit) in tenants.items():
        _settle_down(stack, proxies[0], tenant, key)
        records = stack.records(tenant)
        total = sum(record["nano_eur"] for record in records)
        assert total <= credit
        assert stack.used(f"tenant:{tenant}", "credit") == {"settled": total, "held": 0}
        assert len({record["request_id"] for record in records}) == len(records)
        _compare_with_what_is_shown(proxies[0], key, credit, records)
    _compare(seen, [record for tenant in tenants for record in stack.records(tenant)], killer)


def _compare_with_what_is_shown(proxy: Proxy, key: str, credit: int, records: list[dict[str, Any]]) -> None:
    """The tenant sees the same calls and the same sums as the accounts have."""
    usage = httpx.get(f"{proxy.url}/v1/usage", headers=headers(key), timeout=60).raise_for_status().json()
    total = sum(record["nano_eur"] for record in records)
    assert sum(group["nano_eur"] for group in usage["data"]) == total
    assert sum(group["calls"] for group in usage["data"]) == len(records)
    assert Decimal(usage["credit_left_eur"]) == Decimal(credit - total) / 10**9
    assert Decimal(usage["credit_held_eur"]) == 0
    shown: list[str] = []
    following: dict[str, str] = {}
    while following is not None:
        page = httpx.get(f"{proxy.url}/v1/usage/requests", params=following, headers=headers(key), timeout=60).json()
        shown += [call["request_id"] for call in page["data"]]
        following = page["next"] and {"before": page["next"]}
    assert sorted(shown) == sorted(record["request_id"] for record in records)


def _compare(seen: Seen, records: list[dict[str, Any]], killer: Killer) -> None:
    """What a tenant saw whole was charged, once and at the prices of the model that answered."""
    charged = {record["request_id"]: record for record in records}
    for name in set(seen.whole) & set(charged):
        record = charged[name]
        full = (10 * INPUT + 5 * OUTPUT) * (2 if record["model"] == "spare-model" else 1)
        assert record["counts"] == {"input": 10, "output": 5}, record
        # Only a reservation that lapsed may have lost its room to others.
        assert record["nano_eur"] == full or (record["late"] and record["nano_eur"] < full), record
    # A replica that is killed takes along what Redis had not taken from it, and nothing else.
    missing = [url for name, url in seen.whole.items() if name not in charged]
    print(f"{len(seen.whole)} came whole, {len(missing)} of them were never charged; killed owing: {killer.owing}")
    assert set(missing) <= set(killer.owing)
    assert len(missing) <= WORKERS // 3 * len(killer.owing)
