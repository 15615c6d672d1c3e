"""Redis' memory: what the ledger takes of it for a load of calls, and how much of it is in use."""

import asyncio
import logging
from collections.abc import Iterable
from typing import Any, Final

from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from redis.asyncio import Redis
from redis.exceptions import RedisError

# Bytes of one call, in Redis 7 on 64 bits, of a key with every limit that there is: while it is under way, once it is
# settled (for as long as `ledger.lua` keeps the trace), and in the stream until PostgreSQL has its record.
HELD_BYTES: Final = 2_300
TRACE_BYTES: Final = 550
RECORD_BYTES: Final = 2_900
TRACE_SECONDS: Final = 7_200
# So long PostgreSQL may be away without a record being lost.
OUTAGE_SECONDS: Final = 3_600
# Longer than most calls take.
_CALL_SECONDS: Final = 60
_LOOK_SECONDS: Final = 15.0

_log = logging.getLogger(__name__)


def needed_bytes(calls_per_minute: float) -> int:
    """What so many calls a minute take of Redis, for hours, the last of them while PostgreSQL is away."""
    held = HELD_BYTES * _CALL_SECONDS
    return round(calls_per_minute / 60 * (held + TRACE_BYTES * TRACE_SECONDS + RECORD_BYTES * OUTAGE_SECONDS))


class RedisMemory(Collector):
    """How full Redis is, as this replica last saw it."""

    def __init__(self, redis: Redis) -> None:
        """Takes a client; nothing is asked yet."""
        self._redis = redis
        self._seen: tuple[int, int] | None = None

    def collect(self) -> Iterable[Metric]:
        """As Prometheus reads it; nothing while Redis does not answer, or has no limit."""
        used = GaugeMetricFamily("llmaas_gateway_redis_used_bytes", "Memory that Redis has in use.")
        limit = GaugeMetricFamily("llmaas_gateway_redis_limit_bytes", "Memory beyond which Redis takes no more.")
        if self._seen is not None:
            used.add_metric((), self._seen[0])
            limit.add_metric((), self._seen[1])
        yield used
        yield limit

    async def look(self) -> None:
        """Ask Redis once."""
        try:
            told: dict[str, Any] = await self._redis.info("memory")
        except (RedisError, OSError) as error:
            self._seen = None
            _log.warning("Redis' memory cannot be read: %s", type(error).__name__)
            return
        limit = int(told["maxmemory"])
        self._seen = (int(told["used_memory"]), limit) if limit else None

    async def run(self) -> None:
        """Look again and again until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(_LOOK_SECONDS)
