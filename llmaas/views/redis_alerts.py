"""Alerts of Redis' memory, over what the replicas of the gateway see of it."""

from typing import Any, Final

from llmaas.views.alerts import alert

_RUNBOOK: Final = "docs/capacity.md"
_USED: Final = "llmaas_gateway_redis_used_bytes"
_LIMIT: Final = "llmaas_gateway_redis_limit_bytes"
# Half of it is three quarters of an hour before the end, with PostgreSQL away and calls at the declared peak.
_FILLING: Final = 0.5
_NEARLY_FULL: Final = 0.8


def group() -> dict[str, Any]:
    """Rules about a Redis that fills, and about one that nobody can read. Calls are refused once it is full."""
    rules = [
        _alert("RedisFilling", f"{_ratio()} > {_FILLING}", "2m", "Redis is more than half full", severity="warning"),
        _alert("RedisNearlyFull", f"{_ratio()} > {_NEARLY_FULL}", "1m", "Redis is nearly full, then calls are refused"),
        _alert("RedisUnwatched", f"absent({_LIMIT})", "5m", "No replica of the gateway can read Redis"),
    ]
    return {"name": "redis", "rules": rules}


def _ratio() -> str:
    """Each replica tells both numbers of one moment."""
    return f"max({_USED} / {_LIMIT})"


def _alert(name: str, expression: str, lasting: str, summary: str, severity: str = "critical") -> dict[str, Any]:
    return alert(name, expression, lasting, summary, runbook=_RUNBOOK, severity=severity)
