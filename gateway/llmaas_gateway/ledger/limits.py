"""The limits that a call must keep, as counters of the ledger, and the windows after which they begin anew."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum


class Kind(StrEnum):
    """What a counter counts."""

    MONEY = "money"
    """Nano-euros."""
    OUTPUT = "output"
    """Output tokens, reasoning included."""
    REQUESTS = "requests"
    """Calls begun; counted whatever becomes of them."""
    PARALLEL = "parallel"
    """Calls under way."""


class Window(StrEnum):
    """When a counter begins anew, in the local time of the price book."""

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"
    MONTH = "month"
    NONE = "none"

    def start(self, at: datetime) -> datetime | None:
        """The beginning of the window that holds a moment; None for one that never ends."""
        midnight = {"second": 0, "microsecond": 0, "minute": 0, "hour": 0}
        match self:
            case Window.MINUTE:
                return at.replace(second=0, microsecond=0)
            case Window.HOUR:
                return at.replace(minute=0, second=0, microsecond=0)
            case Window.DAY:
                return at.replace(**midnight)  # type: ignore[arg-type]  # all values are integers
            case Window.MONTH:
                return at.replace(day=1, **midnight)  # type: ignore[arg-type]  # as above
            case Window.NONE:
                return None

    def end(self, at: datetime) -> datetime | None:
        """The moment at which the window that holds ``at`` is over; None for one that never is."""
        start = self.start(at)
        if start is None:
            return None
        if self is Window.MONTH:
            return (start + timedelta(days=32)).replace(day=1)
        if self is Window.DAY:
            # Calendar arithmetic, so that a day of 23 or 25 hours ends at midnight.
            return start + timedelta(days=1)
        # Time that passes: an hour that the clock shows twice is two windows.
        length = timedelta(minutes=1 if self is Window.MINUTE else 60)
        return (start.astimezone(UTC) + length).astimezone(at.tzinfo)


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit on one scope, e.g. output tokens per hour of a tenant.

    Attributes:
        name: as it stands in an answer's headers, e.g. ``output-tokens-hour``.
        scope: whose counter it is, e.g. ``tenant:acme`` or ``key:1f3c``.
        kind: what is counted.
        window: when it begins anew.
        cap: the most that may be counted in one window, in the kind's unit.
    """

    name: str
    scope: str
    kind: Kind
    window: Window
    cap: int

    def counter_key(self, prefix: str, at: datetime) -> str:
        """The Redis key of the counter in force at a moment; windows of one scope have keys of their own."""
        start = self.window.start(at)
        suffix = "" if start is None else f":{start.isoformat()}"
        return f"{prefix}:counter:{self.scope}:{self.name}{suffix}"
