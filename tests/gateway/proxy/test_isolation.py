"""Nothing reaches a model but what a tenant may ask for, and nobody reaches one by another way."""

import json
import time
import uuid
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from .client import ask, error_of, headers, request
from .stack import MASTER_KEY, Proxy, Stack

NewKey = Callable[..., tuple[str, str]]

FORGED = {
    "cache_salt": "another tenant's",
    "metadata": {"tenant": "another", "tags": ["fast"]},
    "user": "another",
    "priority": -10,
    "service_tier": "priority",
    "fallbacks": ["spare-model"],
    "api_base": "http://127.0.0.1:9/v1",
    "mock_response": "free of charge",
    "extra_body": {"cache_salt": "another", "priority": -10},
}


def test_what_a_client_forges_never_reaches_the_model(stack: Stack, proxy: Proxy, new_key: NewKey) -> None:
    _, key = new_key("open")
    httpx.delete(f"{stack.upstream_url}/seen")
    sent = {**request("/v1/chat/completions"), **FORGED}
    forged = {**headers(key), "x-litellm-tags": "fast", "x-litellm-timeout": "1", "x-litellm-num-retries": "9"}
    answer = httpx.post(f"{proxy.url}/v1/chat/completions?timeout=1", json=sent, headers=forged, timeout=60)
    assert answer.status_code == 200, answer.text
    [seen] = stack.seen()["bodies"]
    assert set(seen) == {"path", "model", "messages", "max_tokens", "stream", "cache_salt"}
    assert seen["cache_salt"] != FORGED["cache_salt"]
    httpx.delete(f"{stack.upstream_url}/seen")
    sent = {**request("/v1/embeddings"), "cache_salt": "another tenant's", "user": "another", "priority": -10}
    assert httpx.post(f"{proxy.url}/v1/embeddings", json=sent, headers=forged, timeout=60).status_code == 200
    [embedded] = stack.seen()["bodies"]
    assert set(embedded) == {"path", "model", "input", "cache_salt"}
    assert embedded["cache_salt"] == seen["cache_salt"]


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "multipart/form-data; boundary=b", "text/plain"])
def test_a_body_is_read_as_it_was_made_safe_whatever_the_client_calls_it(
    stack: Stack, proxy: Proxy, new_key: NewKey, kind: str
) -> None:
    _, key = new_key("open")
    httpx.delete(f"{stack.upstream_url}/seen")
    prompt = "&model=spare-model&prompt=smuggled&n=64&priority=-1000&cache_salt=mine&z="
    body = json.dumps({"model": "chat-model", "prompt": prompt, "max_tokens": 5})
    called = {**headers(key), "content-type": kind}
    answer = httpx.post(f"{proxy.url}/v1/completions", content=body, headers=called, timeout=60)
    assert answer.status_code == 200, answer.text
    [seen] = stack.seen()["bodies"]
    assert (seen["model"], seen["prompt"]) == ("chat-model", prompt)
    assert seen["cache_salt"] != "mine"
    assert not {"n", "priority", "z"} & set(seen)


def test_each_tenant_has_a_salt_of_its_own_at_every_endpoint_and_replica(
    stack: Stack, proxies: list[Proxy], new_key: NewKey
) -> None:
    salts = []
    for _ in range(2):
        _, key = new_key("open")
        httpx.delete(f"{stack.upstream_url}/seen")
        for path, stream in (
            ("/v1/chat/completions", False),
            ("/v1/chat/completions", True),
            ("/v1/completions", True),
            ("/v1/responses", False),
            ("/v1/messages", True),
            ("/v1/embeddings", False),
        ):
            for proxy in proxies:
                assert ask(proxy, key, path, **({"stream": True} if stream else {})).status_code == 200
        [salt] = {body["cache_salt"] for body in stack.seen()["bodies"]}
        salts.append(salt)
    assert salts[0] != salts[1]


def test_parameters_of_the_model_pass(stack: Stack, proxy: Proxy, new_key: NewKey) -> None:
    _, key = new_key("open")
    httpx.delete(f"{stack.upstream_url}/seen")
    wanted = {"temperature": 0.5, "top_k": 3, "min_p": 0.1, "repetition_penalty": 1.1, "seed": 7, "stop": ["x"], "n": 2}
    assert ask(proxy, key, **wanted).status_code == 200
    [seen] = stack.seen()["bodies"]
    assert {name: seen[name] for name in wanted} == wanted


@pytest.mark.parametrize(
    ("fields", "parameter"),
    [
        ({"max_tokens": 5_000}, "max_tokens"),
        ({"n": 50}, "n"),
        ({"guided_json": {}}, "guided_json"),
        ({"extra_body": {"model": "chat-model,chat-model"}}, "extra_body"),
        ({"tools": [{"type": "mcp", "server_url": "http://127.0.0.1:9"}]}, "tools[0]"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://x/y"}}]}]},
            None,
        ),
    ],
)
def test_what_is_out_of_bounds_is_refused_before_the_model(
    stack: Stack, proxy: Proxy, new_key: NewKey, fields: dict[str, Any], parameter: str | None
) -> None:
    _, key = new_key("open")
    httpx.delete(f"{stack.upstream_url}/seen")
    answer = ask(proxy, key, **fields)
    assert answer.status_code == 400
    assert parameter is None or error_of(answer)["param"] == parameter
    assert stack.seen()["bodies"] == []


def test_a_body_that_is_too_large_or_no_json_is_refused(proxy: Proxy, new_key: NewKey) -> None:
    _, key = new_key("open")
    url = f"{proxy.url}/v1/chat/completions"
    assert httpx.post(url, content=b"x" * 5_000_000, headers=headers(key)).status_code == 413
    for body in (b"{", b"[]", b'{"model": 1}', b"[" * 100_000, b""):
        answer = httpx.post(url, content=body, headers=headers(key))
        assert answer.status_code == 400, body[:10]


def test_a_large_body_goes_on_for_a_key_that_was_made_just_now_and_for_no_other(
    stack: Stack, proxy: Proxy, new_key: NewKey
) -> None:
    large = {**request("/v1/chat/completions"), "messages": [{"role": "user", "content": "x" * 100_000}]}

    def status(key: str) -> int:
        answer = httpx.post(f"{proxy.url}/v1/chat/completions", json=large, headers=headers(key), timeout=60)
        return answer.status_code

    _, key = new_key("open")
    assert status(key) == 200
    assert status("sk-nobody") == 401
    # not by the memory of this replica alone
    stack.admin.post(f"{proxy.url}/key/block", json={"key": key}).raise_for_status()
    assert status(key) == 401


def test_who_has_no_key_learns_nothing_but_that(proxy: Proxy) -> None:
    for body in (request("/v1/chat/completions"), {"model": "chat-model", "foo": 1}, {"model": "none"}, {}):
        answer = httpx.post(f"{proxy.url}/v1/chat/completions", json=body, headers=headers("sk-nobody"))
        assert answer.status_code == 401


def test_a_key_without_a_tenant_reaches_no_model(stack: Stack, proxy: Proxy) -> None:
    assert error_of(ask(proxy, MASTER_KEY))["code"] == "no_tenant"
    made = stack.admin.post(f"{proxy.url}/key/generate", json={}).raise_for_status().json()
    assert error_of(ask(proxy, made["key"]))["code"] == "no_tenant"


def test_an_unknown_model_is_named_as_such(proxy: Proxy, new_key: NewKey) -> None:
    _, key = new_key("open")
    answer = ask(proxy, key, model="nobody-serves-this")
    assert (answer.status_code, error_of(answer)["code"]) == (404, "model_not_found")


WAYS_AROUND = [
    "/v1/engines/chat-model/chat/completions", "/engines/chat-model/completions", "/openai/v1/chat/completions",
    "/openai/deployments/chat-model/chat/completions", "/v1/messages/count_tokens",
    "/v1/messages/batches", "/v1/responses/compact", "/v1/responses/resp_1/cancel", "/openai/v1/responses",
    "/v1/rerank",
    "/v1/audio/transcriptions", "/v1/audio/speech", "/v1/images/generations", "/v1/moderations", "/v1/batches",
    "/v1beta/models/chat-model:generateContent", "/models/chat-model:generateContent", "/vllm/v1/chat/completions",
    "/anthropic/v1/messages", "/v1/assistants", "/v1/threads", "/v1/files", "/health/test_connection",
    "/utils/token_counter",
    "/mcp/", "/a2a/agent", "/v1/chat/completions/", "//v1/chat/completions", "/v1/v1/chat/completions",
    "/queue/chat/completions", "/cursor/chat/completions", "/guardrails/apply_guardrail", "/prompts/test",
    "/usage/ai/chat", "/v1/usage/ai/chat", "/key/health", "/key/v1/files", "/team/v1/batches", "/llmaas/v1/batches",
    "/user/mcp", "/models/mcp", "/ui/mcp", "/login/mcp", "/.well-known/oauth-protected-resource/x",
]  # fmt: skip


@pytest.mark.parametrize("path", WAYS_AROUND)
def test_no_other_way_leads_to_a_model(stack: Stack, proxy: Proxy, path: str) -> None:
    httpx.delete(f"{stack.upstream_url}/seen")
    for key in (MASTER_KEY, "sk-nobody"):
        answer = httpx.post(f"{proxy.url}{path}", json=request("/chat/completions"), headers=headers(key), timeout=60)
        assert answer.status_code == 404
    assert stack.seen()["bodies"] == []


def test_no_reading_leads_to_a_model(stack: Stack, proxy: Proxy) -> None:
    httpx.delete(f"{stack.upstream_url}/seen")
    assert httpx.get(f"{proxy.url}/health", headers=headers(MASTER_KEY)).status_code == 404
    assert httpx.get(f"{proxy.url}/v1/chat/completions", headers=headers(MASTER_KEY)).status_code == 404
    assert httpx.get(f"{proxy.url}/v1/models", headers=headers(MASTER_KEY)).status_code == 200
    assert stack.seen()["bodies"] == []


def test_an_answer_tells_nothing_about_servers_behind_it(proxy: Proxy, new_key: NewKey) -> None:
    _, key = new_key("open")
    names = set(ask(proxy, key).headers)
    assert not [name for name in names if name.startswith(("x-litellm", "llm_provider", "server"))]


def test_no_text_of_a_request_stands_in_the_logs_or_the_databases_tables(
    stack: Stack, proxy: Proxy, new_key: NewKey
) -> None:
    _, key = new_key("open")
    marker = f"marker{uuid.uuid4().hex}"
    for fields in ({}, {"stream": True}, {"status": 400}, {"status": 500}, {"n": 50}, {"fail_model": "chat-model"}):
        ask(proxy, key, name=marker, **fields)
        for path in ("/v1/completions", "/v1/responses", "/v1/messages"):
            ask(proxy, key, path, name=marker, **fields)
    ask(proxy, key, "/v1/embeddings", name=marker)
    time.sleep(2)
    assert marker in str(stack.seen())
    assert marker not in proxy.log.read_text()
    assert marker not in stack.dump()
