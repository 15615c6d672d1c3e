"""One audit record per request, derived from the ledger's rows: each exactly once, at no cost to the request.

The row of a call and its note in ``audit.pending`` are written in one transaction (a trigger does it); the note is
deleted and the record chained in another one. There is no moment at which a call is neither noted nor chained, or both.
"""

import logging
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from llmaas_gateway.audit.log import Connection, append_entries
from llmaas_gateway.audit.records import Entry

BATCH: Final = 500

_log = logging.getLogger(__name__)

# Notes that another replica works on are passed over: replicas share the work instead of waiting for one another.
_TAKE: Final = """
WITH taken AS (SELECT id FROM audit.pending ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED)
DELETE FROM audit.pending USING taken WHERE pending.id = taken.id RETURNING pending.id, pending.content
"""
_PERSONAL: Final = ("team", "api_key")
_FACTS: Final = (
    "request_id",
    "kind",
    "model",
    "endpoint",
    "status",
    "counts",
    "price_ids",
    "factor",
    "nano_eur",
    "unbilled_nano_eur",
    "output_tokens",
    "latency_ms",
    "late",
    "settled_at",
)


def entry_of(row: Mapping[str, Any]) -> Entry:
    """The audit entry of a row of ``ledger.record``; fields that are not listed here are left out."""
    return Entry(
        tenant=str(row["tenant"]),
        kind="requests",
        at=datetime.fromisoformat(str(row["began_at"])),
        facts={"action": "request", **{name: row[name] for name in _FACTS if name in row}},
        personal={name: row[name] for name in _PERSONAL if name in row},
    )


async def chain_pending(connection: Connection, limit: int = BATCH) -> int:
    """Chain requests that are noted, at most ``limit``; how many there were."""
    async with connection.transaction():
        rows = await (await connection.execute(_TAKE, [limit])).fetchall()
        await append_entries(connection, [entry_of(content) for _, content in sorted(rows)])
    return len(rows)


async def chain_all(connection: Connection) -> int:
    """Chain every request that is noted by now; how many there were."""
    total = 0
    while done := await chain_pending(connection):
        total += done
    return total
