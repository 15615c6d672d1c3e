"""Nothing of a client's request reaches a model but what it may ask for."""

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from llmaas_gateway.isolation.requests import (
    ALLOWED,
    OURS,
    Bounds,
    RequestRefusedError,
    cache_salt,
    most_output_tokens,
    sanitise,
)

BOUNDS = Bounds(context_tokens=1024)
CHAT: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Bonjour"}]}


@pytest.mark.parametrize("field", sorted(OURS))
def test_what_is_ours_to_set_is_dropped(field: str) -> None:
    assert sanitise("chat", {**CHAT, field: "forged"}, BOUNDS) == CHAT
    assert sanitise("chat", {**CHAT, "extra_body": {field: "forged"}}, BOUNDS) == CHAT


@given(st.dictionaries(st.text(min_size=1), st.none() | st.integers() | st.text(), max_size=5))
def test_no_field_passes_that_is_not_on_the_list(extra: dict[str, Any]) -> None:
    try:
        passed = sanitise("chat", {**CHAT, **extra}, BOUNDS)
    except RequestRefusedError:
        return
    assert set(passed) <= ALLOWED["chat"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("n", 5), ("n", 0), ("n", True), ("n", "2"), ("max_tokens", 1025), ("max_tokens", 0), ("max_tokens", 1.5),
        ("max_completion_tokens", -1), ("min_tokens", 2000), ("prompt_logprobs", 1), ("truncate_prompt_tokens", 1),
        ("guided_json", {}), ("extra_body", {"kv_transfer_params": {}}), ("extra_body", "x"),
    ],
)  # fmt: skip
def test_what_is_out_of_bounds_or_not_on_the_list_is_refused_by_name(field: str, value: Any) -> None:
    with pytest.raises(RequestRefusedError) as caught:
        sanitise("chat", {**CHAT, field: value}, BOUNDS)
    assert caught.value.parameter == field


def test_bounds_cannot_be_passed_through_extra_body() -> None:
    with pytest.raises(RequestRefusedError, match="max_tokens"):
        sanitise("chat", {**CHAT, "extra_body": {"max_tokens": 10**9}}, BOUNDS)


@pytest.mark.parametrize("model", ["m", "another", "m,m,m"])
def test_the_model_that_was_looked_at_is_the_one_that_is_asked(model: str) -> None:
    with pytest.raises(RequestRefusedError, match="no model"):
        sanitise("chat", {**CHAT, "extra_body": {"model": model}}, BOUNDS)


@pytest.mark.parametrize("messages", ["x", {}, [CHAT["messages"]], [*CHAT["messages"], "x"]])
def test_messages_are_one_conversation(messages: Any) -> None:
    with pytest.raises(RequestRefusedError, match="messages: must be a list of objects"):
        sanitise("chat", {**CHAT, "messages": messages}, BOUNDS)


@pytest.mark.parametrize(("kind", "field"), [("embedding", "input"), ("completion", "prompt")])
def test_texts_are_so_many_at_once(kind: str, field: str) -> None:
    for most in (["a"] * 2048, [[1]] * 2048, [1] * 5000):
        assert sanitise(kind, {"model": "m", field: most}, BOUNDS)[field] == most
    for more in (["a"] * 2049, [[1]] * 2049):
        with pytest.raises(RequestRefusedError, match="2048 texts at once, not 2049"):
            sanitise(kind, {"model": "m", field: more}, BOUNDS)


def test_media_that_would_be_fetched_are_refused_and_inline_ones_pass() -> None:
    def chat(url: str) -> dict[str, Any]:
        return {
            "model": "m",
            "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}],
        }

    for url in ("http://169.254.169.254/latest", "https://example.org/a.png", "file:///etc/passwd", "FTP://x"):
        with pytest.raises(RequestRefusedError, match="data: URL"):
            sanitise("chat", chat(url), BOUNDS)
    sanitise("chat", chat("data:image/png;base64,AAAA"), BOUNDS)


def test_an_endpoint_that_is_not_served_is_refused() -> None:
    with pytest.raises(RequestRefusedError, match="not served"):
        sanitise("image_generation", {}, BOUNDS)


def test_salts_differ_between_tenants_and_secrets_and_are_plain_letters_and_digits() -> None:
    salts = {cache_salt(secret, tenant, "2026-11") for secret in (b"a", b"b") for tenant in ("x", "y", "")}
    assert len(salts) == 6
    assert all(re.fullmatch(r"[a-z0-9]{32}", salt) for salt in salts)
    assert cache_salt(b"a", "x", "2026-11") == cache_salt(b"a", "x", "2026-11")


def test_the_salt_of_a_tenant_is_another_one_each_month() -> None:
    assert len({cache_salt(b"a", "x", month) for month in ("2026-11", "2026-12", "2027-11")}) == 3


def test_the_most_output_is_bounded_by_the_context_and_multiplied_by_the_choices() -> None:
    assert most_output_tokens({"max_tokens": 100}, BOUNDS, 24) == 100
    assert most_output_tokens({}, BOUNDS, 24) == 1000
    assert most_output_tokens({"max_tokens": 100, "n": 3}, BOUNDS, 24) == 300
    assert most_output_tokens({"max_tokens": 100}, BOUNDS, 2000) == 0
    assert most_output_tokens({"max_tokens": 100, "prompt": ["a", "b"], "n": 2}, BOUNDS, 1) == 400
    assert most_output_tokens({"max_tokens": 100, "prompt": [1, 2, 3]}, BOUNDS, 1) == 100


@pytest.mark.parametrize("tool", [{"type": "mcp", "server_url": "https://example.org"}, {"type": "web_search"}, "x"])
def test_a_tool_that_would_make_the_proxy_call_somewhere_is_refused(tool: Any) -> None:
    with pytest.raises(RequestRefusedError, match="function"):
        sanitise("chat", {**CHAT, "tools": [{"type": "function", "function": {"name": "f"}}, tool]}, BOUNDS)


def test_a_file_that_would_be_fetched_is_refused() -> None:
    content = [{"type": "file", "file": {"file_id": "https://example.org/a.mp4"}}]
    with pytest.raises(RequestRefusedError, match="data: URL"):
        sanitise("chat", {**CHAT, "messages": [{"role": "user", "content": content}]}, BOUNDS)


@pytest.mark.parametrize("prompt", ["text", ["a", "b"], [1, 2], [[1, 2], [3]]])
def test_a_prompt_may_be_texts_or_tokens(prompt: Any) -> None:
    assert sanitise("completion", {"model": "m", "prompt": prompt}, BOUNDS)["prompt"] == prompt


@pytest.mark.parametrize("prompt", [{"a": "b"}, 5, [], ["a", 1], [["a"]], [True], [{"text": "a"}]])
def test_a_prompt_of_another_type_is_the_clients_mistake(prompt: Any) -> None:
    with pytest.raises(RequestRefusedError) as refused:
        sanitise("completion", {"model": "m", "prompt": prompt}, BOUNDS)
    assert refused.value.parameter == "prompt"


@pytest.mark.parametrize(
    ("body", "parameter"),
    [
        ({"messages": [{"role": "user", "content": "\ud83d"}]}, "messages[0].content"),
        ({"messages": [{"content": [{"type": "text", "text": "a\udc00b"}]}]}, "messages[0].content[0].text"),
        ({"stop": ["a", "\ud800"]}, "stop[1]"),
        ({"tools": [{"type": "function", "function": {"\ud800": 1}}]}, r"tools[0].function.\ud800"),
        ({"extra_body": {"stop": "\ud800"}}, "extra_body.stop"),
        ({"user": "\ud800"}, "user"),
        ({"\ud800": 1}, r"\ud800"),
    ],
)  # fmt: skip
def test_half_a_surrogate_pair_is_refused_wherever_it_stands(body: dict[str, Any], parameter: str) -> None:
    with pytest.raises(RequestRefusedError, match="surrogate pair") as refused:
        sanitise("chat", {**CHAT, **body}, BOUNDS)
    assert refused.value.parameter == parameter


def test_whole_surrogate_pairs_are_characters() -> None:
    body = json.loads(r'{"model": "m", "messages": [{"role": "user", "content": "\ud83d\ude00 \u00e9"}]}')
    assert sanitise("chat", body, BOUNDS)["messages"][0]["content"] == "\U0001f600 é"
