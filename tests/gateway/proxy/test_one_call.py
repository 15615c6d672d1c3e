"""What one call is charged, whatever becomes of it."""

import json
from collections.abc import Callable
from typing import Any

import httpx

from .stack import Proxy, Stack

NewKey = Callable[..., tuple[str, str]]


def ask(proxy: Proxy, key: str, *, path: str = "/v1/chat/completions", **body: Any) -> httpx.Response:
    task = {name: body.pop(name) for name in list(body) if name in TASK}
    text = json.dumps(task)
    content = {"messages": [{"role": "user", "content": text}]} if "chat" in path else {"prompt": text}
    if "embeddings" in path:
        content = {"input": text}
    request = {"model": "chat-model", **content, **body}
    return httpx.post(f"{proxy.url}{path}", json=request, headers={"Authorization": f"Bearer {key}"}, timeout=60)


TASK = {"input", "cached", "output", "reasoning", "delay", "pause", "status", "fail_first", "die_after", "name"}


def test_a_call_is_charged_by_its_usage(stack: Stack, proxy: Proxy, new_key: NewKey) -> None:
    tenant, key = new_key("open")
    answer = ask(proxy, key, input=100, cached=30, output=50, reasoning=20, max_tokens=60)
    assert answer.status_code == 200, answer.text
    [record] = stack.wait_for_records(tenant, 1)
    assert record["counts"] == {"input": 70, "cached_input": 30, "output": 30, "reasoning": 20}
    assert record["nano_eur"] == 100 * 1_800 + 50 * 8_000
    assert record["status"] == "success"
