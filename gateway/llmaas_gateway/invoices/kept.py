"""What is no longer kept: who asks for it is told so, instead of being shown zero."""

from datetime import datetime

from llmaas_gateway.accounts.account import AccountError
from llmaas_gateway.accounts.database import Row

# The last month whose accounts are gone, none if all are there.
LAST_REMOVED = "SELECT month, until FROM ledger.removed_month ORDER BY until DESC LIMIT 1"


class PeriodOverError(AccountError):
    """The legal period of what was asked for is over; it is deleted."""


def check_kept(what: str, start: datetime, last_removed: list[Row]) -> None:
    """Refuse what begins in a month whose accounts are gone.

    Args:
        what: the beginning of the message, such as ``invoice 2026-11``.
        start: when the first call of it could have begun.
        last_removed: rows of ``LAST_REMOVED``.

    Raises:
        PeriodOverError: the text names the first moment whose accounts are there.
    """
    for row in last_removed:
        if start < row["until"]:
            raise PeriodOverError(
                f"{what}: the legal period of accounts up to {row['month']} is over, their records and invoices are"
                f" deleted; what began from {row['until'].isoformat()} on is there"
            )
