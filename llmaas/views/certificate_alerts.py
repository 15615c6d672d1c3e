"""Alerts of certificates that end: when each does is known as it is deployed, so the rules themselves say it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from llmaas.views.alerts import alert

_RUNBOOK: Final = "docs/production.md"
_DAY: Final = 86400
# One is renewed from its last month on, by whoever runs the commands of the runbook.
_WARN_DAYS: Final = 21
_CRITICAL_DAYS: Final = 7


def group(ends: Mapping[str, datetime]) -> dict[str, Any]:
    """Rules that tell of each certificate, by its name, whose end is near; without certificates there are none.

    Args:
        ends: name of the certificate -> when it ends, with a time zone.
    """
    left = " or ".join(
        f'label_replace(vector({int(end.timestamp())}) - time(), "certificate", "{name}", "", "")'
        for name, end in sorted(ends.items())
    )
    rules = [
        _alert("CertificateEnding", left, _WARN_DAYS, "warning"),
        _alert("CertificateNearlyOver", left, _CRITICAL_DAYS, "critical"),
    ]
    return {"name": "certificates", "rules": rules if ends else []}


def _alert(name: str, left: str, days: int, severity: str) -> dict[str, Any]:
    summary = f"The certificate {{{{ $labels.certificate }}}} ends in fewer than {days} days"
    return alert(name, f"({left}) < {days * _DAY}", "0s", summary, runbook=_RUNBOOK, severity=severity)
