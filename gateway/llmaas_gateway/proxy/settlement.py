"""Every call is settled once: at the end of its answer, or later if the ledger is away then.

Settlements that could not be made wait here and are tried again until they are. While calls run, their reservations are
renewed. A ledger that lost its memory is rebuilt by whichever replica comes first.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import Any, Final
from zoneinfo import ZoneInfo

from llmaas_gateway.charging import UsageError
from llmaas_gateway.ledger.ledger import Ledger, LedgerLostError, LedgerUnavailableError
from llmaas_gateway.ledger.memory import TRACE_SECONDS
from llmaas_gateway.ledger.records import CallRecord
from llmaas_gateway.proxy.away import Allowances
from llmaas_gateway.proxy.call import Admitted, Call
from llmaas_gateway.proxy.costs import Costs

_TURN_SECONDS: Final = 0.5
# Tried again when the ledger keeps no trace of it any more, a settlement could be charged twice.
LATEST_SECONDS: Final = TRACE_SECONDS - 200
# So far back a Redis that lost power may have forgotten what it said; it writes its file to the disk once a second.
_FORGOTTEN_SECONDS: Final = 30

_log = logging.getLogger(__name__)

Rebuild = Callable[[], Awaitable[bool]]


class _Turn(Enum):
    """How a round of what waits ended."""

    DONE = auto()
    AWAY = auto()
    FAILED = auto()


@dataclass(frozen=True, slots=True)
class _Owed:
    """A settlement to be made.

    Attributes:
        call: is told what was charged, as long as anybody waits for that.
        away: what of it counts among what was spent without the ledger, until it is settled.
    """

    identity: str
    call: Call | None
    admitted: Admitted
    nano_eur: int
    output_tokens: int
    record: dict[str, Any]
    since: float
    away: int


class Settlement:
    """Settles calls, holds their reservations meanwhile, and brings back a lost ledger."""

    def __init__(  # noqa: PLR0913, PLR0917 - the parts that it settles with
        self,
        ledger: Ledger,
        costs: Costs,
        allowances: Allowances,
        zone: ZoneInfo,
        lease: timedelta,
        rebuild: Rebuild,
    ) -> None:
        """Takes the ledger and prices, the time zone, how long a reservation holds, and what rebuilds the ledger."""
        self._ledger = ledger
        self._costs = costs
        self._allowances = allowances
        self._zone = zone
        self._lease = lease
        self._rebuild = rebuild
        self._running: dict[str, tuple[Call, float]] = {}
        self._owed: deque[_Owed] = deque()
        self._paid: deque[tuple[float, _Owed]] = deque()
        self._cancels: deque[str] = deque()
        self._settling = 0
        self._turning = asyncio.Lock()
        self._lost = asyncio.Event()

    @property
    def owed(self) -> int:
        """How many settlements wait for the ledger."""
        return len(self._owed)

    def began(self, call: Call) -> None:
        """A reservation is held for the call from now on."""
        self._running[call.identity] = (call, time.monotonic() + self._lease.total_seconds() / 3)

    def ledger_failed(self, error: LedgerUnavailableError, *, cancel: str | None = None) -> None:
        """The ledger did not answer; ``cancel`` names a reservation that it may have made all the same."""
        if isinstance(error, LedgerLostError):
            self._lost.set()
        elif cancel is not None:
            self._cancels.append(cancel)

    def gave_up(self, identity: str) -> None:
        """Nobody waits any more for a reservation that the ledger may have made: it is released soon."""
        self._cancels.append(identity)

    def redis_restarted(self) -> None:
        """Its last settlements may be forgotten: they are made again, and those that it knows change nothing."""
        latest = time.monotonic() - LATEST_SECONDS
        self._owed.extend(owed for _, owed in self._paid if owed.since > latest)
        self._paid.clear()
        self._lost.set()

    async def settle(self, call: Call, status: str) -> None:
        """Charge the call by the usage that is known of it; only the first time does anything.

        Args:
            call: an admitted one, else there is nothing to settle.
            status: ``success``, ``error``, ``cut`` (the model died while it answered) or ``abandoned`` (the client
                went away while it was answered).
        """
        admitted = call.admitted
        if admitted is None or call.settled:
            return
        call.settled = True
        self._running.pop(call.identity, None)
        owed = self._price(call, admitted, status)
        if not admitted.held:
            self._allowances.give_back(admitted.tenant, admitted.nano_eur - owed.away)
        call.charged_nano_eur = min(owed.nano_eur, admitted.nano_eur)
        call.charged_output_tokens = min(owed.output_tokens, admitted.output_tokens)
        if not admitted.held and self._owed:
            # The ledger is away: do not keep the client waiting for it once more.
            self._owed.append(owed)
            return
        self._settling += 1
        try:
            await self._pay(owed)
        except LedgerUnavailableError as error:
            self.ledger_failed(error)
            self._owed.append(owed)
        except BaseException:
            # The client hung up, say. Whether it was settled is not known; a second time changes nothing.
            self._owed.append(owed)
            raise
        finally:
            self._settling -= 1

    def _price(self, call: Call, admitted: Admitted, status: str) -> _Owed:
        call.usage = call.usage_so_far
        model = call.answered_by or (call.model.name if call.model else "")
        try:
            usage, charge = self._costs.charge(call, model, admitted.at, admitted.factor)
        except UsageError as error:
            # An answer that contradicts itself is not billed on a guess.
            _log.error("request %s: usage of %s refused: %s", call.identity, model, error)
            call.forget_usage()
            usage, charge = self._costs.charge(call, model, admitted.at, admitted.factor)
        record = CallRecord(
            request_id=call.identity,
            began_at=admitted.at.isoformat(),
            tenant=admitted.tenant,
            team=admitted.team,
            api_key=admitted.key,
            billing=admitted.billing,
            model=model,
            endpoint=call.endpoint,
            status=status,
            counts={unit.value: count for unit, count in usage.counts.items()},
            price_ids={line.unit.value: line.price_id for line in charge.lines},
            factor=str(charge.factor),
            nano_eur=charge.nano_eur,
            latency_ms=int((time.monotonic() - call.started) * 1000),
        )
        return _Owed(
            identity=call.identity,
            call=call,
            admitted=admitted,
            nano_eur=charge.nano_eur,
            output_tokens=usage.output_tokens,
            record=record.payload(),
            since=time.monotonic(),
            away=0 if admitted.held else min(charge.nano_eur, admitted.nano_eur),
        )

    async def _pay(self, owed: _Owed) -> None:
        settled = await self._ledger.settle(
            owed.identity,
            nano_eur=owed.nano_eur,
            output_tokens=owed.output_tokens,
            record=owed.record,
            at=datetime.now(self._zone),
            limits=owed.admitted.limits,
            began_at=owed.admitted.at,
            shadow=owed.admitted.shadow,
        )
        if owed.call is not None:
            owed.call.charged_nano_eur = settled.nano_eur
            owed.call.charged_output_tokens = settled.output_tokens
        self._allowances.give_back(owed.admitted.tenant, owed.away)
        now = time.monotonic()
        # Without the call, which holds the prompt.
        self._paid.append((now, replace(owed, call=None, away=0)))
        while self._paid[0][0] < now - _FORGOTTEN_SECONDS:
            self._paid.popleft()

    async def run(self) -> None:
        """Renew, settle what is owed and rebuild until cancelled."""
        while True:
            try:
                async with asyncio.timeout(_TURN_SECONDS):
                    await self._lost.wait()
            except TimeoutError:
                pass
            if await self._try_turn() is _Turn.FAILED:
                await asyncio.sleep(_TURN_SECONDS)

    async def _try_turn(self) -> _Turn:
        try:
            await self.turn()
        except LedgerUnavailableError as error:
            self.ledger_failed(error)
            return _Turn.AWAY
        except Exception:  # noqa: BLE001
            # PostgreSQL or Redis away: the next turn tries again. A mistake of ours must not end all settling.
            _log.exception("the ledger is not whole yet")
            return _Turn.FAILED
        return _Turn.DONE

    async def turn(self) -> None:
        """One round of what waits; one after the other, whoever asks for them.

        Raises:
            LedgerUnavailableError: it still waits.
        """
        async with self._turning:
            await self._turn()

    async def _turn(self) -> None:
        if self._lost.is_set():
            self._lost.clear()
            try:
                rebuilt = await self._rebuild()
            except BaseException:
                self._lost.set()
                raise
            if not rebuilt:
                await asyncio.sleep(_TURN_SECONDS / 5)
        while self._cancels:
            await self._ledger.cancel(self._cancels[0], datetime.now(self._zone))
            self._cancels.popleft()
        await self._renew()
        while self._owed:
            if time.monotonic() - self._owed[0].since > LATEST_SECONDS:
                never = self._owed[0]
                _log.error("request %s: never settled, the ledger was away for too long", never.identity)
                self._allowances.give_back(never.admitted.tenant, never.away)
            else:
                await self._pay_first()
            self._owed.popleft()
        while await self._ledger.lapse(datetime.now(self._zone)):
            pass

    async def _pay_first(self) -> None:
        try:
            await self._pay(self._owed[0])
        except LedgerUnavailableError:
            raise
        except Exception:
            # A mistake with this one must not hold up the others.
            self._owed.rotate(-1)
            raise

    async def _renew(self) -> None:
        now = time.monotonic()
        for identity, (call, due) in list(self._running.items()):
            if due <= now:
                await self._ledger.renew(identity, lease=self._lease, at=datetime.now(self._zone))
                if not call.settled:
                    self.began(call)

    async def drain(self, seconds: float) -> None:
        """Before the end: settle what is owed and wait for what is being settled, for so long at most."""
        try:
            async with asyncio.timeout(seconds):
                while self._owed or self._settling:
                    done = await self._try_turn() is _Turn.DONE
                    if self._owed or self._settling:
                        await asyncio.sleep(_TURN_SECONDS / 10 if done else _TURN_SECONDS)
        except TimeoutError:
            pass
        for owed in self._owed:
            _log.error("request %s: not settled, the proxy ends while the ledger is away", owed.identity)
