"""Calls go first: LiteLLM's own accounting of a call that was answered waits until no other is on its way to a model.

That accounting (the cost, a payload for loggers, sums of keys and teams, counters in Redis) takes a good quarter
of a call's CPU. The client has its answer by then, and in one process the accounting holds up the next call.
"""

import asyncio
import logging
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
# A proxy that is never quiet does it all the same, and no longer one after the other: calls that come faster than they
# can be accounted for must feel it, or the work that waits would grow without end.
_MOST_SECONDS: Final = 0.25
# Of the time that a pod has to end; the ledger's settlements, which come after it, need the rest.
_DRAIN_SECONDS: Final = 3.0

_log = logging.getLogger(__name__)


class Precedence:
    """Knows which calls are on their way to a model, and lets accounting begin between them, one after the other."""

    def __init__(self) -> None:
        """No call is on its way, and nothing waits."""
        self._on_their_way = 0
        self._none_on_its_way = asyncio.Event()
        self._none_on_its_way.set()
        self._quiet_from = time.monotonic()
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._none_waits = asyncio.Event()
        self._none_waits.set()
        self._ending = False

    def begin(self) -> None:
        """A call was read: until it is handed over, it is on its way."""
        self._on_their_way += 1
        self._none_on_its_way.clear()

    def hand_over(self, call: Call) -> None:
        """A call goes to its model."""
        self._arrived(call, _SENT_SECONDS)

    def end(self, call: Call) -> None:
        """A call is over, wherever it came to."""
        self._arrived(call, _ASKED_SECONDS)

    def _arrived(self, call: Call, pause: float) -> None:
        self._quiet_from = max(self._quiet_from, time.monotonic() + pause)
        if not call.handed_over:
            call.handed_over = True
            self._on_their_way -= 1
            if not self._on_their_way:
                self._none_on_its_way.set()

    async def after_calls(self, account: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Account for an answered call once it is quiet and its turn, or a quarter of a second later at the latest."""
        self._waiting += 1
        self._none_waits.clear()
        try:
            if await self._turn_came():
                await self._alone(account())
            else:
                await account()
        finally:
            self._waiting -= 1
            if not self._waiting:
                self._none_waits.set()

    async def _turn_came(self) -> bool:
        """Whether it is quiet and nobody else accounts; else the longest wait is over."""
        # its own call is about to end
        earliest = time.monotonic() + _SENT_SECONDS
        try:
            async with asyncio.timeout(_MOST_SECONDS):
                await self._turn.acquire()
                try:
                    await self._quiet(earliest)
                except BaseException:
                    self._turn.release()
                    raise
        except TimeoutError:
            return False
        return True

    async def _quiet(self, earliest: float) -> None:
        while not self._ending:
            if self._on_their_way:
                await self._none_on_its_way.wait()
            elif (rest := max(earliest, self._quiet_from) - time.monotonic()) > 0:
                await asyncio.sleep(rest)
            else:
                return

    async def _alone(self, account: Coroutine[Any, Any, None]) -> None:
        """Let the next one begin when this one has ended or hangs."""
        try:
            accounting = asyncio.create_task(account)
            await asyncio.wait({accounting}, timeout=_ALONE_SECONDS)
        finally:
            self._turn.release()
        await accounting

    async def drain(self) -> None:
        """Nothing waits for quiet any more; returns when all is accounted for, or after some seconds."""
        self._ending = True
        self._none_on_its_way.set()
        try:
            async with asyncio.timeout(_DRAIN_SECONDS):
                await self._none_waits.wait()
        except TimeoutError:
            _log.warning("%d answers are missing from LiteLLM's own sums; the ledger has them", self._waiting)
