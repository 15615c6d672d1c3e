"""Where a model's servers are full they begin with calls of the better tier, whatever clients say of themselves."""

from collections.abc import Callable, Iterator

import httpx
import pytest
import yaml

from .client import ask
from .stack import TIER, Proxy, Stack, running

NewKey = Callable[..., tuple[str, str]]
GENERATING = ["/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages"]
FORGED = {"priority": -10, "service_tier": "priority"}


@pytest.fixture(scope="module")
def queueing(stack: Stack) -> Iterator[Proxy]:
    """A replica whose model servers go by priority, and a tier that comes first."""
    written = yaml.safe_load((stack.folder / "gateway.yaml").read_text())
    models = [{**model, "takes_priority": model.get("capability") != "embedding"} for model in written["models"]]
    first = {"name": "first", "billing": "monthly", **TIER, "priority": "high"}
    proxy = Proxy(stack, "queueing", models=models, tiers=[*written["tiers"], first])
    with running([proxy]):
        yield proxy


def sent(stack: Stack, proxy: Proxy, key: str, path: str, **fields: object) -> list[int]:
    """The priorities of all tries that the call made at the model servers."""
    httpx.delete(f"{stack.upstream_url}/seen")
    answer = ask(proxy, key, path, **fields)
    assert answer.status_code == 200, answer.text
    return [body["priority"] for body in stack.seen()["bodies"]]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", GENERATING)
def test_a_monthly_tenant_comes_before_a_prepaid_one_and_neither_chooses(
    stack: Stack, queueing: Proxy, new_key: NewKey, path: str, *, stream: bool
) -> None:
    _, monthly = new_key("first")
    _, prepaid = new_key("prepaid", credit_nano_eur=10**9)
    [early] = sent(stack, queueing, monthly, path, stream=stream)
    [late] = sent(stack, queueing, prepaid, path, stream=stream)
    # vLLM begins with the lowest number.
    assert early < late
    assert sent(stack, queueing, monthly, path, stream=stream, **FORGED) == [early]
    assert sent(stack, queueing, prepaid, path, stream=stream, **FORGED) == [late]


def test_retries_and_fallbacks_keep_the_priority(stack: Stack, queueing: Proxy, new_key: NewKey) -> None:
    tenant, key = new_key("prepaid", credit_nano_eur=10**9)
    [late] = sent(stack, queueing, key, GENERATING[0])
    tries = sent(stack, queueing, key, GENERATING[0], fail_first=1, name=tenant)
    assert tries == [late, late]
    other = sent(stack, queueing, key, GENERATING[0], fail_model="chat-model")
    assert len(other) > 1
    assert set(other) == {late}


def test_embeddings_take_none_along(stack: Stack, queueing: Proxy, new_key: NewKey) -> None:
    _, key = new_key("first")
    httpx.delete(f"{stack.upstream_url}/seen")
    assert ask(queueing, key, "/v1/embeddings").status_code == 200
    [seen] = stack.seen()["bodies"]
    assert "priority" not in seen
