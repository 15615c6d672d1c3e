"""What happens while Redis or PostgreSQL hang, are gone or have lost everything, and how it is made good."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .client import ask, error_of
from .stack import Proxy, Stack

NewKey = Callable[..., tuple[str, str]]
COST = 10 * 1_000 + 5 * 10_000
# The time limit is half a second; a call asks the ledger and the directory, each may be waited for.
GIVEN_UP_SECONDS = 4


@pytest.fixture(params=["hangs", "is gone"])
def away(request: pytest.FixtureRequest, stack: Stack) -> Iterator[Callable[[], None]]:
    """Takes Redis away; what the fixture gives brings it back."""
    back = [stack.redis.wake if request.param == "hangs" else stack.redis.start]
    (stack.redis.hang if request.param == "hangs" else stack.redis.kill)()

    def bring_back() -> None:
        while back:
            back.pop()()

    yield bring_back
    bring_back()


@pytest.fixture
def open_key(new_key: NewKey, proxy: Proxy) -> tuple[str, str]:
    """A tenant whose calls are refused without the ledger; it has made one before."""
    tenant, key = new_key("open")
    assert ask(proxy, key).status_code == 200
    return tenant, key


@pytest.fixture
def trusted_key(new_key: NewKey, proxy: Proxy) -> tuple[str, str]:
    """A tenant that may spend a euro without the ledger; it has made one call before."""
    tenant, key = new_key("trusted")
    assert ask(proxy, key).status_code == 200
    return tenant, key


def test_the_tiers_rule_holds_within_the_time_limit_and_what_was_spent_is_settled_later(
    stack: Stack, proxy: Proxy, open_key: tuple[str, str], trusted_key: tuple[str, str], away: Callable[[], None]
) -> None:
    begun = time.monotonic()
    refused = ask(proxy, open_key[1])
    assert time.monotonic() - begun < GIVEN_UP_SECONDS
    assert (refused.status_code, error_of(refused)["code"]) == (503, "service_unavailable")
    assert refused.headers["retry-after"] == "1"
    passed = [ask(proxy, trusted_key[1]) for _ in range(3)]
    assert [answer.status_code for answer in passed] == [200] * 3
    for answer in (refused, *passed):
        # What is left is in Redis; the limits themselves are known.
        assert answer.headers["x-ratelimit-limit-requests-minute"] == "100000"
        assert "x-ratelimit-reset-requests-minute" in answer.headers
        assert "x-ratelimit-remaining-requests-minute" not in answer.headers
    away()
    records = stack.wait_for_records(trusted_key[0], 4)
    assert [record["nano_eur"] for record in records] == [COST] * 4
    assert [record["late"] for record in records] == [False, True, True, True]
    stack.wait_until(lambda: ask(proxy, open_key[1]).status_code == 200, "calls of the refused tenant", 10)
    # No reservation was left behind by the calls that gave up waiting.
    assert stack.used(f"tenant:{open_key[0]}", "spend-month")["held"] == 0


def test_a_stream_that_ends_while_the_ledger_is_away_is_settled_later(
    stack: Stack, proxy: Proxy, new_key: NewKey
) -> None:
    tenant, key = new_key("open")
    assert ask(proxy, key).status_code == 200

    def lose_redis() -> None:
        # The stream has begun, and goes on for two seconds.
        stack.wait_until(lambda: stack.used(f"tenant:{tenant}", "spend-month")["held"] > 0, "the call's admission", 20)
        stack.redis.kill()

    with stack.background(lose_redis):
        assert ask(proxy, key, stream=True, output=20, pause=0.1).status_code == 200
    stack.redis.start()
    records = stack.wait_for_records(tenant, 2)
    assert records[1]["nano_eur"] == 10 * 1_000 + 20 * 10_000


def test_a_redis_that_lost_everything_knows_what_was_spent(stack: Stack, proxies: list[Proxy], new_key: NewKey) -> None:
    credit = 100 * COST
    tenant, key = new_key("prepaid", credit_nano_eur=credit)
    for proxy in proxies:
        assert ask(proxy, key, max_tokens=5).status_code == 200
    stack.wait_for_records(tenant, 3)
    stack.redis.kill()
    stack.redis.forget()
    stack.redis.start()
    for proxy in proxies:
        stack.wait_until(
            lambda proxy=proxy: ask(proxy, key, max_tokens=5).status_code == 200, "the ledger's rebuilding", 15
        )
    records = stack.wait_for_records(tenant, 6)
    assert sum(record["nano_eur"] for record in records) == 6 * COST
    assert stack.used(f"tenant:{tenant}", "credit") == {"settled": 6 * COST, "held": 0}


def test_what_redis_forgot_in_a_power_cut_is_settled_once(
    stack: Stack, proxies: list[Proxy], new_key: NewKey, tmp_path: Path
) -> None:
    tenant, key = new_key("prepaid", credit_nano_eur=100 * COST)
    for proxy in proxies:
        assert ask(proxy, key, max_tokens=5).status_code == 200
    stack.wait_for_records(tenant, 3)
    stack.redis.saved(tmp_path / "saved")
    stored = [ask(proxy, key, max_tokens=5).headers["x-request-id"] for proxy in proxies]
    stack.wait_for_records(tenant, 6)
    stack.postgres.kill()
    nowhere = [ask(proxy, key, max_tokens=5).headers["x-request-id"] for proxy in proxies]
    stack.redis.cut_power(tmp_path / "saved")
    stack.postgres.start()
    stack.redis.start()
    records = stack.wait_for_records(tenant, 9, seconds=40)
    assert {record["request_id"] for record in records} >= {*stored, *nowhere}
    assert [record["nano_eur"] for record in records] == [COST] * 9
    assert stack.used(f"tenant:{tenant}", "credit") == {"settled": 9 * COST, "held": 0}
    assert ask(proxies[0], key, max_tokens=5).status_code == 200


def test_nothing_is_lost_while_postgresql_is_away(stack: Stack, proxy: Proxy, open_key: tuple[str, str]) -> None:
    stack.postgres.kill()
    statuses = [ask(proxy, open_key[1]).status_code for _ in range(5)]
    stack.postgres.start()
    assert statuses == [200] * 5
    records = stack.wait_for_records(open_key[0], 6, seconds=40)
    assert [record["nano_eur"] for record in records] == [COST] * 6
