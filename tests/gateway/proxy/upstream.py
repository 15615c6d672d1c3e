"""A model server that speaks OpenAI's API and does what the prompt says, so that a test knows what it must be billed.

The last message (or the prompt) is a JSON object: ``input``, ``cached``, ``output`` and ``reasoning`` tokens, ``delay``
seconds before the answer and ``pause`` between pieces of a stream, ``status`` to fail with, ``fail_first`` to fail so
many times before, ``fail_model`` to fail as that model alone, ``die_after`` pieces; ``silent`` to answer nothing or,
with ``silent_after`` pieces, no more until the caller goes; ``held`` to wait for a ``POST /release``; ``thought`` to
tell before the answer, ``tool`` to call instead of a text, with the arguments ``{"city": "Paris"}``, ``finish`` for
another reason to end, ``untold`` for a stream without usage. Of several prompts the first says all but the tokens that
each has. ``GET /seen`` tells the bodies that came, ``DELETE /seen``
forgets them.

Run by uvicorn with LiteLLM's packages: ``uvicorn upstream:app``.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from llmaas_gateway.asgi import JSON, Receive, Scope, Send, answer

_ARGUMENTS = '{"city": "Paris"}'
_seen: list[dict[str, Any]] = []
_failures: dict[str, int] = {}
_gone: list[int] = []
_released = asyncio.Event()


def _tasks(body: dict[str, Any]) -> list[dict[str, Any]]:
    """What each prompt says."""
    if "messages" in body:
        said = [message["content"] for message in body["messages"] if message["role"] == "user"]
        text = (said or [body["messages"][-1]["content"]])[-1]
        texts = [text[0].get("text") if isinstance(text, list) else text]
    else:
        prompt = body.get("prompt", body.get("input"))
        # A list of numbers is one prompt.
        texts = prompt if isinstance(prompt, list) and isinstance(prompt[0], str) else [prompt]
    return [{"input": 10, "output": 5, **_said(text)} for text in texts]


def _said(text: Any) -> dict[str, Any]:
    try:
        task = json.loads(text)
    except (TypeError, ValueError):
        return {}
    return task if isinstance(task, dict) else {}


def _choices(body: dict[str, Any], tasks: list[dict[str, Any]]) -> int:
    """How many there are over all prompts; those of the first prompt come first."""
    return (body.get("n") or 1) * len(tasks)


def _usage(tasks: list[dict[str, Any]], *produced: int) -> dict[str, Any]:
    """Of prompts, and of choices that have so many tokens."""
    prompt, completion = sum(task["input"] for task in tasks), sum(produced)
    reasoning = sum(min(number, tasks[0].get("reasoning", 0)) for number in produced)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": sum(task.get("cached", 0) for task in tasks)},
        "completion_tokens_details": {"reasoning_tokens": reasoning},
    }


async def _body(receive: Receive) -> bytes:
    content = b""
    while True:
        message = await receive()
        content += message.get("body", b"")
        if not message.get("more_body"):
            return content


async def _reply(send: Send, status: int, content: Any) -> None:
    await answer(send, status, [JSON], json.dumps(content).encode())


def _whole(path: str, body: dict[str, Any], tasks: list[dict[str, Any]]) -> dict[str, Any]:
    task, number = tasks[0], _choices(body, tasks)
    common = {"id": "up-1", "model": body["model"], "created": 1, "usage": _usage(tasks, *[task["output"]] * number)}
    text = "x " * task["output"]
    message: dict[str, Any] = {"role": "assistant", "content": text}
    if "thought" in task:
        message["reasoning_content"] = task["thought"]
    if "tool" in task:
        message |= {"content": None, "tool_calls": [_tool_call(task["tool"], _ARGUMENTS)]}
    reason = "tool_calls" if "tool" in task else task.get("finish", "stop")
    if path.endswith("/embeddings"):
        usage = {"prompt_tokens": task["input"], "total_tokens": task["input"]}
        data = [{"object": "embedding", "index": 0, "embedding": [0.5, 0.25]}]
        return {**common, "object": "list", "data": data, "usage": usage}
    if path.endswith("/chat/completions"):
        kind, choice = "chat.completion", {"finish_reason": reason, "message": message}
    else:
        kind, choice = "text_completion", {"finish_reason": "stop", "text": text}
    return {**common, "object": kind, "choices": [{"index": index, **choice} for index in range(number)]}


def _tool_call(name: str | None, arguments: str) -> dict[str, Any]:
    begun = {} if name is None else {"id": "call-1", "type": "function"}
    return {**begun, "function": {"arguments": arguments} if name is None else {"name": name, "arguments": arguments}}


def _piece(task: dict[str, Any], number: int) -> dict[str, Any]:
    """A text, or of a tool's call first the name and then its arguments in two pieces."""
    if "tool" not in task:
        return {"delta": {"content": "x "}}
    if number == 1:
        call = _tool_call(task["tool"], "")
    else:
        call = _tool_call(None, {2: _ARGUMENTS[:4], 3: _ARGUMENTS[4:]}.get(number, ""))
    return {"delta": {"tool_calls": [{"index": 0, **call}]}}


async def _pieces(path: str, body: dict[str, Any], tasks: list[dict[str, Any]]) -> AsyncIterator[bytes]:
    """As vLLM does: each piece has one choice, and the usage of that alone; the last has the sum of all."""
    task, choices = tasks[0], range(_choices(body, tasks))
    chat = path.endswith("/chat/completions")
    common = {"id": "up-1", "model": body["model"], "created": 1}
    common["object"] = "chat.completion.chunk" if chat else "text_completion"
    options = {} if task.get("untold") else body.get("stream_options") or {}
    continuous = options.get("continuous_usage_stats")

    def event(choices: list[dict[str, Any]], usage: dict[str, Any] | None) -> bytes:
        return b"data: " + json.dumps({**common, "choices": choices, "usage": usage}).encode() + b"\n\n"

    if "thought" in task:
        yield event([{"index": 0, "finish_reason": None, "delta": {"reasoning_content": task["thought"]}}], None)

    def piece(index: int, produced: int, content: dict[str, Any], reason: str | None = None) -> bytes:
        prompt = tasks[index * len(tasks) // len(choices)]
        usage = _usage([prompt], produced) if continuous else None
        return event([{"index": index, "finish_reason": reason, **content}], usage)

    for number in range(1, task["output"] + 1):
        if task.get("die_after") == number - 1:
            raise ConnectionResetError
        for index in choices:
            yield piece(index, number, _piece(task, number) if chat else {"text": "x "})
            await asyncio.sleep(task.get("pause", 0))
    reason = "tool_calls" if "tool" in task else task.get("finish", "stop")
    for index in choices:
        yield piece(index, task["output"], {"delta": {}} if chat else {"text": ""}, reason)
    if options.get("include_usage"):
        yield event([], _usage(tasks, *[task["output"]] * len(choices)))
    yield b"data: [DONE]\n\n"


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _stream(path: str, body: dict[str, Any], tasks: list[dict[str, Any]], receive: Receive, send: Send) -> None:
    task = tasks[0]
    gone = asyncio.Event()

    async def watch() -> None:
        await _until_gone(receive)
        gone.set()

    watcher = asyncio.create_task(watch())
    headers = [(b"content-type", b"text/event-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    sent = 0
    async for piece in _pieces(path, body, tasks):
        if task.get("silent_after") == sent:
            await gone.wait()
        if gone.is_set():
            _gone.append(sent)
            return
        await send({"type": "http.response.body", "body": piece, "more_body": True})
        sent += 1
    watcher.cancel()
    await send({"type": "http.response.body", "body": b""})


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] != "http":
        return
    if scope["path"] == "/seen":
        if scope["method"] == "DELETE":
            _seen.clear()
            _gone.clear()
            _released.clear()
        await _reply(send, 200, {"bodies": _seen, "gone_after": _gone})
        return
    if scope["path"] == "/release":
        _released.set()
        await _reply(send, 200, {})
        return
    body = json.loads(await _body(receive))
    _seen.append({"path": scope["path"], **body})
    tasks = _tasks(body)
    task = tasks[0]
    await asyncio.sleep(task.get("delay", 0))
    if task.get("held"):
        await _released.wait()
    if task.get("silent"):
        await _until_gone(receive)
        _gone.append(0)
        return
    name = task.get("name", "")
    if _failures.setdefault(name, 0) < task.get("fail_first", 0):
        _failures[name] += 1
        await _reply(send, 500, {"error": {"message": "asked to fail", "type": "server_error"}})
    elif "status" in task or task.get("fail_model") == body["model"]:
        await _reply(send, task.get("status", 500), {"error": {"message": "asked to fail", "type": "server_error"}})
    elif body.get("stream"):
        await _stream(scope["path"], body, tasks, receive, send)
    else:
        await _reply(send, 200, _whole(scope["path"], body, tasks))
