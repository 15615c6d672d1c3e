"""The answer to one call on its way to the client: watched, settled before its last byte, told in the client's API."""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from llmaas_gateway.asgi import JSON, Header, Message, Send, answer
from llmaas_gateway.dialects.blocks import AnswerError, BlockStream, Tokens, answer_of, tokens_of
from llmaas_gateway.dialects.dialect import Dialect
from llmaas_gateway.proxy.answers import error_of, headers_of
from llmaas_gateway.proxy.call import Call, Refusal
from llmaas_gateway.proxy.settlement import Settlement
from llmaas_gateway.proxy.usage import (
    DONE,
    StreamReader,
    is_error,
    is_object,
    texts_of_body,
    told_usage,
    usage_of_body,
    usage_of_event,
    with_system_tokens,
)

_log = logging.getLogger(__name__)

# What LiteLLM tells about itself: costs in no currency, addresses of servers, limits that are not the tenant's.
_HIDDEN_HEADERS: Final = (b"x-litellm-", b"x-ratelimit-", b"llm_provider-", b"server", b"x-request-id")
_BROKEN: Final[Mapping[str, Any]] = {
    "message": "The model ended its answer before it was whole.",
    "type": "server_error",
    "param": None,
    "code": "broken_answer",
}


async def refuse(
    send: Send, refusal: Refusal, headers: Sequence[Header], dialect: Dialect | None, identity: str = ""
) -> None:
    """Answer with a refusal, in the words of the client's API."""
    body = _error_body(refusal.status, error_of(refusal), dialect, identity)
    fixed = [JSON]
    if refusal.retry_after_seconds is not None:
        fixed.append((b"retry-after", str(refusal.retry_after_seconds).encode()))
    await answer(send, refusal.status, [*fixed, *headers], body)


def _error_body(status: int, error: Mapping[str, Any], dialect: Dialect | None, identity: str) -> bytes:
    told = {"error": dict(error)} if dialect is None else dialect.error(status, error, identity)
    return json.dumps(told).encode()


def _told_error(body: bytes) -> Mapping[str, Any]:
    """OpenAI's error object in a body; ours, where there is none."""
    try:
        error = json.loads(body)["error"]
    except (ValueError, KeyError, TypeError):
        return _BROKEN
    return error if isinstance(error, Mapping) else _BROKEN


class Reply:
    """The answer to one call."""

    def __init__(self, call: Call, settlement: Settlement, send: Send, notices: Sequence[Header]) -> None:
        """Takes the call, what settles it, the client's side, and headers to add."""
        self._call = call
        self._notices = notices
        self._settlement = settlement
        self._send = send
        self._start: Message | None = None
        self._streamed = False
        self._over = False
        self._body: list[bytes] = []
        self._reader = StreamReader()
        self._told: BlockStream | None = None
        self.failed = True

    async def send(self, message: Message) -> None:
        """What LiteLLM sends; passed on with our headers, or replaced by our refusal."""
        if self._over:
            return
        call = self._call
        if call.refusal is not None and self._start is None:
            self._over = True
            await refuse(self._send, call.refusal, self._added(), call.dialect, call.identity)
        elif message["type"] == "http.response.start":
            await self._begin(message)
        elif message["type"] != "http.response.body":
            await self._send(message)
        elif self._streamed:
            await self._pass_piece(message)
        elif self._start is not None:
            self._body.append(message.get("body", b""))
            if not message.get("more_body", False):
                await self._pass_whole(self._start)

    async def give_up(self, refusal: Refusal) -> None:
        """End the answer here: what of a stream has come is charged, and a call without an answer costs nothing."""
        call, self.failed = self._call, True
        if not self._streamed:
            await self._settle_failed()
            if not self._over:
                await refuse(self._send, refusal, self._added(), call.dialect, call.identity)
        elif not self._over:
            error = error_of(refusal)
            told = [b"data: " + json.dumps({"error": error}).encode() + b"\n\n"]
            if call.settled:
                told = []
            elif self._told is not None:
                told = list(self._told.failed(refusal.status, error))
            await self._settlement.settle(call, "cut")
            await self._send({"type": "http.response.body", "body": b"".join(told), "more_body": False})
        self._over = True

    async def _begin(self, message: Message) -> None:
        self._start = message
        headers = {name.lower(): value for name, value in message["headers"]}
        self.failed = message["status"] >= 400
        self._streamed = headers.get(b"content-type", b"").startswith(b"text/event-stream")
        if self._streamed:
            if self._call.dialect is not None:
                self._told = self._call.dialect.stream(self._call.identity)
            await self._send({**message, "headers": self._headers(message)})

    def _headers(self, start: Message) -> list[Header]:
        kept = [(name, value) for name, value in start["headers"] if not name.lower().startswith(_HIDDEN_HEADERS)]
        return [*kept, *self._added()]

    def _added(self) -> list[Header]:
        return [*headers_of(self._call), *self._notices]

    async def _pass_whole(self, start: Message) -> None:
        body = b"".join(self._body)
        status: int = start["status"]
        usage = None if self.failed else usage_of_body(body)
        if not self.failed and usage is None and not is_object(body):
            # An answer that nobody could charge is none.
            self.failed, status, body = True, 502, _error_body(502, _BROKEN, None, self._call.identity)
        if self._call.dialect is not None:
            status, told = self._in_dialect(self._call.dialect, status, body, usage)
        else:
            told = with_system_tokens(body, usage, self._call.system_tokens)
        if self.failed:
            await self._settle_failed()
        else:
            self._call.usage = usage
            if usage is None:
                _log.warning("request %s: its answer tells no usage; charged by what is known", self._call.identity)
                self._call.said = texts_of_body(body)
            await self._settlement.settle(self._call, "success")
        kept = [(name, value) for name, value in self._headers(start) if name.lower() != b"content-length"]
        await answer(self._send, status, kept, told)

    def _in_dialect(
        self, dialect: Dialect, status: int, body: bytes, usage: Mapping[str, Any] | None
    ) -> tuple[int, bytes]:
        if self.failed:
            return status, _error_body(status, _told_error(body), dialect, self._call.identity)
        try:
            told_as = told_usage(usage, self._call.system_tokens)
            told = dialect.whole(answer_of(body, self._call.identity, told_as))
        except AnswerError:
            self.failed = True
            return 502, _error_body(502, _BROKEN, dialect, self._call.identity)
        return status, json.dumps(told, ensure_ascii=False).encode("utf-8", "replace")

    async def _pass_piece(self, message: Message) -> None:
        told: list[bytes] = []
        for data in self._reader.events(message.get("body", b"")):
            if is_error(data):
                self.failed = True
                await self._settlement.settle(self._call, "cut")
            elif data == DONE:
                await self._settlement.settle(self._call, "success")
            elif (usage := usage_of_event(data)) is not None:
                self._call.usage = usage
                if self._told is None:
                    # LiteLLM sends each event whole.
                    piece = message["body"].replace(data, with_system_tokens(data, usage, self._call.system_tokens))
                    message = {**message, "body": piece}
            told += self._translated(data)
        last = not message.get("more_body", False)
        if last and not self._call.settled:
            await self._settlement.settle(self._call, "cut")
        if self._told is not None:
            if last and not self._over:
                told += self._told.failed(502, _BROKEN)
            message = {**message, "body": b"".join(told), "more_body": not (last or self._over)}
        await self._send(message)

    def _translated(self, data: bytes) -> Iterator[bytes]:
        """An event in the words of the client's API; the last of them ends the answer."""
        stream = self._told
        if stream is None or self._over:
            return
        try:
            if is_error(data):
                self._over = True
                yield from stream.failed(502, _told_error(data))
            elif data == DONE:
                self._over = True
                yield from stream.finish(self._tokens())
            else:
                yield from stream.feed(data, self._tokens())
        except AnswerError:
            self._over = True
            yield from stream.failed(502, _BROKEN)

    def _tokens(self) -> Tokens:
        return tokens_of(told_usage(self._call.usage_so_far, self._call.system_tokens))

    async def _settle_failed(self) -> None:
        """A failed call costs nothing, whatever a try of it may have told."""
        self._call.forget_usage()
        await self._settlement.settle(self._call, "error")
