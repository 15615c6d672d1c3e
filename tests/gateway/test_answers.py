"""What answers tell of limits is right at any moment, also when the clock is changed, and as far as it is known."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from gateway.test_ledger import LEASE, run
from llmaas_gateway.ledger.counters import LONGEST_LEASE
from llmaas_gateway.ledger.ledger import Held, Ledger, Refused
from llmaas_gateway.ledger.limits import Kind, Limit, Window
from llmaas_gateway.ledger.memory import TRACE_SECONDS
from llmaas_gateway.proxy.answers import limit_headers, over_limit

PARIS = ZoneInfo("Europe/Paris")
MONTH = Limit("spend-month", "tenant:a", Kind.MONEY, Window.MONTH, 10**9)
DAY = Limit("output-tokens-day", "tenant:a", Kind.OUTPUT, Window.DAY, 100)
HOUR = Limit("output-tokens-hour", "tenant:a", Kind.OUTPUT, Window.HOUR, 100)
MINUTE = Limit("requests-minute", "tenant:a", Kind.REQUESTS, Window.MINUTE, 1)
CREDIT = Limit("credit", "tenant:a", Kind.MONEY, Window.NONE, 10**9)
PARALLEL = Limit("parallel-requests", "tenant:a", Kind.PARALLEL, Window.NONE, 2)


def told(limit: Limit, at: datetime, room: int | None = 0) -> dict[str, str]:
    headers = limit_headers([limit], [room], at)
    return {name.decode().removeprefix("x-ratelimit-").split("-")[0]: value.decode() for name, value in headers}


@pytest.mark.parametrize(
    ("limit", "at", "seconds"),
    [
        (MONTH, "2026-10-20T12:00:00+02:00", 997_200),
        (MONTH, "2026-03-20T12:00:00+01:00", 990_000),
        (DAY, "2026-10-25T00:00:00+02:00", 25 * 3600),
        (DAY, "2026-03-29T00:00:00+01:00", 23 * 3600),
        (HOUR, "2026-10-25T02:30:00+02:00", 1800),
        (HOUR, "2026-10-25T02:30:00+01:00", 1800),
        (HOUR, "2026-03-29T01:30:00+01:00", 1800),
        (MINUTE, "2026-10-25T02:59:30+02:00", 30),
        (MINUTE, "2026-10-25T02:30:30+01:00", 30),
    ],
)
def test_a_limit_begins_anew_after_as_many_seconds_as_pass(limit: Limit, at: str, seconds: int) -> None:
    moment = datetime.fromisoformat(at).astimezone(PARIS)
    assert told(limit, moment)["reset"] == str(seconds)
    end = limit.window.end(moment)
    assert end is not None
    assert end.timestamp() == moment.timestamp() + seconds
    refusal = over_limit(Refused(limit, 0, end), 1, moment)
    assert refusal.retry_after_seconds == seconds


def test_every_limit_tells_when_to_look_again_also_where_no_clock_brings_it_back() -> None:
    at = datetime(2026, 11, 24, 12, 0, tzinfo=PARIS)
    assert told(CREDIT, at) == {"limit": "1.00", "remaining": "0.00", "reset": "3600"}
    assert told(PARALLEL, at, 1) == {"limit": "2", "remaining": "1", "reset": "1"}


def test_what_is_left_is_not_told_where_nobody_knows() -> None:
    assert told(CREDIT, datetime(2026, 11, 24, 12, 0, tzinfo=PARIS), None) == {"limit": "1.00", "reset": "3600"}


@pytest.mark.parametrize("limit", [MINUTE, HOUR], ids=lambda limit: limit.window.value)
@pytest.mark.parametrize("hour", [0, 1])
def test_a_limit_holds_in_both_hours_that_the_clock_shows_twice(redis_port: int, limit: Limit, hour: int) -> None:
    # Far ahead, as Redis forgets counters by its own clock; 28 October 2046 is such a day, from 02:00 on.
    at = (datetime(2046, 10, 28, 0, 30, tzinfo=UTC) + timedelta(hours=hour)).astimezone(PARIS)

    async def action(ledger: Ledger) -> tuple[bool, bool, int]:
        ways = [
            await ledger.reserve(f"r{n}", [limit], nano_eur=1, output_tokens=100, at=at, lease=LEASE) for n in range(2)
        ]
        ends = await ledger._redis.pexpiretime(limit.counter_key(ledger.prefix, at))  # noqa: SLF001
        return isinstance(ways[0], Held), isinstance(ways[1], Refused), int(ends)

    first, second, ends = run(redis_port, action)
    assert (first, second) == (True, True)
    length = 60 if limit is MINUTE else 3600
    end = (at.timestamp() // length + 1) * length
    # Settlements come late by the longest lease and the time for which they are tried again.
    assert end < ends / 1000 <= end + LONGEST_LEASE.total_seconds() + TRACE_SECONDS
