"""What a comparison of the reconciliation found."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """A difference.

    Attributes:
        check: which comparison found it.
        subject: counter, tenant or team.
        message: what says what.
    """

    check: str
    subject: str
    message: str
