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


def test_a_call_over_its_limit_passes_is_charged_and_is_counted(stack: Stack, shadow: Proxy, new_key: NewKey) -> None:
    tenant, key = new_key("prepaid", credit_nano_eur=1)
    name = 'llmaas_gateway_over_limit_total{limit="credit",outcome="passed"}'
    before = _over(shadow).get(name, 0)
    assert [ask(shadow, key).status_code for _ in range(3)] == [200] * 3
    assert _over(shadow)[name] == before + 3
    records = stack.wait_for_records(tenant, 3)
    assert [record["nano_eur"] for record in records] == [10 * 1_000 + 5 * 10_000] * 3
    stack.wait_until(lambda: sum(int(str(f["count"])) for f in _chained(stack, tenant)) == 3, "would-be refusals", 40)
    assert {(f["limit"], f["status"], f["code"]) for f in _chained(stack, tenant)} == {("credit", 200, "")}


def test_without_it_the_same_call_is_refused_and_counted(proxy: Proxy, new_key: NewKey) -> None:
    _, key = new_key("prepaid", credit_nano_eur=1)
    name = 'llmaas_gateway_over_limit_total{limit="credit",outcome="refused"}'
    before = _over(proxy).get(name, 0)
    assert ask(proxy, key).status_code == 429
    assert _over(proxy)[name] == before + 1
