"""How long a call waits for a model that keeps silent; then the call is ended, whatever LiteLLM still waits for.

LiteLLM is told that the client went away, which ends its own request to the model in every phase of a stream; where it
does not listen for that, its task is cancelled. A cancelled task alone would leave the model at work for nobody:
LiteLLM does not pass a cancellation on while it waits for the first piece of a stream.
"""

import asyncio
from collections.abc import Awaitable
from typing import Final

from llmaas_gateway.asgi import Message, Receive, Send
from llmaas_gateway.proxy.call import Refusal
from llmaas_gateway.proxy.settings import GatewaySettings

_STATUS: Final = 504
_GONE: Final[Message] = {"type": "http.disconnect"}
# What LiteLLM may take to close what it has open.
_FAREWELL_SECONDS: Final = 1.0


class Wait:
    """The clock of one call; it stands still while the client takes what it was sent.

    Attributes:
        over: whether the call was ended because nothing came.
    """

    def __init__(self, settings: GatewaySettings, receive: Receive, send: Send) -> None:
        """Takes how long to wait, what comes from the client, and where to send what LiteLLM sends."""
        self._answer_seconds, self._silence_seconds = settings.answer_seconds, settings.silence_seconds
        self._receive = receive
        self._send = send
        self._loop = asyncio.get_running_loop()
        self._end = asyncio.timeout(None)
        self._listening: set[asyncio.Timeout] = set()
        self._alarm = self._loop.call_later(self._answer_seconds, self._give_up)
        self._begun = False
        self.over = False

    async def run(self, work: Awaitable[None]) -> None:
        """Wait for the work, which receives and sends by this."""
        try:
            async with self._end:
                await work
        except Exception:
            # Also where LiteLLM makes another error of its being ended.
            if not self.over:
                raise
        finally:
            self._alarm.cancel()

    def _give_up(self) -> None:
        self.over = True
        farewell = _FAREWELL_SECONDS if self._listening else 0
        for listening in self._listening:
            listening.reschedule(self._loop.time())
        self._end.reschedule(self._loop.time() + farewell)

    async def receive(self) -> Message:
        """What comes from the client; that it went away, once the call is over."""
        if self.over:
            return _GONE
        listening = asyncio.timeout(None)
        try:
            async with listening:
                self._listening.add(listening)
                return await self._receive()
        except TimeoutError:
            if not listening.expired():
                raise
            return _GONE
        finally:
            self._listening.discard(listening)

    async def send(self, message: Message) -> None:
        """Pass a message on; the clock begins anew after it, unless it is the last one."""
        if self.over:
            return
        self._begun = True
        self._alarm.cancel()
        await self._send(message)
        if message["type"] == "http.response.start" or message.get("more_body", False):
            self._alarm = self._loop.call_later(self._silence_seconds, self._give_up)

    def refusal(self) -> Refusal:
        """What the client is told."""
        if self._begun:
            text = f"The model sent nothing for {self._silence_seconds:g} seconds; its answer ends here."
        else:
            text = f"The model did not answer within {self._answer_seconds:g} seconds. Please retry."
        return Refusal(_STATUS, "server_error", "gateway_timeout", text)
