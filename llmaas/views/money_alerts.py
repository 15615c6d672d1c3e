"""Alerts of the reconciliation of every night, over what the replicas of the gateway tell of the last one."""

from typing import Any, Final

from llmaas.views.alerts import alert

# One begins each night at three; the hour that the clock goes back and the time that one takes are within this.
RECONCILED_WITHIN_SECONDS: Final = 26 * 3600
_RUNBOOK: Final = "docs/tenants.md"
_AT: Final = "llmaas_gateway_reconciliation_timestamp_seconds"
_FINDINGS: Final = "llmaas_gateway_reconciliation_findings"
_SPEND: Final = f'{_FINDINGS}{{check="spend"}}'


def group() -> dict[str, Any]:
    """Rules about a reconciliation that does not come to its end, and about one that found something.

    All replicas tell of the same one: the latest of when counts, and the worst of what it found.
    """
    late = f"time() - max({_AT}) > {RECONCILED_WITHIN_SECONDS}"
    summary = "Nobody has compared what was charged with the records for more than a day"
    rules = [
        alert("ReconciliationLate", late, "10m", summary, runbook=_RUNBOOK),
        # A new environment has its first one in its first night.
        alert("ReconciliationLate", f"absent({_AT})", "26h", summary, runbook=_RUNBOOK),
        alert(
            "ReconciliationFindings",
            # LiteLLM's sums never return to ours once a call was lost to them: only teams that join these are news
            f'max({_FINDINGS}{{check!="spend"}}) > 0 or max({_SPEND}) > (max({_SPEND} offset 25h) or vector(0))',
            "2m",
            "The last reconciliation found differences in what was charged",
            runbook=_RUNBOOK,
        ),
    ]
    return {"name": "money", "rules": rules}
