"""Alerts of the audit, over what the replicas of the gateway tell of their check of all chains."""

from typing import Any, Final

from llmaas.views.alerts import alert

# A check of everything begins every quarter of an hour, or when the last one ends; so old may the last whole one be.
CHECKED_WITHIN_SECONDS: Final = 24 * 3600
_RUNBOOK: Final = "docs/audit.md"
_CHECKED: Final = "llmaas_audit_chain_checked_timestamp_seconds"


def group() -> dict[str, Any]:
    """Rules about records that are not as they were written, and about a check that does not come to its end.

    Replicas tell what they read in the database: one that cannot read it still says what it knew, so the worst counts
    of what was found, and the latest of when.
    """
    late = f"time() - max({_CHECKED}) > {CHECKED_WITHIN_SECONDS} or absent({_CHECKED})"
    rules = [
        alert(
            "AuditAltered",
            "min(llmaas_audit_chain_intact) == 0",
            "0s",
            "Records of the audit were altered or are missing",
            runbook=_RUNBOOK,
        ),
        alert("AuditUnchecked", late, "30m", "Nobody knows whether the audit is as it was written", runbook=_RUNBOOK),
    ]
    return {"name": "audit", "rules": rules}
