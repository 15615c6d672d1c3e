"""Calendar months of the seller: what an invoice covers, and when nothing can be added to it any more."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from llmaas_gateway.accounts.account import AccountError

# A call that began in a month's last second is settled, or its reservation forgotten, long before this is over.
CLOSING_DELAY: Final = timedelta(days=2)
_TEXT: Final = re.compile(r"(20[0-9]{2})-(0[1-9]|1[0-2])")


@dataclass(frozen=True, slots=True, order=True)
class Month:
    """A month in the time zone of the price book."""

    year: int
    number: int

    @classmethod
    def parse(cls, text: str) -> "Month":
        """The month from a text like ``2026-11``.

        Raises:
            AccountError: anything else.
        """
        match = _TEXT.fullmatch(text)
        if match is None:
            raise AccountError(f"month: {text!r} is no month like 2026-11")
        return cls(int(match[1]), int(match[2]))

    @classmethod
    def of(cls, moment: datetime, zone: ZoneInfo) -> "Month":
        """The month that a moment lies in."""
        local = moment.astimezone(zone)
        return cls(local.year, local.month)

    def __str__(self) -> str:
        return f"{self.year}-{self.number:02d}"

    @property
    def following(self) -> "Month":
        """The month after."""
        return Month(self.year + self.number // 12, self.number % 12 + 1)

    @property
    def previous(self) -> "Month":
        """The month before."""
        return Month(self.year - (self.number == 1), (self.number - 2) % 12 + 1)

    def start(self, zone: ZoneInfo) -> datetime:
        """Midnight of its first day."""
        return datetime(self.year, self.number, 1, tzinfo=zone)

    def end(self, zone: ZoneInfo) -> datetime:
        """Midnight of the day after its last."""
        return self.following.start(zone)

    def closes_at(self, zone: ZoneInfo) -> datetime:
        """When no call of it can be settled any more."""
        return self.end(zone) + CLOSING_DELAY
