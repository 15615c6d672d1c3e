"""The ledger's Python side: one round trip to Redis an operation, within a time limit."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from redis.asyncio import BlockingConnectionPool, Redis
from redis.exceptions import RedisError

from llmaas_gateway.ledger.counters import counters_of
from llmaas_gateway.ledger.limits import Limit
from llmaas_gateway.ledger.process import RedisProcess

_SCRIPT: Final = (Path(__file__).parent / "ledger.lua").read_text(encoding="utf-8")


class LedgerUnavailableError(Exception):
    """Redis is away, slower than the time limit, or has lost its memory and is not rebuilt yet."""


class LedgerLostError(LedgerUnavailableError):
    """Redis answers but has lost its counters; they must be rebuilt from the records."""


class UnknownReservationError(LookupError):
    """A settlement for a call that was never admitted."""


@dataclass(frozen=True, slots=True)
class Held:
    """The call is admitted.

    Attributes:
        remaining: room that was left before this call, by limit, in the order of the limits.
        over: the limit that would have refused it, in shadow mode; None otherwise.
    """

    remaining: tuple[int, ...]
    over: Limit | None


@dataclass(frozen=True, slots=True)
class Refused:
    """The call is not admitted: what it needs at most does not fit.

    Attributes:
        limit: the first limit that has no room.
        remaining: what it has left.
        resets_at: when it begins anew; None if only a top-up or a higher cap helps.
        room: what every limit has left, in the order of the limits.
    """

    limit: Limit
    remaining: int
    resets_at: datetime | None
    room: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Settled:
    """What was charged.

    Attributes:
        nano_eur: at most what was reserved.
        output_tokens: likewise.
        first: False if the call was settled before, and this time nothing was charged.
        late: the reservation had lapsed before.
    """

    nano_eur: int
    output_tokens: int
    first: bool
    late: bool


def epoch_key(prefix: str) -> str:
    """Where it stands that the counters are whole."""
    return f"{prefix}:epoch"


def lock_key(prefix: str) -> str:
    """Where it stands who rebuilds them."""
    return f"{prefix}:rebuild"


def connect(
    url: str,
    *,
    timeout_seconds: float,
    each_step: bool = True,
    connections: int = 20,
    process: RedisProcess | None = None,
    **tls: Any,
) -> Redis:
    """A client for the ledger: a call waits for a connection and for its answer no longer than the time limit.

    Args:
        url: ``redis://`` or ``rediss://``.
        timeout_seconds: of connecting, of waiting for a free connection and of each answer.
        each_step: False where whole operations have their limit, as those of ``Ledger``: only connecting has one then.
            redis-py makes a task of each step with a limit, which is much of what a call costs.
        connections: at most so many at once from this process; further calls wait.
        process: what notices that Redis was started anew.
        tls: ``ssl_*`` arguments of redis-py.
    """
    of_a_step = timeout_seconds if each_step else None
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=connections,
        timeout=of_a_step,
        protocol=2,  # the shape of answers differs between protocols, and the library's default between its versions
        socket_timeout=of_a_step,
        socket_connect_timeout=timeout_seconds,
        redis_connect_func=process and process.greet,
        **tls,
    )
    return Redis(connection_pool=pool)


class Ledger:
    """Counters of all tenants in one Redis."""

    def __init__(self, redis: Redis, prefix: str = "llmaas", *, timeout_seconds: float = 5.0) -> None:
        """Takes a client, the prefix of all keys, and the most that an operation may take, waiting included."""
        self._script = redis.register_script(_SCRIPT)
        self._redis = redis
        self._timeout_seconds = timeout_seconds
        self.prefix = prefix
        self.records_key = f"{prefix}:records"
        self.epoch_key = epoch_key(prefix)
        self.lock_key = lock_key(prefix)
        self.leases_key = f"{prefix}:leases"
        self.lapsed_key = f"{self.leases_key}:lapsed"

    def reservation_key(self, identity: str) -> str:
        """Where a call's reservation, and later its trace, is kept."""
        return f"{self.prefix}:reservation:{identity}"

    def _keys(self, identity: str) -> list[str]:
        return [self.epoch_key, self.leases_key, self.records_key, self.reservation_key(identity)]

    async def _run(self, operation: str, at: datetime, identity: str, *arguments: Any) -> list[Any]:
        keys = self._keys(identity)
        now = int(at.timestamp() * 1000)
        try:
            async with asyncio.timeout(self._timeout_seconds):
                answer = await self._script(keys=keys, args=[operation, now, identity, *arguments])
        except (RedisError, TimeoutError, OSError) as error:
            raise LedgerUnavailableError(f"the ledger's Redis: {type(error).__name__}: {error}") from error
        first, *rest = answer
        if first == b"lost":
            raise LedgerLostError("the ledger's Redis lost its counters; rebuild them from the records")
        return [first.decode(), *rest]

    async def reserve(  # noqa: PLR0913 - each is a fact of one call
        self,
        identity: str,
        limits: Sequence[Limit],
        *,
        nano_eur: int,
        output_tokens: int,
        at: datetime,
        lease: timedelta,
        shadow: bool = False,
        record: Mapping[str, Any] | None = None,
    ) -> Held | Refused:
        """Admit a call that costs at most ``nano_eur`` and answers at most ``output_tokens``, or refuse it.

        Args:
            identity: the request id; a second reservation of it is an error.
            limits: every limit that applies, most telling first.
            nano_eur: the most the call can cost.
            output_tokens: the most it can answer.
            at: now, in the time zone of the windows.
            lease: how long the reservation holds unless renewed, ``counters.LONGEST_LEASE`` at most.
            shadow: admit whatever the limits say, but count.
            record: what is kept of the call if it is never settled.

        Raises:
            LedgerUnavailableError: nothing was decided.
            ValueError: the id is not new.
        """
        spec = counters_of(self.prefix, limits, at)
        milliseconds = int(lease.total_seconds() * 1000)
        text = json.dumps(record, sort_keys=True) if record else ""
        verdict, *rest = await self._run(
            "reserve", at, identity, spec, nano_eur, output_tokens, milliseconds, int(shadow), text
        )
        if verdict == "duplicate":
            raise ValueError(f"request {identity} is already {rest[0].decode()}; a request id is used once")
        if verdict == "refused":
            index, *left = (int(item) for item in rest)
            limit = limits[index - 1]
            return Refused(limit, max(0, left[index - 1]), limit.window.end(at), tuple(left))
        over, *room = rest
        return Held(remaining=tuple(int(r) for r in room), over=limits[int(over) - 1] if int(over) else None)

    async def settle(  # noqa: PLR0913 - each is a fact of one call
        self,
        identity: str,
        *,
        nano_eur: int,
        output_tokens: int,
        record: dict[str, Any],
        at: datetime,
        limits: Sequence[Limit] = (),
        began_at: datetime | None = None,
        shadow: bool = False,
    ) -> Settled:
        """Charge what a call did cost and enqueue its record, in one step; a second time changes nothing.

        Args:
            identity: the request id.
            nano_eur: what it cost.
            output_tokens: what it was answered with.
            record: what is kept of it.
            at: now.
            limits: of a call whose reservation may be missing, because the ledger was away when it began or has lost it
                since; it is charged as far as they have room.
            began_at: when that call began.
            shadow: it is charged whatever room they have.

        Raises:
            UnknownReservationError: the call holds no reservation and no limits were given.
            LedgerUnavailableError: whether it was charged is not known; try again.
        """
        text = json.dumps(record, sort_keys=True)
        spec = counters_of(self.prefix, limits, began_at or at) if limits else ""
        verdict, charged, output = await self._run(
            "settle", at, identity, nano_eur, output_tokens, text, spec, int(shadow)
        )
        if verdict == "unknown":
            raise UnknownReservationError(f"request {identity} holds no reservation")
        return Settled(int(charged), int(output), first=verdict != "already", late=verdict == "late")

    async def cancel(self, identity: str, at: datetime) -> None:
        """Give up a reservation whose answer never came: it is released, or never made if it is still on its way."""
        await self._run("cancel", at, identity)

    async def renew(self, identity: str, *, lease: timedelta, at: datetime) -> bool:
        """Hold on to a reservation while its call is under way; False if it has lapsed or is settled."""
        verdict, *_ = await self._run("renew", at, identity, int(lease.total_seconds() * 1000))
        return bool(verdict == "held")

    async def lapse(self, at: datetime) -> int:
        """Release reservations whose lease is over (some dozens a call); how many there were.

        Those that lapsed two hours ago, and were not settled since, get their records.
        """
        _, count = await self._run("lapse", at, "")
        return int(count)

    async def restore(self, redis: Redis, holder: str, at: datetime) -> int | None:
        """The end of a rebuild, in one step: calls under way hold again what they hold, and the ledger is whole.

        Args:
            redis: the ledger's, with a time limit long enough for all calls under way.
            holder: what this rebuild wrote in the lock, and the new epoch; if another's stands there, nothing is done.
            at: now.

        Returns:
            How many calls hold something; None if the rebuild was overtaken by another one.

        Raises:
            RedisError: Redis is away.
        """
        arguments: list[Any] = ["restore", int(at.timestamp() * 1000), "", self.lock_key, holder]
        verdict, *held = await self._script(keys=self._keys(""), args=arguments, client=redis)
        return int(held[0]) if verdict == b"whole" else None

    async def used(self, limit: Limit, at: datetime) -> tuple[int, int]:
        """What is settled and what is held on a limit's counter.

        Raises:
            LedgerUnavailableError: it cannot be read.
        """
        (counter,) = await self._counters([limit], at)
        return counter

    async def room(self, limits: Sequence[Limit], at: datetime) -> tuple[int, ...]:
        """What limits have left, in their order; nothing is reserved.

        Raises:
            LedgerUnavailableError: it cannot be read.
        """
        counters = await self._counters(limits, at)
        return tuple(limit.cap - sum(counter) for limit, counter in zip(limits, counters, strict=True))

    async def _counters(self, limits: Sequence[Limit], at: datetime) -> list[tuple[int, int]]:
        try:
            async with asyncio.timeout(self._timeout_seconds), self._redis.pipeline(transaction=False) as pipe:
                pipe.exists(self.epoch_key)
                for limit in limits:
                    pipe.hmget(limit.counter_key(self.prefix, at), ["settled", "held"])
                whole, *rows = await pipe.execute()
        except (RedisError, TimeoutError, OSError) as error:
            raise LedgerUnavailableError(f"the ledger's Redis: {type(error).__name__}: {error}") from error
        if not whole:
            raise LedgerLostError("the ledger's Redis lost its counters; rebuild them from the records")
        return [(int(settled or 0), int(held or 0)) for settled, held in rows]
