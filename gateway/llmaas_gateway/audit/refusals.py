"""Calls that were refused, or would have been: counted, and chained as one record for each kind and moment.

A refused call costs nothing and has no row in the ledger, and a client that is over its limit may send thousands a
minute: a record each would let it fill the audit. What is counted here and not chained yet is lost if the process is
killed; it is at most what came in since the last flush.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from llmaas_gateway.audit.log import Connection, append_entries
from llmaas_gateway.audit.records import Entry


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a refused call has in common with others: whose it was, what it asked for, why it was refused.

    Attributes:
        tenant: empty, as team and key are, where the key is none.
        api_key: the hash that names the key.
        model: empty where it is none that is served, so that no client's text gets into the audit.
        status: of HTTP.
        code: of OpenAI's error object, such as ``rate_limit_exceeded``, or LiteLLM's word where its check of the key
            refused, such as ``key_model_access_denied``; empty for a call that passed in shadow mode.
        limit: that had no room for it, such as ``requests-minute``; empty where it was refused for something else.
    """

    tenant: str
    team: str
    api_key: str
    model: str
    endpoint: str
    status: int
    code: str
    limit: str = ""


@dataclass(slots=True)
class _Counted:
    first: datetime
    last: datetime
    count: int


class Refusals:
    """Counts refusals of this process."""

    def __init__(self) -> None:
        self._counted: dict[Refusal, _Counted] = {}

    def note(self, refusal: Refusal, at: datetime) -> None:
        """Count a call; costs it no round trip."""
        known = self._counted.get(refusal)
        if known is None:
            self._counted[refusal] = _Counted(at, at, 1)
        else:
            known.last, known.count = at, known.count + 1

    async def flush(self, connection: Connection) -> int:
        """Chain what was counted; how many records. If that fails it stays counted."""
        taken, self._counted = self._counted, {}
        try:
            async with connection.transaction():
                await append_entries(connection, [_entry(refusal, counted) for refusal, counted in taken.items()])
        except BaseException:
            for refusal, counted in taken.items():
                since = self._counted.get(refusal)
                if since is not None:
                    counted.last, counted.count = since.last, counted.count + since.count
                self._counted[refusal] = counted
            raise
        return len(taken)


def _entry(refusal: Refusal, counted: _Counted) -> Entry:
    facts: Mapping[str, Any] = {
        "action": "request.refused" if refusal.code else "request.over_limit",
        "model": refusal.model,
        "endpoint": refusal.endpoint,
        "status": refusal.status,
        "code": refusal.code,
        "limit": refusal.limit,
        "count": counted.count,
        "last_at": counted.last.isoformat(),
    }
    personal = {"team": refusal.team, "api_key": refusal.api_key}
    return Entry(refusal.tenant, "requests", counted.first, facts, personal)
