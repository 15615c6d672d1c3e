"""The counters of a call's limits in Redis, as the ledger's script takes them."""

import functools
import json
from collections.abc import Sequence
from datetime import datetime, timedelta, tzinfo
from typing import Any, Final

from llmaas_gateway.ledger.limits import Kind, Limit
from llmaas_gateway.ledger.memory import TRACE_SECONDS

LONGEST_LEASE: Final = timedelta(hours=1)
# A counter outlives its window by this much, so that a call that began in it still settles there: when its lease is
# over it lapses, and can be settled for as long as its trace is kept. Requests are counted when they begin, so theirs
# need not wait: a counter a minute for each tenant would fill Redis.
_COUNTER_GRACE: Final = LONGEST_LEASE + timedelta(seconds=TRACE_SECONDS)
_REQUESTS_GRACE: Final = timedelta(seconds=10)


def counters_of(prefix: str, limits: Sequence[Limit], at: datetime) -> str:
    """A JSON list of ``{key, kind, cap, expires}``, one for each limit; what expires never does so at 0.

    Args:
        prefix: of all keys.
        limits: of one call.
        at: when it began, in the time zone of the windows.
    """
    return _written(prefix, tuple(limits), int(at.timestamp()) // 60, at.tzinfo)


@functools.lru_cache(maxsize=4096)
def _written(prefix: str, limits: tuple[Limit, ...], minute: int, zone: tzinfo | None) -> str:
    """The same within a minute, the shortest of windows: a key's calls ask for it when they begin and when they end."""
    at = datetime.fromtimestamp(minute * 60, zone)
    return json.dumps([_counter(prefix, limit, at) for limit in limits])


def _counter(prefix: str, limit: Limit, at: datetime) -> dict[str, Any]:
    end = limit.window.end(at)
    grace = _REQUESTS_GRACE if limit.kind is Kind.REQUESTS else _COUNTER_GRACE
    expires = 0 if end is None else int((end.timestamp() + grace.total_seconds()) * 1000)
    return {"key": limit.counter_key(prefix, at), "kind": limit.kind, "cap": limit.cap, "expires": expires}
