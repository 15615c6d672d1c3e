"""Calls go first: LiteLLM's own accounting of a call that was answered waits until no other is on its way to a model.

That accounting (the cost, a payload for loggers, sums of keys and teams, counters in Redis) takes a good quarter
of a call's CPU. Nobody waits for it, and in one process it holds up who does: the next call.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final

from llmaas_gateway.proxy.call import Call

# Within it LiteLLM has sent a call on to its model.
_SENT_SECONDS: Final = 0.002
# Within it a client that asks one question after the other has sent the next.
_ASKED_SECONDS: Final = 0.01
# One after the other, so that a call that comes meanwhile waits for one at most; but what hangs holds up no other.
_ALONE_SECONDS: Final = 0.1
# A proxy that is never quiet does it all the same.
_MOST_SECONDS: Final = 1.0
_DRAIN_SECONDS: Final = 10.0


class Precedence:
    """Knows which calls are on their way to a model, and lets accounting begin between them, one after the other."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Takes a clock in seconds."""
        self._clock = clock
        self._on_their_way = 0
        self._quiet_from = clock()
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._none_waits = asyncio.Event()
        self._none_waits.set()
        self._ending = False

    def begin(self) -> None:
        """A call was read: until it is handed over, it is on its way."""
        self._on_their_way += 1

    def hand_over(self, call: Call) -> None:
        """A call goes to its model."""
        self._arrived(call, _SENT_SECONDS)

    def end(self, call: Call) -> None:
        """A call is over, wherever it came to."""
        self._arrived(call, _ASKED_SECONDS)

    def _arrived(self, call: Call, pause: float) -> None:
        self._quiet_from = max(self._quiet_from, self._clock() + pause)
        if not call.handed_over:
            call.handed_over = True
            self._on_their_way -= 1

    async def after_calls(self, account: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Account for an answered call once it is quiet, or a second later at the latest."""
        asked = self._clock()
        self._waiting += 1
        self._none_waits.clear()
        try:
            async with self._turn:
                await self._quiet(asked)
                accounting = asyncio.create_task(account())
                await asyncio.wait({accounting}, timeout=_ALONE_SECONDS)
            await accounting
        finally:
            self._waiting -= 1
            if not self._waiting:
                self._none_waits.set()

    async def _quiet(self, asked: float) -> None:
        while not self._ending and (now := self._clock()) < asked + _MOST_SECONDS:
            rest = max(asked + _SENT_SECONDS, self._quiet_from) - now
            if rest <= 0 and not self._on_their_way:
                return
            await asyncio.sleep(max(rest, _SENT_SECONDS))

    async def drain(self) -> None:
        """Nothing waits for quiet any more; returns when all is accounted for, or after ten seconds."""
        self._ending = True
        try:
            await asyncio.wait_for(self._none_waits.wait(), _DRAIN_SECONDS)
        except TimeoutError:
            return
