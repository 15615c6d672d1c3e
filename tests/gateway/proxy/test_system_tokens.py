"""Tokens of system messages are counted by the model's tokenizer, charged and told apart from the rest."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import anthropic
import httpx
import openai
import pytest
import yaml

from .client import ask, error_of, events, headers, request
from .stack import Proxy, Stack, running

NewKey = Callable[..., tuple[str, str]]
SYSTEM = "Answer in one sentence, in French, and say when you do not know."


# A tokenizer to which every word is a token.
TOKENIZER = {
    "version": "1.0",
    "truncation": None,
    "padding": None,
    "added_tokens": [],
    "normalizer": None,
    "pre_tokenizer": {"type": "WhitespaceSplit"},
    "post_processor": None,
    "decoder": None,
    "model": {"type": "WordLevel", "vocab": {"[UNK]": 0}, "unk_token": "[UNK]"},
}
TOKENS = len(SYSTEM.split())


@pytest.fixture(scope="module")
def counting(stack: Stack) -> Iterator[Proxy]:
    """A replica that has a tokenizer of its first model; all that the model server adds is its chat template's."""
    path = stack.folder / "tokenizer.json"
    path.write_text(json.dumps(TOKENIZER))
    models = yaml.safe_load((stack.folder / "gateway.yaml").read_text())["models"]
    models[0] |= {"tokenizer": str(path), "template_tokens": 200}
    proxy = Proxy(stack, "counting", models=models)
    with running([proxy]):
        yield proxy


def with_system(path: str, **task: Any) -> dict[str, Any]:
    """Fields of a request that says it, in the words of each API."""
    if path.endswith("/messages"):
        return {"system": SYSTEM, **task}
    if path.endswith("/responses"):
        return {"instructions": SYSTEM, **task}
    [message] = request(path, **task)["messages"]
    return {"messages": [{"role": "system", "content": SYSTEM}, message]}


def message_of(task: dict[str, Any]) -> dict[str, Any]:
    """What Anthropic's SDK is asked, without a system message."""
    said = [{"role": "user", "content": json.dumps(task)}]
    return {"model": "chat-model", "max_tokens": 90, "messages": said}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/v1/responses"])
def test_system_tokens_are_charged_apart(
    stack: Stack, counting: Proxy, new_key: NewKey, path: str, *, stream: bool
) -> None:
    tenant, key = new_key("open")
    task = {"input": 100, "cached": 30, "output": 5}
    answer = ask(counting, key, path, stream=stream, **with_system(path, **task))
    assert answer.status_code == 200, answer.text
    [record] = stack.wait_for_records(tenant, 1)
    expected = {"input": 70 - TOKENS, "cached_input": 30, "system": TOKENS, "output": 5}
    assert record["counts"] == expected
    assert record["nano_eur"] == 100 * 1_000 + 5 * 10_000  # no price of its own: that of input


@pytest.mark.parametrize("stream", [False, True])
def test_system_tokens_are_told_in_the_usage(counting: Proxy, new_key: NewKey, *, stream: bool) -> None:
    _, key = new_key("open")
    answer = ask(counting, key, stream=stream, **with_system("/v1/chat/completions", input=100, cached=30))
    told = [event["usage"] for event in events(answer) if event.get("usage")] if stream else [answer.json()["usage"]]
    [usage] = told
    assert usage["prompt_tokens"] == 100
    assert usage["prompt_tokens_details"]["cached_tokens"] == 30
    assert usage["prompt_tokens_details"]["system_tokens"] == TOKENS


@pytest.mark.parametrize("streamed", [False, True])
def test_a_response_tells_them_among_its_input(counting: Proxy, new_key: NewKey, *, streamed: bool) -> None:
    _, key = new_key("open")
    asked: dict[str, Any] = {
        "model": "chat-model",
        "instructions": SYSTEM,
        "input": json.dumps({"input": 100, "cached": 30}),
        "max_output_tokens": 90,
    }
    with openai.OpenAI(base_url=f"{counting.url}/v1", api_key=key, max_retries=0) as client:
        if streamed:
            with client.responses.stream(**asked) as stream:
                answer: Any = stream.get_final_response()
        else:
            answer = client.responses.create(**asked)
    details = answer.usage.input_tokens_details
    assert (answer.usage.input_tokens, details.cached_tokens, details.system_tokens) == (100, 30, TOKENS)


def test_a_message_tells_them_beside_its_input(counting: Proxy, new_key: NewKey) -> None:
    _, key = new_key("open")
    asked = {**message_of({"input": 100, "cached": 30}), "system": SYSTEM}
    with anthropic.Anthropic(base_url=counting.url, api_key=key, max_retries=0) as client:
        usage: Any = client.messages.create(**asked).usage
        assert (usage.input_tokens, usage.cache_read_input_tokens, usage.system_tokens) == (70, 30, TOKENS)
        with client.messages.stream(**asked) as stream:
            [last] = [event for event in stream if event.type == "message_delta"]
            final = stream.get_final_message()
    usage = last.usage
    assert (usage.input_tokens, usage.cache_read_input_tokens, usage.system_tokens) == (70, 30, TOKENS)
    assert (final.usage.input_tokens, final.usage.output_tokens) == (70, 5)


def test_what_is_cached_of_them_is_not_told_again(counting: Proxy, new_key: NewKey) -> None:
    _, key = new_key("open")
    with anthropic.Anthropic(base_url=counting.url, api_key=key, max_retries=0) as client:
        usage: Any = client.messages.create(**message_of({"input": 60, "cached": 60}), system=SYSTEM).usage
    assert (usage.input_tokens, usage.cache_read_input_tokens, usage.system_tokens) == (0, 60, 0)


def test_without_system_messages_none_are_told(counting: Proxy, new_key: NewKey) -> None:
    _, key = new_key("open")
    with anthropic.Anthropic(base_url=counting.url, api_key=key, max_retries=0) as client:
        assert "system_tokens" not in client.messages.create(**message_of({})).usage.model_dump()
    details = ask(counting, key, "/v1/responses").json()["usage"]["input_tokens_details"]
    assert "system_tokens" not in details


def test_a_cached_beginning_of_the_prompt_has_its_own_price(stack: Stack, counting: Proxy, new_key: NewKey) -> None:
    tenant, key = new_key("open")
    task = with_system("/v1/chat/completions", input=60, cached=60 - TOKENS // 2)
    assert ask(counting, key, **task).status_code == 200
    [record] = stack.wait_for_records(tenant, 1)
    assert record["counts"]["system"] == TOKENS // 2
    assert "input" not in record["counts"]


def _post(proxy: Proxy, key: str, path: str, body: str) -> httpx.Response:
    return httpx.post(f"{proxy.url}{path}", content=body, headers=headers(key), timeout=60)


@pytest.mark.parametrize(
    ("path", "parameter"),
    [
        ("/v1/chat/completions", "messages[0].content"),
        ("/v1/completions", "prompt"),
        ("/v1/embeddings", "input"),
        ("/v1/responses", "messages[0].content"),
        ("/v1/messages", "messages[0].content"),
    ],
)
def test_half_a_surrogate_pair_which_no_tokenizer_takes_is_the_clients_mistake(
    counting: Proxy, new_key: NewKey, path: str, parameter: str
) -> None:
    _, key = new_key("open")
    answer = _post(counting, key, path, json.dumps(request(path)).replace('"{}"', r'"\ud800"'))
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"] if path.endswith("/messages") else error_of(answer)
    assert error["message"].startswith(f"{parameter}: holds half of a surrogate pair")


def test_half_a_surrogate_pair_names_no_model(counting: Proxy, new_key: NewKey) -> None:
    _, key = new_key("open")
    body = json.dumps(request("/v1/chat/completions", model="\ud800"))
    answer = _post(counting, key, "/v1/chat/completions", body)
    assert (answer.status_code, error_of(answer)["code"]) == (404, "model_not_found")


def test_tokenizers_that_cannot_be_used_end_the_start_and_are_all_named(stack: Stack) -> None:
    right, wrong = stack.folder / "right.json", stack.folder / "wrong.json"
    right.write_text(json.dumps(TOKENIZER))
    wrong.write_text("{}")
    models = yaml.safe_load((stack.folder / "gateway.yaml").read_text())["models"]
    chat, spare, _, embedding = models
    chat["tokenizer"] = str(stack.folder / "missing.json")
    spare |= {"tokenizer": str(right), "tokenizer_sha256": "0" * 64}
    embedding["tokenizer"] = str(wrong)
    with pytest.raises(ChildProcessError) as ended, running([Proxy(stack, "without-tokenizer", models=models)]):
        pass
    told = str(ended.value)
    assert f"the gateway cannot start: models: chat-model: tokenizer: {stack.folder}/missing.json: No such file" in told
    assert f"models: spare-model: tokenizer: {right}: SHA-256 is " in told
    assert f"models: embedding-model: tokenizer: {wrong}: is no tokenizer" in told
