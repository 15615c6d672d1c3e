"""The outermost part: every request passes here before LiteLLM sees it, and every answer after it.

A request to a model is read whole, made safe and handed on; its answer is watched, and settled before its last byte
leaves. So a client that asks again at once finds the room that its last call gave back.
"""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

from llmaas_gateway.isolation.requests import RequestRefusedError, sanitise
from llmaas_gateway.proxy import endpoints
from llmaas_gateway.proxy.answers import bad_request, error_body, headers_of
from llmaas_gateway.proxy.call import CURRENT, Call, Refusal
from llmaas_gateway.proxy.lifetimes import Lifetimes, ModelList
from llmaas_gateway.proxy.settings import GatewaySettings
from llmaas_gateway.proxy.settlement import Settlement
from llmaas_gateway.proxy.usage import DONE, StreamReader, is_error, normalised, usage_of_body, usage_of_event

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

# What LiteLLM tells about itself: costs in no currency, addresses of servers, limits that are not the tenant's.
_HIDDEN_HEADERS: Final = (b"x-litellm-", b"x-ratelimit-", b"llm_provider-", b"server", b"x-request-id")
_UNKNOWN: Final = Refusal(404, "invalid_request_error", "unknown_url", "Unknown request URL.")
_TOO_LARGE: Final = Refusal(413, "invalid_request_error", "request_too_large", "The request body is too large.")

_log = logging.getLogger(__name__)


class BodyTooLargeError(ValueError):
    """A request has more bytes than may be sent."""


async def _read_body(receive: Receive, most: int) -> bytes | None:
    """The whole body; None if the client went away before it was sent.

    Raises:
        BodyTooLargeError: it has more than ``most`` bytes.
    """
    pieces, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        piece = message.get("body", b"")
        size += len(piece)
        if size > most:
            raise BodyTooLargeError
        pieces.append(piece)
        if not message.get("more_body", False):
            return b"".join(pieces)


async def _answer(send: Send, refusal: Refusal, headers: list[tuple[bytes, bytes]]) -> None:
    body = error_body(refusal)
    fixed = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if refusal.retry_after_seconds is not None:
        fixed.append((b"retry-after", str(refusal.retry_after_seconds).encode()))
    await send({"type": "http.response.start", "status": refusal.status, "headers": [*fixed, *headers]})
    await send({"type": "http.response.body", "body": body})


class Gateway:
    """LiteLLM's application, wrapped."""

    def __init__(
        self,
        app: App,
        settings: GatewaySettings,
        settlement: Settlement,
        running: Callable[[], AbstractAsyncContextManager[None]],
        lifetimes: Lifetimes,
    ) -> None:
        """Takes LiteLLM's application, the settings, what settles calls, what runs beside it, and models' dates."""
        self._app = app
        self._lifetimes = lifetimes
        self._settings = settings
        self._settlement = settlement
        self._running = running
        self._closing: set[asyncio.Task[None]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection's request, or the process's life."""
        if scope["type"] == "lifespan":
            await self._live(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
        else:
            kind = endpoints.model_endpoint(scope["method"], scope["path"])
            if kind is not None:
                await self._model_call(kind, scope, receive, send)
            elif endpoints.lists_models(scope["method"], scope["path"]):
                await self._app(scope, receive, ModelList(self._lifetimes, send).send)
            elif endpoints.is_served(scope["method"], scope["path"]):
                await self._app(scope, receive, send)
            else:
                await _answer(send, _UNKNOWN, [])

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        """What runs beside LiteLLM begins before it and ends after it; only then may the server end the process."""
        last: list[Message] = []

        async def hold_back(message: Message) -> None:
            if message["type"].startswith("lifespan.shutdown."):
                last.append(message)
            else:
                await send(message)

        async with self._running():
            await self._app(scope, receive, hold_back)
        for message in last:
            await send(message)

    async def _model_call(self, kind: str, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            body = await _read_body(receive, self._settings.body_bytes)
        except BodyTooLargeError:
            await _answer(send, _TOO_LARGE, [(b"connection", b"close")])
            return
        if body is None:
            return
        call = self._begin(kind, scope["path"], body)
        content = json.dumps(call.body, ensure_ascii=False).encode("utf-8", "surrogatepass")
        passed = {**scope, "query_string": b"", "headers": endpoints.passed_headers(scope["headers"], len(content))}
        sent = False

        async def replay() -> Message:
            nonlocal sent
            if sent:
                return await receive()
            sent = True
            return {"type": "http.request", "body": content, "more_body": False}

        notices = [] if call.model is None else self._lifetimes.headers(call.model.name)
        answer = _Answer(call, self._settlement, send, notices)
        token = CURRENT.set(call)
        try:
            await self._app(passed, replay, answer.send)
        finally:
            CURRENT.reset(token)
            # Whatever happened, and even if this task is being cancelled: the call is settled.
            if call.admitted is not None and not call.settled:
                await self._close(call, "error" if answer.failed else "abandoned")

    async def _close(self, call: Call, status: str) -> None:
        call.usage = normalised(call.usage)
        closing = asyncio.create_task(self._settlement.settle(call, status))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
        await asyncio.shield(closing)

    def _begin(self, kind: str, path: str, raw: bytes) -> Call:
        """The call with what of its body may pass; what is wrong with it is told only to who has a valid key."""
        try:
            body = json.loads(raw)
        except (ValueError, RecursionError):
            return Call(path, kind, None, {"model": ""}, fault=bad_request("The body is not valid JSON."))
        if not isinstance(body, dict) or not isinstance(body.get("model"), str):
            fault = bad_request("The body must be an object that names a model.", "model")
            return Call(path, kind, None, {"model": ""}, fault=fault)
        model = self._settings.models_by_name.get(body["model"])
        if model is None:
            return Call(path, kind, None, {"model": body["model"]})
        try:
            passed = sanitise(kind, body, model.bounds(self._settings.body_bytes))
        except RequestRefusedError as error:
            fault = bad_request(str(error), error.parameter)
            return Call(path, kind, model, {"model": body["model"]}, fault=fault)
        except RecursionError:
            return Call(
                path, kind, model, {"model": body["model"]}, fault=bad_request("The body is nested too deeply.")
            )
        passed.pop("stream_options", None)
        if passed.get("stream"):
            # Every stream ends with its usage, whatever the client wishes.
            passed["stream_options"] = {"include_usage": True}
        return Call(path, kind, model, passed)


class _Answer:
    """The answer to one call on its way to the client."""

    def __init__(self, call: Call, settlement: Settlement, send: Send, notices: list[tuple[bytes, bytes]]) -> None:
        self._call = call
        self._notices = notices
        self._settlement = settlement
        self._send = send
        self._start: Message | None = None
        self._streamed = False
        self._replaced = False
        self._body: list[bytes] = []
        self._reader = StreamReader()
        self.failed = True

    async def send(self, message: Message) -> None:
        """What LiteLLM sends; passed on with our headers, or replaced by our refusal."""
        if self._replaced:
            return
        if self._call.refusal is not None and self._start is None:
            self._replaced = True
            await _answer(self._send, self._call.refusal, headers_of(self._call))
        elif message["type"] == "http.response.start":
            await self._begin(message)
        elif message["type"] != "http.response.body":
            await self._send(message)
        elif self._streamed:
            await self._pass_piece(message)
        else:
            self._body.append(message.get("body", b""))
            if not message.get("more_body", False):
                await self._pass_whole()

    async def _begin(self, message: Message) -> None:
        self._start = message
        headers = {name.lower(): value for name, value in message["headers"]}
        self.failed = message["status"] >= 400
        self._streamed = headers.get(b"content-type", b"").startswith(b"text/event-stream")
        if self._streamed:
            await self._send(self._with_headers(message))

    def _with_headers(self, message: Message) -> Message:
        kept = [(name, value) for name, value in message["headers"] if not name.lower().startswith(_HIDDEN_HEADERS)]
        return {**message, "headers": [*kept, *headers_of(self._call), *self._notices]}

    async def _pass_whole(self) -> None:
        body = b"".join(self._body)
        if not self.failed:
            self._call.usage = usage_of_body(body)
        else:
            # A failed call costs nothing, whatever a try of it may have told.
            self._call.usage, self._call.pieces = None, 0
        await self._settlement.settle(self._call, "error" if self.failed else "success")
        if self._start is not None:
            await self._send(self._with_headers(self._start))
        await self._send({"type": "http.response.body", "body": body})

    async def _pass_piece(self, message: Message) -> None:
        for data in self._reader.events(message.get("body", b"")):
            if is_error(data):
                self.failed = True
                await self._settle_stream("cut")
            elif data == DONE:
                await self._settle_stream("success")
            elif (usage := usage_of_event(data)) is not None:
                self._call.usage = usage
        if not message.get("more_body", False) and not self._call.settled:
            await self._settle_stream("cut")
        await self._send(message)

    async def _settle_stream(self, status: str) -> None:
        self._call.usage = normalised(self._call.usage)
        await self._settlement.settle(self._call, status)
