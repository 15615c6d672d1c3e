"""Calls of every kind that carry a canary's marker, and how each of them must end."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import httpx

from llmaas.verify.canary.marker import Canary

CHAT: Final = "/v1/chat/completions"
COMPLETIONS: Final = "/v1/completions"
EMBEDDINGS: Final = "/v1/embeddings"
MESSAGES: Final = "/v1/messages"
RESPONSES: Final = "/v1/responses"
ANSWERED: Final = frozenset({200})
GONE: Final = frozenset({0})
# With which error a call fails is the subject of other tests; here it must only fail.
REFUSED: Final = frozenset(range(400, 600))
# What an endpoint says that the catalogue may have a model for, or not.
EITHER: Final = ANSWERED | REFUSED
_ANSWER_TOKENS: Final = 48
_LONG_ANSWER_TOKENS: Final = 400
_TOO_LARGE_BYTES: Final = 5 * 1024 * 1024

Way = Literal["whole", "stream", "leave in the stream", "leave before the answer"]


@dataclass(frozen=True)
class CanaryCall:
    """One call.

    Attributes:
        kind: what it tries, in words.
        body: JSON, or bytes as they are.
        ends: statuses of HTTP with which it may end.
        way: how the client behaves.
        key: None for the caller's own.
    """

    kind: str
    path: str
    body: dict[str, Any] | bytes = field(repr=False)
    ends: frozenset[int]
    way: Way = "whole"
    key: str | None = None


@dataclass
class Outcome:
    """How a call ended: the status (0: the client left), and the answer's text, which nobody may keep either."""

    call: CanaryCall
    status: int
    answer: str = field(default="", repr=False)

    @property
    def as_expected(self) -> bool:
        """Whether it was of the kind that it should be; one that was not has tried nothing."""
        return self.status in self.call.ends


def calls(canary: Canary, model: str, context_tokens: int) -> list[CanaryCall]:
    """All calls to ``model`` that need nothing but a key."""
    text, mark = canary.text, canary.marker
    messages = [{"role": "system", "content": text}, {"role": "user", "content": text}]

    def chat(**more: Any) -> dict[str, Any]:
        return {"model": model, "messages": messages, "max_tokens": _ANSWER_TOKENS, **more}

    tool = {"name": "look", "description": text, "parameters": {"type": "object", "description": text}}
    schema = {"name": "answer", "schema": {"type": "object", "description": text, "properties": {}}}
    image = [{"type": "image_url", "image_url": {"url": f"https://{mark}.invalid/{mark}.png"}}]
    long_answer = chat(max_tokens=_LONG_ANSWER_TOKENS)
    message = {"model": model, "system": text, "messages": messages[1:], "max_tokens": _ANSWER_TOKENS}
    response = {"model": model, "instructions": text, "input": text, "max_output_tokens": _ANSWER_TOKENS}
    refused: list[tuple[str, dict[str, Any] | bytes]] = [
        ("unknown parameter", chat(**{mark: mark})),
        ("parameter of a wrong type", chat(temperature=mark)),
        ("bound of a wrong type", chat(max_tokens=mark)),
        ("bound exceeded", chat(n=100_000, stop=[mark])),
        ("messages of a wrong type", {"model": model, "messages": text}),
        ("media from elsewhere", {"model": model, "messages": [{"role": "user", "content": image}]}),
        ("more than the context", chat(messages=[{"role": "user", "content": f"{text} " * context_tokens}])),
        ("value that the model server refuses", chat(top_p=7)),
        ("unknown model", chat(model="no-such-model")),
        ("no model", {"messages": messages}),
        ("body that is no JSON", f'{{"model": "{model}", "messages": [{{"content": "{text}'.encode()),
        ("body that is no object", json.dumps([text]).encode()),
        ("body that is too large", chat(messages=[{"role": "user", "content": text + "x" * _TOO_LARGE_BYTES + text}])),
    ]
    return [
        CanaryCall("answer", CHAT, chat(), ANSWERED),
        CanaryCall("stream", CHAT, chat(stream=True), ANSWERED, "stream"),
        CanaryCall("completion", COMPLETIONS, {"model": model, "prompt": text, "max_tokens": 8}, ANSWERED),
        CanaryCall("fields that are the gateway's", CHAT, chat(user=mark, metadata={"a": text}), EITHER),
        # Some templates know roles of their own.
        CanaryCall("role that is none", CHAT, chat(messages=[{"role": mark, "content": text}]), EITHER),
        CanaryCall("tools", CHAT, chat(tools=[{"type": "function", "function": tool}]), EITHER),
        CanaryCall(
            "answer by a schema", CHAT, chat(response_format={"type": "json_schema", "json_schema": schema}), EITHER
        ),
        CanaryCall("embedding", EMBEDDINGS, {"model": model, "input": [text, text]}, EITHER),
        CanaryCall("message", MESSAGES, message, ANSWERED),
        CanaryCall("streamed message", MESSAGES, {**message, "stream": True}, ANSWERED, "stream"),
        CanaryCall("response", RESPONSES, response, ANSWERED),
        CanaryCall("streamed response", RESPONSES, {**response, "stream": True}, ANSWERED, "stream"),
        CanaryCall("client gone in the stream", CHAT, {**long_answer, "stream": True}, GONE, "leave in the stream"),
        CanaryCall("client gone before the answer", CHAT, long_answer, GONE, "leave before the answer"),
        *(CanaryCall(kind, CHAT, body, REFUSED) for kind, body in refused),
        CanaryCall("wrong completion", COMPLETIONS, {"model": model, "prompt": {mark: text}}, REFUSED),
        CanaryCall("wrong embedding", EMBEDDINGS, {"model": model, "input": {mark: text}}, REFUSED),
        CanaryCall("message with a server to call", MESSAGES, {**message, "mcp_servers": [{"url": text}]}, REFUSED),
        CanaryCall("wrong message", MESSAGES, {**message, "system": {mark: text}}, REFUSED),
        CanaryCall("response that needs a memory", RESPONSES, {**response, "previous_response_id": mark}, REFUSED),
        CanaryCall("response to be kept", RESPONSES, {**response, "store": True}, REFUSED),
        CanaryCall("wrong response", RESPONSES, {**response, "input": [{mark: text}]}, REFUSED),
        CanaryCall("unknown endpoint", "/v1/no-such-endpoint", chat(), REFUSED),
        CanaryCall("wrong key", CHAT, chat(), frozenset({401}), key="sk-no-such-key"),
        CanaryCall("no key", CHAT, chat(), frozenset({401}), key=""),
    ]


def send(http: httpx.Client, call: CanaryCall, key: str, on_first_piece: Callable[[], None] | None = None) -> Outcome:
    """Make a call.

    Args:
        http: with the API's address.
        call: what is sent.
        key: of a tenant.
        on_first_piece: done when a streamed answer has begun.

    Returns:
        How it ended; a connection that the other side ended is a status of 502.
    """
    content = call.body if isinstance(call.body, bytes) else json.dumps(call.body).encode()
    headers = {"content-type": "application/json"}
    if token := key if call.key is None else call.key:
        headers["authorization"] = f"Bearer {token}"
    timeout = httpx.Timeout(0.05, connect=10, write=30) if call.way == "leave before the answer" else http.timeout
    answer = ""
    try:
        with http.stream("POST", call.path, content=content, headers=headers, timeout=timeout) as response:
            for piece in response.iter_text():
                if not answer and on_first_piece:
                    on_first_piece()
                answer += piece
                if call.way == "leave in the stream":
                    return Outcome(call, 0 if response.is_success else response.status_code, _text(answer))
        return Outcome(call, response.status_code, _text(answer))
    except httpx.ReadTimeout:
        return Outcome(call, 0 if call.way == "leave before the answer" else 504, _text(answer))
    except httpx.TransportError:
        return Outcome(call, 502, _text(answer))


def _text(answer: str) -> str:
    """What the model said, of a whole answer or of the pieces of a stream; errors have said nothing of their own."""
    said = []
    for line in answer.splitlines():
        try:
            said += _told(json.loads(line.removeprefix("data:")))
        except (ValueError, AttributeError):
            continue
    return "".join(said)


def _told(content: Any) -> list[str]:
    """The texts in a JSON object of any of the APIs; what is told again at a stream's end is not counted twice."""
    if not isinstance(content, dict):
        return []
    delta = content.get("delta")
    parts = [
        *(choice.get("message") or choice.get("delta") or choice for choice in content.get("choices", [])),
        *(part for item in content.get("output", []) for part in item.get("content", [])),
        *(content["content"] if isinstance(content.get("content"), list) else []),
        *([delta] if isinstance(delta, dict) else []),
    ]
    said = [str(part.get("content") or part.get("text") or "") for part in parts]
    return [*said, delta] if isinstance(delta, str) else said
