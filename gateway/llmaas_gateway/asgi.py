"""ASGI as the gateway's parts speak it with the server, with LiteLLM and with one another."""

from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any, Final

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Header = tuple[bytes, bytes]

JSON: Final[Header] = (b"content-type", b"application/json")


async def answer(send: Send, status: int, headers: Sequence[Header], body: bytes) -> None:
    """Send an answer that is whole; its length is added to the headers."""
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})
