"""What a call is charged, whatever becomes of it: once, by its usage, at the prices of the model that answered."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from .client import ask, events, hang_up, task
from .stack import Proxy, Stack

NewKey = Callable[..., tuple[str, str]]
INPUT, OUTPUT = 1_000, 10_000


def only_record(stack: Stack, tenant: str) -> dict[str, Any]:
    [record] = stack.wait_for_records(tenant, 1)
    return record


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/chat/completions", "/v1/completions"])
def test_a_call_is_charged_by_its_usage_and_tells_it(
    stack: Stack, proxy: Proxy, new_key: NewKey, path: str, *, stream: bool
) -> None:
    tenant, key = new_key("open")
    answer = ask(proxy, key, path, input=70, cached=30, output=50, reasoning=20, stream=stream)
    assert answer.status_code == 200, answer.text
    told = [event["usage"] for event in events(answer) if event.get("usage")] if stream else [answer.json()["usage"]]
    [usage] = told
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (70, 50)
    assert usage["prompt_tokens_details"]["cached_tokens"] == 30
    assert usage["completion_tokens_details"]["reasoning_tokens"] == 20
    record = only_record(stack, tenant)
    assert record["counts"] == {"input": 40, "cached_input": 30, "output": 30, "reasoning": 20}
    assert record["nano_eur"] == 70 * INPUT + 50 * OUTPUT
    assert record["unbilled_nano_eur"] == 0
    assert (record["status"], record["endpoint"], record["billing"]) == ("success", path, "monthly")
    assert record["request_id"] == answer.headers["x-request-id"]


def test_a_stream_tells_its_usage_even_to_who_does_not_want_it(proxy: Proxy, new_key: NewKey) -> None:
    _, key = new_key("open")
    answer = ask(proxy, key, stream=True, stream_options={"include_usage": False})
    assert [event["usage"]["completion_tokens"] for event in events(answer) if event.get("usage")] == [5]


def test_embeddings_are_charged_by_their_input(stack: Stack, proxy: Proxy, new_key: NewKey) -> None:
    tenant, key = new_key("open")
    answer = ask(proxy, key, "/v1/embeddings", input=12)
    assert answer.status_code == 200, answer.text
    record = only_record(stack, tenant)
    assert (record["counts"], record["nano_eur"]) == ({"embedding": 12}, 12 * INPUT)


def test_a_call_that_is_tried_again_is_charged_once(stack: Stack, proxy: Proxy, new_key: NewKey) -> None:
    tenant, key = new_key("open")
    assert ask(proxy, key, fail_first=1, name=tenant).status_code == 200
    assert ask(proxy, key).status_code == 200
    records = stack.wait_for_records(tenant, 2)
    assert [record["nano_eur"] for record in records] == [10 * INPUT + 5 * OUTPUT] * 2


def test_a_fallback_is_charged_by_the_prices_of_its_own_model(stack: Stack, proxy: Proxy, new_key: NewKey) -> None:
    tenant, key = new_key("open")
    answer = ask(proxy, key, fail_model="chat-model")
    assert answer.status_code == 200, answer.text
    record = only_record(stack, tenant)
    assert (record["model"], record["nano_eur"]) == ("spare-model", 2 * (10 * INPUT + 5 * OUTPUT))


@pytest.mark.parametrize("status", [400, 500])
def test_a_call_that_fails_costs_nothing_and_leaves_a_record(
    stack: Stack, proxy: Proxy, new_key: NewKey, status: int
) -> None:
    tenant, key = new_key("open")
    answer = ask(proxy, key, status=status, stream=True)
    assert answer.status_code == status
    record = only_record(stack, tenant)
    assert (record["status"], record["counts"], record["nano_eur"]) == ("error", {}, 0)


def test_a_model_that_dies_in_mid_stream_is_charged_what_it_generated(
    stack: Stack, proxy: Proxy, new_key: NewKey
) -> None:
    tenant, key = new_key("open")
    answer = ask(proxy, key, stream=True, output=50, die_after=7, pause=0.03, model="spare-model")
    pieces = sum(bool(event.get("choices")) for event in events(answer))
    record = only_record(stack, tenant)
    assert record["status"] == "cut"
    assert record["counts"] == {"input": 10, "output": pieces}
    assert pieces == 7


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
def test_a_stream_without_usage_is_charged_a_token_for_each_piece_that_came(
    stack: Stack, proxy: Proxy, new_key: NewKey, path: str
) -> None:
    tenant, key = new_key("open")
    answer = ask(proxy, key, path, stream=True, output=50, die_after=7, pause=0.03, untold=True)
    pieces = sum(bool(event.get("choices")) for event in events(answer))
    record = only_record(stack, tenant)
    assert (record["status"], pieces) == ("cut", 7)
    # Nobody told what the prompt had: without a tokenizer only one token of it is sure.
    assert (record["counts"], record["nano_eur"]) == ({"input": 1, "output": 7}, INPUT + 7 * OUTPUT)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages"])
def test_a_client_that_hangs_up_pays_for_what_was_generated_and_no_more(
    stack: Stack, proxy: Proxy, new_key: NewKey, path: str
) -> None:
    httpx.delete(f"{stack.upstream_url}/seen")
    tenant, key = new_key("open")
    seen = hang_up(proxy, key, 5, path, output=90, pause=0.05)
    record = only_record(stack, tenant)
    assert record["status"] == "abandoned"
    assert record["counts"]["input"] == 10
    # The model server was told to stop, and knows how far it had come.
    stack.wait_until(lambda: bool(stack.seen()["gone_after"]), "the model to stop")
    assert seen <= record["counts"]["output"] <= stack.seen()["gone_after"][0] < 90


@pytest.mark.parametrize(
    ("path", "prompts", "choices"),
    [
        ("/v1/chat/completions", [10], 2),
        ("/v1/completions", [10], 2),
        ("/v1/completions", [10, 7], 1),
        ("/v1/completions", [10, 7], 2),
    ],
)
def test_every_choice_of_a_stream_is_charged_and_every_prompt_once_even_if_the_client_hangs_up(
    stack: Stack, proxy: Proxy, new_key: NewKey, path: str, *, prompts: list[int], choices: int
) -> None:
    httpx.delete(f"{stack.upstream_url}/seen")
    tenant, key = new_key("open")
    fields: dict[str, Any] = {"n": choices, "output": 60, "pause": 0.03}
    if len(prompts) > 1:
        fields["prompt"] = [task(**{**fields, "input": tokens}) for tokens in prompts]
    # Each has told of itself then.
    seen = hang_up(proxy, key, 6 * len(prompts) * choices, path, **fields)
    record = only_record(stack, tenant)
    stack.wait_until(lambda: bool(stack.seen()["gone_after"]), "the model to stop")
    assert record["status"] == "abandoned"
    assert record["counts"]["input"] == sum(prompts)
    assert seen <= record["counts"]["output"] <= stack.seen()["gone_after"][0] < 60 * len(prompts) * choices
    assert (record["output_tokens"], record["nano_eur"]) == (
        record["counts"]["output"],
        sum(prompts) * INPUT + record["counts"]["output"] * OUTPUT,
    )


@pytest.mark.parametrize(
    ("path", "fields", "counts"),
    [
        ("/v1/chat/completions", {}, {"input": 10, "output": 10}),
        ("/v1/completions", {"prompt": [task(input=10), task(input=7)]}, {"input": 17, "output": 20}),
    ],
)
def test_a_whole_stream_of_several_choices_is_charged_by_the_sum_that_ends_it(
    stack: Stack, proxy: Proxy, new_key: NewKey, path: str, *, fields: dict[str, Any], counts: dict[str, int]
) -> None:
    tenant, key = new_key("open")
    answer = ask(proxy, key, path, stream=True, n=2, **fields)
    told = [event["usage"] for event in events(answer) if event.get("usage")]
    assert [usage["completion_tokens"] for usage in told] == [counts["output"]]
    record = only_record(stack, tenant)
    assert (record["status"], record["counts"]) == ("success", counts)
