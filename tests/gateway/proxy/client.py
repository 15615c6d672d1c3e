"""A tenant's requests; what the model server shall do is said in the prompt (see ``upstream``)."""

import json
import time
from typing import Any

import httpx

from .stack import EMBEDDING_MODEL, Proxy

_TASK = {
    "input", "cached", "output", "reasoning", "delay", "pause", "status", "fail_first", "fail_model", "die_after",
    "name", "thought", "tool", "finish", "silent", "silent_after", "held", "untold",
}  # fmt: skip


def request(path: str, **fields: Any) -> dict[str, Any]:
    """The body of a request: words of the task go into the prompt, all else is as a client would send it."""
    text = json.dumps({name: fields.pop(name) for name in list(fields) if name in _TASK})
    if path.endswith("/embeddings"):
        return {"model": EMBEDDING_MODEL, "input": text, **fields}
    content: dict[str, Any] = {"prompt": text, "max_tokens": 100}
    if path.endswith(("/chat/completions", "/messages")):
        content = {"messages": [{"role": "user", "content": text}], "max_tokens": 100}
    elif path.endswith("/responses"):
        content = {"input": text, "max_output_tokens": 100}
    return {"model": "chat-model", **content, **fields}


def headers(key: str) -> dict[str, str]:
    """The tenant's key as OpenAI's clients send it."""
    return {"Authorization": f"Bearer {key}"}


def ask(proxy: Proxy, key: str, path: str = "/v1/chat/completions", **fields: Any) -> httpx.Response:
    """One request and its whole answer."""
    return httpx.post(f"{proxy.url}{path}", json=request(path, **fields), headers=headers(key), timeout=60)


def task(**said: Any) -> str:
    """A prompt that says what the model server shall do."""
    return json.dumps(said)


def events(answer: httpx.Response) -> list[dict[str, Any]]:
    """The events of a stream without its end mark."""
    data = [line[6:] for line in answer.text.splitlines() if line.startswith("data: ")]
    return [json.loads(item) for item in data if item != "[DONE]"]


def hang_up(proxy: Proxy, key: str, after: int, path: str = "/v1/chat/completions", **fields: Any) -> int:
    """Begin a stream and go away after so many pieces of text; how many had come."""
    body = request(path, stream=True, **fields)
    seen = 0
    with httpx.stream("POST", f"{proxy.url}{path}", json=body, headers=headers(key), timeout=60) as answer:
        for line in answer.iter_lines():
            seen += line.startswith("data: ") and '"x "' in line
            if seen >= after:
                break
    return seen


def error_of(answer: httpx.Response) -> dict[str, Any]:
    """OpenAI's error object."""
    error: dict[str, Any] = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error


def wait_for_room_in_the_minute(seconds: float = 20) -> None:
    """Let the next minute begin if this one ends within ``seconds``: limits of a minute begin anew with it."""
    left = 60 - time.time() % 60
    if left < seconds:
        time.sleep(left + 0.1)
