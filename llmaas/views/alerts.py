"""What an alert of Prometheus is made of."""

from typing import Any


def alert(  # noqa: PLR0913 - what a rule is made of
    name: str, expression: str, lasting: str, summary: str, *, runbook: str, severity: str = "critical"
) -> dict[str, Any]:
    """A rule.

    Args:
        name: as the runbook lists it.
        expression: in PromQL; somebody is told while it has a result.
        lasting: how long it must have one before, such as ``5m``.
        summary: what is wrong, with the names of labels in double braces.
        runbook: the page that says what to do.
        severity: ``critical`` or ``warning``.
    """
    return {
        "alert": name,
        "expr": expression,
        "for": lasting,
        "labels": {"severity": severity},
        "annotations": {"summary": summary, "runbook": runbook},
    }
