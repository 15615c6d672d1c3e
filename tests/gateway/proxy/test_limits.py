"""A limit is kept to the last unit, told in every answer, and refuses in OpenAI's words."""

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from .client import ask, error_of, headers, request, wait_for_room_in_the_minute
from .stack import Proxy, Stack

NewKey = Callable[..., tuple[str, str]]
INPUT, OUTPUT = 1_000, 10_000


def most_nano_eur(output: int) -> int:
    """What the gateway reserves for a call of the dearer model with this prompt: a byte is a token."""
    body = request("/v1/chat/completions", max_tokens=output)
    return len(json.dumps(body["messages"], indent=4).encode()) * 2 * INPUT + output * 2 * OUTPUT


def test_a_credit_admits_what_fits_and_not_a_nano_euro_more(proxy: Proxy, new_key: NewKey) -> None:
    need = most_nano_eur(20)
    _, key = new_key("prepaid", credit_nano_eur=need - 1)
    refused = ask(proxy, key, max_tokens=20)
    error = error_of(refused)
    assert (refused.status_code, error["type"], error["code"]) == (429, "insufficient_quota", "insufficient_quota")
    assert refused.headers["retry-after"] == "3600"
    _, key = new_key("prepaid", credit_nano_eur=need)
    answer = ask(proxy, key, max_tokens=20)
    assert answer.status_code == 200
    # What was reserved and not used is there again before the answer has ended.
    left = need - 10 * INPUT - 5 * OUTPUT
    assert round(float(answer.headers["x-ratelimit-remaining-credit"]) * 10**9) == left
    assert ask(proxy, key, max_tokens=20).status_code == 429


def test_tokens_of_an_hour_are_counted_as_generated(proxy: Proxy, new_key: NewKey) -> None:
    _, key = new_key("few")
    assert ask(proxy, key, output=60, max_tokens=100).status_code == 200
    refused = ask(proxy, key, output=1, max_tokens=41)
    error = error_of(refused)
    assert (refused.status_code, error["type"], error["code"]) == (429, "tokens", "rate_limit_exceeded")
    assert refused.headers["x-ratelimit-limit-output-tokens-hour"] == "100"
    assert refused.headers["x-ratelimit-remaining-output-tokens-hour"] == "40"
    assert 0 < int(refused.headers["retry-after"]) <= 3600
    assert int(refused.headers["x-ratelimit-reset-output-tokens-hour"]) <= 3600
    assert ask(proxy, key, output=40, max_tokens=40).status_code == 200


def test_what_costs_nothing_is_limited_in_all_else(proxies: list[Proxy], new_key: NewKey) -> None:
    free = {"model": "free-model", "max_tokens": 100}
    _, key = new_key("few")
    assert ask(proxies[0], key, output=60, **free).status_code == 200
    refused = ask(proxies[1], key, **free | {"max_tokens": 41})
    assert (refused.status_code, refused.headers["x-ratelimit-remaining-output-tokens-hour"]) == (429, "40")
    _, key = new_key("slow")
    wait_for_room_in_the_minute()
    assert [ask(proxies[number % 3], key, **free).status_code for number in range(4)] == [200, 200, 200, 429]
    _, key = new_key("narrow")
    with ThreadPoolExecutor(4) as pool:
        statuses = list(pool.map(lambda number: ask(proxies[number % 3], key, delay=3, **free).status_code, range(4)))
    assert sorted(statuses) == [200, 200, 429, 429]


def test_what_costs_nothing_uses_no_credit(proxy: Proxy, new_key: NewKey) -> None:
    _, key = new_key("prepaid", credit_nano_eur=1)
    answer = ask(proxy, key, model="free-model", max_tokens=20)
    assert (answer.status_code, answer.headers["x-ratelimit-remaining-credit"]) == (200, "0.000000001")
    assert ask(proxy, key, max_tokens=20).status_code == 429  # a model that has a price


def test_requests_of_a_minute_are_counted_over_all_replicas(proxies: list[Proxy], new_key: NewKey) -> None:
    _, key = new_key("slow")
    wait_for_room_in_the_minute()
    statuses = [ask(proxies[number % 3], key).status_code for number in range(4)]
    assert statuses == [200, 200, 200, 429]


def test_parallel_requests_are_counted_over_all_replicas_and_given_back(proxies: list[Proxy], new_key: NewKey) -> None:
    _, key = new_key("narrow")
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda number: ask(proxies[number % 3], key, delay=2), range(6)))
    assert sorted(answer.status_code for answer in answers) == [200, 200, 429, 429, 429, 429]
    assert ask(proxies[0], key).status_code == 200


def test_a_budget_of_a_key_holds_beside_the_tenants(stack: Stack, proxy: Proxy, new_key: NewKey) -> None:
    need = most_nano_eur(20)
    tenant, key = new_key("open", budget_nano_eur=need, budget_window="month")
    other = stack.key(proxy, tenant)
    assert ask(proxy, key, max_tokens=20).status_code == 200
    refused = ask(proxy, key, max_tokens=20)
    assert error_of(refused)["code"] == "insufficient_quota"
    assert "key-budget-month" in error_of(refused)["message"]
    assert ask(proxy, other, max_tokens=20).status_code == 200


@pytest.mark.parametrize("at_litellm", [False, True])
def test_a_keys_requests_of_a_minute_are_counted_over_all_replicas_and_refused_in_the_ledger(
    stack: Stack,
    proxies: list[Proxy],
    new_key: NewKey,
    at_litellm: bool,  # noqa: FBT001 - a column of the table
) -> None:
    tenant, key = new_key("open", **({} if at_litellm else {"requests_per_minute": 3}))
    if at_litellm:
        stack.limit_at_litellm(proxies[0], key, 3)
    other = stack.key(proxies[0], tenant)
    wait_for_room_in_the_minute()
    answers = [ask(proxies[number % 3], key) for number in range(6)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429, 429]
    for refused in answers[3:]:
        assert (error_of(refused)["type"], error_of(refused)["code"]) == ("requests", "rate_limit_exceeded")
        assert "key-requests-minute" in error_of(refused)["message"]
        assert 0 < int(refused.headers["retry-after"]) <= 60
    left = [answer.headers["x-ratelimit-remaining-key-requests-minute"] for answer in answers]
    assert left == ["2", "1", "0", "0", "0", "0"]
    assert ask(proxies[0], other).status_code == 200
    # A refused call takes nothing and leaves no record.
    assert stack.used(f"tenant:{tenant}", "requests-minute")["settled"] == 4
    assert len(stack.wait_for_records(tenant, 4)) == 4


def test_a_suspended_tenant_is_refused_on_every_replica_within_seconds(
    stack: Stack, proxies: list[Proxy], new_key: NewKey
) -> None:
    tenant, key = new_key("open")
    assert all(ask(proxy, key).status_code == 200 for proxy in proxies)
    stack.suspend(tenant)
    time.sleep(2.5)
    for proxy in proxies:
        assert error_of(ask(proxy, key))["code"] == "account_suspended"


def test_every_answer_of_an_admitted_call_tells_its_limits(proxy: Proxy, new_key: NewKey) -> None:
    _, key = new_key("few")
    for answer in (
        ask(proxy, key, max_tokens=5),
        ask(proxy, key, max_tokens=5, stream=True),
        ask(proxy, key, status=500),
    ):
        for what in ("limit", "remaining", "reset"):
            assert f"x-ratelimit-{what}-output-tokens-hour" in answer.headers
            assert f"x-ratelimit-{what}-requests-minute" in answer.headers


def test_a_refusal_for_another_reason_tells_the_limits_too_and_counts_nothing(
    stack: Stack, proxy: Proxy, new_key: NewKey
) -> None:
    tenant, key = new_key("few")
    wrong = [
        (400, ask(proxy, key, max_tokens="many")),
        (404, ask(proxy, key, model="another")),
        (400, httpx.post(f"{proxy.url}/v1/chat/completions", content="{", headers=headers(key), timeout=60)),
    ]
    stack.suspend(tenant)
    time.sleep(2.5)
    wrong.append((403, ask(proxy, key)))
    for status, answer in wrong:
        assert answer.status_code == status, answer.text
        assert answer.headers["x-ratelimit-remaining-output-tokens-hour"] == "100"
        assert answer.headers["x-ratelimit-remaining-requests-minute"] == "100000"
        assert 0 <= int(answer.headers["x-ratelimit-reset-output-tokens-hour"]) <= 3600


def test_a_model_that_is_not_granted_and_a_body_that_is_too_large_tell_the_limits_too(
    stack: Stack, proxy: Proxy, new_key: NewKey
) -> None:
    tenant, key = new_key("few")
    few = stack.key(proxy, tenant, models=["spare-model"])
    large = {"content": b"x" * 5_000_000, "timeout": 60}
    for status, answer in (
        (403, ask(proxy, few)),
        (413, httpx.post(f"{proxy.url}/v1/chat/completions", headers=headers(key), **large)),
        (413, httpx.post(f"{proxy.url}/v1/chat/completions", headers=headers(few), **large)),
        (413, httpx.post(f"{proxy.url}/v1/messages", headers=headers(few), **large)),
        (400, httpx.post(f"{proxy.url}/v1/chat/completions", headers=headers(few), content="{", timeout=60)),
    ):
        assert answer.status_code == status, answer.text
        assert answer.headers["x-ratelimit-remaining-output-tokens-hour"] == "100"
    assert httpx.post(f"{proxy.url}/v1/messages", headers=headers("sk-nobody"), **large).status_code == 401


def test_models_are_listed_without_touching_a_limit(proxy: Proxy, new_key: NewKey) -> None:
    _, key = new_key("slow")
    statuses = {httpx.get(f"{proxy.url}/v1/models", headers=headers(key)).status_code for _ in range(5)}
    assert statuses == {200}


def test_a_request_that_names_no_bound_gets_that_of_its_model(stack: Stack, proxy: Proxy, new_key: NewKey) -> None:
    _, key = new_key("few")
    httpx.delete(f"{stack.upstream_url}/seen")
    answer = ask(proxy, key, model="spare-model", max_tokens=None, output=3)
    assert answer.status_code == 200
    assert [body["max_tokens"] for body in stack.seen()["bodies"]] == [50]
    # The other model has none: what its context leaves would not fit.
    assert ask(proxy, key, max_tokens=None, output=3).status_code == 429
