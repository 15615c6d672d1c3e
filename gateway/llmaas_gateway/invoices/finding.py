"""What a comparison of the reconciliation found."""

from dataclasses import dataclass
from typing import Final

# What a finding can name as its check. "spend" is LiteLLM's, which stays apart from ours once it has parted from it.
CHECKS: Final = ("redis", "records", "months", "invoices", "litellm", "spend", "directory")


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
