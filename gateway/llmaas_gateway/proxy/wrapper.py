"""The outermost part: every request passes here before LiteLLM sees it, and every answer after it.

A request to a model is read whole, made safe and handed on; its answer is watched, and settled before its last byte
leaves. So a client that asks again at once finds the room that its last call gave back.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Final

from llmaas_gateway.asgi import App, Message, Receive, Scope, Send, answer
from llmaas_gateway.metrics import CONTENT_TYPE
from llmaas_gateway.proxy import bodies, endpoints
from llmaas_gateway.proxy.answers import unavailable
from llmaas_gateway.proxy.call import CURRENT, Call, Refusal
from llmaas_gateway.proxy.lifetimes import Lifetimes, ModelList
from llmaas_gateway.proxy.patience import Wait
from llmaas_gateway.proxy.precedence import Precedence
from llmaas_gateway.proxy.reply import Reply, refuse
from llmaas_gateway.proxy.settings import GatewaySettings
from llmaas_gateway.proxy.settlement import Settlement

_UNKNOWN: Final = Refusal(404, "invalid_request_error", "unknown_url", "Unknown request URL.")
# LiteLLM, which counts such calls, says so first and in its own words.
_NO_KEY: Final = Refusal(401, "invalid_request_error", "invalid_api_key", "The request carries no API key.")
# Told to who turns out to have a good one: it was made a moment ago, or PostgreSQL is away.
_UNKNOWN_KEY: Final = unavailable("The API key cannot be checked right now.")
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


class Gateway:
    """LiteLLM's application, wrapped."""

    def __init__(  # noqa: PLR0913, PLR0917 - the parts around LiteLLM
        self,
        app: App,
        settings: GatewaySettings,
        settlement: Settlement,
        running: Callable[[], AbstractAsyncContextManager[None]],
        lifetimes: Lifetimes,
        metrics: Callable[[], bytes],
        any_good: Callable[[Sequence[str]], Awaitable[bool]],
        precedence: Precedence,
    ) -> None:
        """Takes LiteLLM's application, the settings, and the parts around it.

        Args:
            app: LiteLLM's application.
            settings: of the gateway.
            settlement: settles calls.
            running: what runs beside the application.
            lifetimes: dates of the models.
            metrics: the page that Prometheus reads.
            any_good: tells whether one of some keys may be used.
            precedence: lets calls go before what nobody waits for.
        """
        self._any_good = any_good
        self._app = app
        self._lifetimes = lifetimes
        self._metrics = metrics
        self._precedence = precedence
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
            elif endpoints.is_scrape(scope["method"], scope["path"]):
                await answer(send, 200, [(b"content-type", CONTENT_TYPE.encode())], self._metrics())
            elif endpoints.is_served(scope["method"], scope["path"]):
                await self._app(scope, receive, send)
            else:
                await refuse(send, _UNKNOWN, [], None)

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        """What runs beside LiteLLM begins before it and ends after it; only then may the server end the process."""
        last: list[Message] = []

        async def hold_back(message: Message) -> None:
            if message["type"].startswith("lifespan.shutdown."):
                last.append(message)
            else:
                await send(message)

        async def nothing_left() -> Message:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                # LiteLLM then writes its sums for the last time.
                await self._precedence.drain()
            return message

        async with self._running():
            await self._app(scope, nothing_left, hold_back)
        for message in last:
            await send(message)

    async def _model_call(self, kind: str, scope: Scope, receive: Receive, send: Send) -> None:
        large = False
        try:
            raw = await _read_body(receive, self._settings.body_bytes)
        except BodyTooLargeError:
            raw, large = b"", True
        if raw is None:
            return
        fault = _TOO_LARGE if large else await self._stranger(scope, raw)
        call, content = await self._begin(kind, scope["path"], raw, fault)
        passed = {**scope, "query_string": b"", "headers": endpoints.passed_headers(scope["headers"], len(content))}
        if call.dialect is not None:
            passed |= {"path": endpoints.CHAT_PATH, "raw_path": endpoints.CHAT_PATH.encode()}
        sent = False

        async def replay() -> Message:
            nonlocal sent
            if sent:
                return await receive()
            sent = True
            return {"type": "http.request", "body": content, "more_body": False}

        notices = [] if call.model is None else self._lifetimes.headers(call.model.name)
        if large:
            # The rest of the body is not read.
            notices.append((b"connection", b"close"))
        reply = Reply(call, self._settlement, send, notices)
        wait = Wait(self._settings, replay, reply.send)
        token = CURRENT.set(call)
        self._precedence.begin()
        try:
            await wait.run(self._app(passed, wait.receive, wait.send))
            if wait.over:
                await reply.give_up(wait.refusal())
        finally:
            self._precedence.end(call)
            CURRENT.reset(token)
            # Whatever happened, and even if this task is being cancelled: the call is settled.
            if call.admitted is not None and not call.settled:
                await self._close(call, "error" if reply.failed else "abandoned")

    async def _stranger(self, scope: Scope, raw: bytes) -> Refusal | None:
        """Why a body is not worth reading: LiteLLM, which looks at the key, would read it before it does."""
        keys = endpoints.keys(scope["headers"])
        if not keys:
            return _NO_KEY
        if len(raw) <= bodies.LARGE_BYTES or await self._any_good(keys):
            return None
        return _UNKNOWN_KEY

    async def _begin(self, kind: str, path: str, raw: bytes, fault: Refusal | None) -> tuple[Call, bytes]:
        if fault is not None:
            return bodies.unread(kind, path, fault)
        if len(raw) <= bodies.LARGE_BYTES:
            return bodies.read(self._settings, kind, path, raw)
        # Others go on meanwhile.
        return await asyncio.to_thread(bodies.read, self._settings, kind, path, raw)

    async def _close(self, call: Call, status: str) -> None:
        closing = asyncio.create_task(self._settlement.settle(call, status))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
        await asyncio.shield(closing)
