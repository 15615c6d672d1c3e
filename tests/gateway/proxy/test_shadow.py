"""Shadow mode: limits are counted, nobody is refused for one, and operators see who would have been."""

import json
from collections.abc import Callable, Iterator

import httpx
import pytest

from .client import ask
from .stack import Proxy, Stack, running

NewKey = Callable[..., tuple[str, str]]


@pytest.fixture(scope="module")
def shadow(stack: Stack) -> Iterator[Proxy]:
    proxy = Proxy(stack, "shadow", shadow=True)
    with running([proxy]):
        yield proxy


def _over(proxy: Proxy) -> dict[str, float]:
    answer = httpx.get(f"{proxy.url}/metrics")
    assert answer.status_code == 200
    lines = [line.rsplit(" ", 1) for line in answer.text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in lines if name.startswith("llmaas_gateway_over_limit_total")}


def _chained(stack: Stack, tenant: str) -> list[dict[str, object]]:
    query = "SELECT body FROM audit.record JOIN audit.stream ON id = stream WHERE tenant = %s AND kind = 'requests'"
    with stack.postgres.connect() as connection:
        facts = [json.loads(body)["facts"] for (body,) in connection.execute(query, [tenant]).fetchall()]
    return [f for f in facts if f["action"] == "request.over_limit"]


@pytest.fixture(params=["credit", "key-requests-minute", "LiteLLM's own"])
def shut(request: pytest.FixtureRequest, stack: Stack, proxy: Proxy, new_key: NewKey) -> tuple[str, str, str]:
    """A tenant, a key of it that can make no call, and the limit that has no room."""
    if request.param == "credit":
        return *new_key("prepaid", credit_nano_eur=1), "credit"
    if request.param == "key-requests-minute":
        return *new_key("open", requests_per_minute=0), "key-requests-minute"
    tenant, key = new_key("open")
    stack.limit_at_litellm(proxy, key, 0)
    return tenant, key, "key-requests-minute"


def test_a_call_over_its_limit_passes_is_charged_and_is_counted(
    stack: Stack, shadow: Proxy, shut: tuple[str, str, str]
) -> None:
    tenant, key, limit = shut
    name = f'llmaas_gateway_over_limit_total{{limit="{limit}",outcome="passed"}}'
    before = _over(shadow).get(name, 0)
    assert [ask(shadow, key).status_code for _ in range(3)] == [200] * 3
    assert _over(shadow)[name] == before + 3
    records = stack.wait_for_records(tenant, 3)
    assert [record["nano_eur"] for record in records] == [10 * 1_000 + 5 * 10_000] * 3
    stack.wait_until(lambda: sum(int(str(f["count"])) for f in _chained(stack, tenant)) == 3, "would-be refusals", 40)
    assert {(f["limit"], f["status"], f["code"]) for f in _chained(stack, tenant)} == {(limit, 200, "")}


def test_without_it_the_same_call_is_refused_and_counted(proxy: Proxy, shut: tuple[str, str, str]) -> None:
    _, key, limit = shut
    name = f'llmaas_gateway_over_limit_total{{limit="{limit}",outcome="refused"}}'
    before = _over(proxy).get(name, 0)
    assert ask(proxy, key).status_code == 429
    assert _over(proxy)[name] == before + 1
