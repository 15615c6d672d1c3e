"""The SDKs of OpenAI (responses) and Anthropic (messages) work unchanged; every call goes through the money path."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import anthropic
import httpx
import openai
import pytest

from .client import ask, headers, request, wait_for_room_in_the_minute
from .stack import Proxy, Stack
from .test_charges import INPUT, OUTPUT, only_record

NewKey = Callable[..., tuple[str, str]]
PATHS = ["/v1/responses", "/v1/messages"]
TOOL = {"type": "object", "properties": {"city": {"type": "string"}}}


def task(**fields: Any) -> str:
    return json.dumps(fields)


@pytest.fixture
def keyed(new_key: NewKey) -> tuple[str, str]:
    return new_key("open")


@pytest.fixture
def openai_client(proxy: Proxy, keyed: tuple[str, str]) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{proxy.url}/v1", api_key=keyed[1], max_retries=0) as client:
        yield client


@pytest.fixture
def anthropic_client(proxy: Proxy, keyed: tuple[str, str]) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=proxy.url, api_key=keyed[1], max_retries=0) as client:
        yield client


def test_a_response_is_answered_and_charged(stack: Stack, openai_client: openai.OpenAI, keyed: tuple[str, str]) -> None:
    asked = task(input=70, cached=30, output=50, reasoning=20, thought="hm")
    answer = openai_client.responses.create(
        model="chat-model", input=asked, instructions="be brief", max_output_tokens=90
    )
    assert (answer.status, answer.output_text, answer.store) == ("completed", "x " * 50, False)
    assert [item.type for item in answer.output] == ["reasoning", "message"]
    assert answer.usage is not None
    assert (answer.usage.input_tokens, answer.usage.input_tokens_details.cached_tokens) == (70, 30)
    assert (answer.usage.output_tokens, answer.usage.output_tokens_details.reasoning_tokens) == (50, 20)
    record = only_record(stack, keyed[0])
    assert record["counts"] == {"input": 40, "cached_input": 30, "output": 30, "reasoning": 20}
    assert (record["nano_eur"], record["endpoint"]) == (70 * INPUT + 50 * OUTPUT, "/v1/responses")
    assert answer.id == f"resp_{record['request_id']}"


def test_a_message_is_answered_and_charged(
    stack: Stack, anthropic_client: anthropic.Anthropic, keyed: tuple[str, str]
) -> None:
    asked = task(input=70, cached=30, output=50, reasoning=20, thought="hm")
    answer = anthropic_client.messages.create(
        model="chat-model", max_tokens=90, system="be brief", messages=[{"role": "user", "content": asked}]
    )
    assert [block.type for block in answer.content] == ["thinking", "text"]
    assert (answer.stop_reason, answer.role) == ("end_turn", "assistant")
    assert (answer.usage.input_tokens, answer.usage.cache_read_input_tokens, answer.usage.output_tokens) == (40, 30, 50)
    assert answer.usage.output_tokens_details is not None
    assert answer.usage.output_tokens_details.thinking_tokens == 20
    record = only_record(stack, keyed[0])
    assert record["counts"] == {"input": 40, "cached_input": 30, "output": 30, "reasoning": 20}
    assert (record["nano_eur"], record["endpoint"]) == (70 * INPUT + 50 * OUTPUT, "/v1/messages")


def test_a_streamed_response_tells_everything_as_it_comes(
    stack: Stack, openai_client: openai.OpenAI, keyed: tuple[str, str]
) -> None:
    with openai_client.responses.stream(model="chat-model", input=task(output=5, thought="hm")) as stream:
        kinds = [event.type for event in stream]
        answer = stream.get_final_response()
    assert kinds[:2] == ["response.created", "response.in_progress"]
    assert kinds.count("response.output_text.delta") == 5
    assert kinds.count("response.reasoning_text.delta") == 1
    assert kinds[-1] == "response.completed"
    assert (answer.output_text, answer.usage and answer.usage.output_tokens) == ("x " * 5, 5)
    record = only_record(stack, keyed[0])
    assert (record["status"], record["nano_eur"]) == ("success", 10 * INPUT + 5 * OUTPUT)


def test_a_streamed_message_tells_everything_as_it_comes(
    stack: Stack, anthropic_client: anthropic.Anthropic, keyed: tuple[str, str]
) -> None:
    asked: Any = [{"role": "user", "content": task(output=5, cached=4, thought="hm")}]
    with anthropic_client.messages.stream(model="chat-model", max_tokens=50, messages=asked) as stream:
        text = "".join(stream.text_stream)
        answer = stream.get_final_message()
    assert text == "x " * 5
    assert [block.type for block in answer.content] == ["thinking", "text"]
    assert (answer.usage.input_tokens, answer.usage.cache_read_input_tokens, answer.usage.output_tokens) == (6, 4, 5)
    assert answer.stop_reason == "end_turn"
    assert only_record(stack, keyed[0])["counts"] == {"input": 6, "cached_input": 4, "output": 5}


@pytest.mark.parametrize("streamed", [False, True])
def test_tools_are_called_and_answered_in_a_response(
    stack: Stack, openai_client: openai.OpenAI, *, streamed: bool
) -> None:
    tools: Any = [{"type": "function", "name": "look", "parameters": TOOL, "strict": False}]
    items: list[Any] = [{"role": "user", "content": task(tool="look", output=4)}]
    if streamed:
        with openai_client.responses.stream(model="chat-model", input=items, tools=tools) as stream:
            answer: Any = stream.get_final_response()
    else:
        answer = openai_client.responses.create(model="chat-model", input=items, tools=tools)
    [call] = answer.output
    assert (call.type, call.name, json.loads(call.arguments)) == ("function_call", "look", {"city": "Paris"})
    httpx.delete(f"{stack.upstream_url}/seen")
    items += [call.model_dump(exclude_none=True, exclude={"parsed_arguments"})]
    items += [{"type": "function_call_output", "call_id": call.call_id, "output": "rain"}]
    openai_client.responses.create(model="chat-model", input=items, tools=tools)
    [seen] = stack.seen()["bodies"]
    assert [message["role"] for message in seen["messages"]] == ["user", "assistant", "tool"]
    assert seen["messages"][2]["tool_call_id"] == seen["messages"][1]["tool_calls"][0]["id"] == call.call_id


@pytest.mark.parametrize("streamed", [False, True])
def test_tools_are_called_and_answered_in_messages(
    stack: Stack, anthropic_client: anthropic.Anthropic, *, streamed: bool
) -> None:
    asked: dict[str, Any] = {
        "model": "chat-model",
        "max_tokens": 50,
        "tools": [{"name": "look", "input_schema": TOOL}],
        "messages": [{"role": "user", "content": task(tool="look", output=4)}],
    }
    if streamed:
        with anthropic_client.messages.stream(**asked) as stream:
            answer: Any = stream.get_final_message()
    else:
        answer = anthropic_client.messages.create(**asked)
    [call] = answer.content
    assert (answer.stop_reason, call.type, call.name, call.input) == ("tool_use", "tool_use", "look", {"city": "Paris"})
    httpx.delete(f"{stack.upstream_url}/seen")
    asked["messages"] += [
        {"role": "assistant", "content": answer.content},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "rain"}]},
    ]
    anthropic_client.messages.create(**asked)
    [seen] = stack.seen()["bodies"]
    assert [message["role"] for message in seen["messages"]] == ["user", "assistant", "tool"]
    assert seen["messages"][2]["tool_call_id"] == seen["messages"][1]["tool_calls"][0]["id"] == call.id


def test_an_answer_that_was_cut_short_says_so(
    openai_client: openai.OpenAI, anthropic_client: anthropic.Anthropic
) -> None:
    answer = openai_client.responses.create(model="chat-model", input=task(finish="length"))
    assert answer.incomplete_details is not None
    assert (answer.status, answer.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    asked: Any = [{"role": "user", "content": task(finish="length")}]
    message = anthropic_client.messages.create(model="chat-model", max_tokens=9, messages=asked)
    assert message.stop_reason == "max_tokens"


@pytest.mark.parametrize("path", PATHS)
def test_only_a_chat_completion_reaches_the_model_with_the_tenants_salt(
    stack: Stack, proxies: list[Proxy], keyed: tuple[str, str], path: str
) -> None:
    httpx.delete(f"{stack.upstream_url}/seen")
    forged = {"user": "another", "metadata": {"tenant": "another"}, "cache_salt": "another", "priority": -1}
    for proxy in proxies:
        assert ask(proxy, keyed[1], path, **forged).status_code == 200
        assert ask(proxy, keyed[1]).status_code == 200
    seen = stack.seen()["bodies"]
    assert {body["path"] for body in seen} == {"/v1/chat/completions"}
    [salt] = {body["cache_salt"] for body in seen}
    assert salt != "another"
    assert not [body for body in seen if {"user", "metadata", "priority", "store", "previous_response_id"} & set(body)]


@pytest.mark.parametrize("path", PATHS)
def test_limits_hold_and_are_told(proxy: Proxy, new_key: NewKey, path: str) -> None:
    _, key = new_key("slow")
    wait_for_room_in_the_minute()
    for left in (2, 1, 0):
        answer = ask(proxy, key, path)
        assert answer.status_code == 200, answer.text
        assert answer.headers["x-ratelimit-remaining-requests-minute"] == str(left)
    refused = ask(proxy, key, path)
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) <= 60
    error = refused.json()["error"]
    assert error["code"] == "rate_limit_exceeded"
    if path == "/v1/messages":
        assert (refused.json()["type"], error["type"]) == ("error", "rate_limit_error")


def test_each_sdk_raises_the_error_that_it_has_for_it(
    proxy: Proxy, openai_client: openai.OpenAI, anthropic_client: anthropic.Anthropic
) -> None:
    with pytest.raises(openai.BadRequestError) as bad:
        openai_client.responses.create(model="chat-model", input="x", previous_response_id="resp_1")
    assert bad.value.param == "previous_response_id"
    with pytest.raises(openai.BadRequestError) as bad:
        openai_client.responses.create(model="chat-model", input="x", max_output_tokens=100_000)
    assert bad.value.param == "max_output_tokens"
    with pytest.raises(openai.NotFoundError):
        openai_client.responses.create(model="nobody-serves-this", input="x")
    ours: Any = [{"role": "user", "content": "x"}]
    with pytest.raises(anthropic.BadRequestError, match="max_tokens"):
        anthropic_client.messages.create(model="chat-model", max_tokens=5_000, messages=ours)
    with pytest.raises(anthropic.NotFoundError):
        anthropic_client.messages.create(model="nobody-serves-this", max_tokens=5, messages=ours)
    failing: Any = [{"role": "user", "content": task(status=500)}]
    with pytest.raises(anthropic.InternalServerError):
        anthropic_client.messages.create(model="spare-model", max_tokens=5, messages=failing)
    nobody = anthropic.Anthropic(base_url=proxy.url, api_key="sk-nobody", max_retries=0)
    with nobody, pytest.raises(anthropic.AuthenticationError):
        nobody.messages.create(model="chat-model", max_tokens=5, messages=ours)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("stream", [False, True])
def test_a_call_that_fails_costs_nothing(
    stack: Stack, proxy: Proxy, keyed: tuple[str, str], path: str, *, stream: bool
) -> None:
    answer = ask(proxy, keyed[1], path, status=500, stream=stream)
    assert answer.status_code == 500
    assert answer.json()["error"]["message"]
    record = only_record(stack, keyed[0])
    assert (record["status"], record["nano_eur"]) == ("error", 0)


@pytest.mark.parametrize("path", PATHS)
def test_a_retry_and_a_fallback_are_charged_once_by_the_model_that_answered(
    stack: Stack, proxy: Proxy, keyed: tuple[str, str], path: str
) -> None:
    assert ask(proxy, keyed[1], path, fail_first=1, name=f"{keyed[0]}{path}").status_code == 200
    answer = ask(proxy, keyed[1], path, fail_model="chat-model")
    assert answer.status_code == 200, answer.text
    first, second = stack.wait_for_records(keyed[0], 2)
    assert (first["model"], first["nano_eur"]) == ("chat-model", 10 * INPUT + 5 * OUTPUT)
    assert (second["model"], second["nano_eur"]) == ("spare-model", 2 * (10 * INPUT + 5 * OUTPUT))


def test_a_model_that_dies_in_mid_stream_ends_the_stream_with_an_error(
    stack: Stack, openai_client: openai.OpenAI, anthropic_client: anthropic.Anthropic, keyed: tuple[str, str]
) -> None:
    dying = task(output=50, die_after=7, pause=0.03)
    kinds = [event.type for event in openai_client.responses.create(model="spare-model", input=dying, stream=True)]
    assert kinds[-1] == "response.failed"
    assert kinds.count("response.output_text.delta") == 7
    asked: Any = [{"role": "user", "content": dying}]
    with pytest.raises(anthropic.APIStatusError):
        for _ in anthropic_client.messages.create(model="spare-model", max_tokens=50, messages=asked, stream=True):
            pass
    for record in stack.wait_for_records(keyed[0], 2):
        assert (record["status"], record["counts"]) == ("cut", {"input": 10, "output": 7})


@pytest.mark.parametrize("path", PATHS)
def test_a_body_that_is_too_large_or_no_json_is_refused(proxy: Proxy, keyed: tuple[str, str], path: str) -> None:
    url = f"{proxy.url}{path}"
    assert httpx.post(url, content=b"x" * 5_000_000, headers=headers(keyed[1])).status_code == 413
    for body in (b"{", b"[]", b'{"model": 1}', b"[" * 100_000, b'{"model": "chat-model"}'):
        answer = httpx.post(url, content=body, headers=headers(keyed[1]))
        assert answer.status_code == 400, body[:10]
        assert answer.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize("path", PATHS)
def test_who_has_no_key_learns_nothing_but_that(proxy: Proxy, path: str) -> None:
    for body in (request(path), {"model": "none"}, {}):
        assert httpx.post(f"{proxy.url}{path}", json=body, headers=headers("sk-nobody")).status_code == 401
