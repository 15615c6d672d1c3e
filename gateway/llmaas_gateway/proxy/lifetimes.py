"""What a model's life adds to answers: entries of the list of models, headers of calls to a model that ends."""

import json
from datetime import UTC, datetime
from typing import Final

from llmaas_gateway.asgi import Message, Send, answer
from llmaas_gateway.lifecycle import Lifecycle

_OK: Final = 200


class Lifetimes:
    """The catalogue's dates, as tenants see them today; nothing where the platform gives no lifecycle file."""

    def __init__(self, lifecycle: Lifecycle | None) -> None:
        """Takes what ``read_lifecycle`` read."""
        self._lifecycle = lifecycle

    def headers(self, model: str) -> list[tuple[bytes, bytes]]:
        """``Deprecation``, ``Sunset`` and ``Link`` of a call to a model; none unless it ends."""
        if self._lifecycle is None:
            return []
        life = self._lifecycle.at(datetime.now(UTC)).get(model)
        named = {} if life is None else life.headers
        return [(name.lower().encode(), value.encode("latin-1")) for name, value in named.items()]

    def completed(self, body: bytes) -> bytes:
        """The list of models, or one of them, with what is said of each today; any other body as it is."""
        try:
            content = json.loads(body)
        except ValueError:
            return body
        if self._lifecycle is None or not isinstance(content, dict):
            return body
        lives = self._lifecycle.at(datetime.now(UTC))
        listed = content.get("data")
        for entry in listed if isinstance(listed, list) else [content]:
            if isinstance(entry, dict) and (life := lives.get(str(entry.get("id")))):
                entry.update(life.listed())
        return json.dumps(content, ensure_ascii=False).encode()


class ModelList:
    """The answer to a question for the list of models, held back until it is whole."""

    def __init__(self, lifetimes: Lifetimes, send: Send) -> None:
        """Takes the dates and the client's side."""
        self._lifetimes = lifetimes
        self._send = send
        self._start: Message = {}
        self._body: list[bytes] = []

    async def send(self, message: Message) -> None:
        """What LiteLLM sends."""
        if message["type"] == "http.response.start":
            self._start = message
        elif message["type"] == "http.response.body":
            self._body.append(message.get("body", b""))
            if not message.get("more_body", False):
                await self._pass()

    async def _pass(self) -> None:
        body = b"".join(self._body)
        if self._start["status"] == _OK:
            body = self._lifetimes.completed(body)
        kept = [(name, value) for name, value in self._start["headers"] if name.lower() != b"content-length"]
        await answer(self._send, self._start["status"], kept, body)
