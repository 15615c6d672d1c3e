"""What goes: records whose legal period is over, what is personal of an erased tenant. Both leave a signed trace."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from llmaas_gateway.audit.heads import keep
from llmaas_gateway.audit.log import Connection, append_entries, lock_streams
from llmaas_gateway.audit.records import PLATFORM, Act, Entry, Kind
from llmaas_gateway.audit.requests import chain_all
from llmaas_gateway.audit.signing import Signer

_ALLOW: Final = "SET LOCAL llmaas.audit_removal = 'on'"
_OVERDUE: Final = """
SELECT stream.id::text, max(record.number) FROM audit.stream JOIN audit.record ON record.stream = stream.id
WHERE stream.kind = %s AND record.recorded_at < %s
  AND record.number <= (SELECT max(number) FROM audit.head WHERE head.stream = stream.id)
GROUP BY stream.id ORDER BY stream.id
"""
_WHAT_GOES: Final = """
SELECT min(record.number), min(recorded_at), max(recorded_at), (array_agg(hash ORDER BY number DESC))[1],
       (SELECT statement FROM audit.removal WHERE removal.stream = record.stream AND reason = 'retention')
FROM audit.record WHERE stream = %s AND number <= %s GROUP BY stream
"""
_KEEP: Final = """
INSERT INTO audit.removal (stream, reason, statement, key, signature) VALUES (%s, %s, %s, %s, %s)
ON CONFLICT (stream, reason) DO UPDATE
SET statement = excluded.statement, key = excluded.key, signature = excluded.signature
"""
_DELETIONS: Final = (
    "DELETE FROM audit.record WHERE stream = %s AND number <= %s",
    "DELETE FROM audit.personal WHERE stream = %s AND number <= %s",
    "DELETE FROM audit.head WHERE stream = %s AND number <= %s",
)


@dataclass(frozen=True, slots=True)
class Retention:
    """How long records are kept by law; at least one day, so that what is deleted was signed long before."""

    acts: timedelta
    requests: timedelta

    def __post_init__(self) -> None:
        """Refuse a period that would delete what is not sealed yet."""
        for name in ("acts", "requests"):
            if getattr(self, name) < timedelta(days=1):
                raise ValueError(f"{name}: kept for {getattr(self, name)}; the shortest period is one day")

    def periods(self) -> Mapping[Kind, timedelta]:
        """By kind of record."""
        return {"acts": self.acts, "requests": self.requests}


@dataclass(frozen=True, slots=True)
class Erasure:
    """What an erasure did: how many personal parts went, from how many records."""

    tenant: str
    records: int
    personal_parts: int


async def retain(connection: Connection, signer: Signer, retention: Retention, now: datetime) -> int:
    """Delete records whose period is over; how many. Those that no signed head vouches for stay: they may be evidence.

    What is left of them is a signed statement with the last number, its hash and the time they span, so that the rest
    of the chain still has its beginning. The deletion is an act of its own in the platform's stream.
    """
    total = 0
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(hashtext('audit.removal'))")
        await connection.execute(_ALLOW)
        for kind, period in retention.periods().items():
            gone = {}
            for stream, last in await (await connection.execute(_OVERDUE, [kind, now - period])).fetchall():
                statement = await _remove(connection, signer, stream, last, now)
                gone[stream] = last
                total += statement["last"] - statement["removed_now_from"] + 1
            if gone:
                details = {"kind": kind, "kept_days": period.days, "last_number_gone": gone}
                facts = {"action": "audit.retention", "actor": "system:audit", "object": kind, "details": details}
                await append_entries(connection, [Entry(PLATFORM, "acts", now, facts, None)])
    return total


async def _remove(connection: Connection, signer: Signer, stream: str, last: int, now: datetime) -> dict[str, Any]:
    row = await (await connection.execute(_WHAT_GOES, [stream, last])).fetchone()
    assert row is not None  # noqa: S101 - the stream was found by its records, and removals take turns
    first, since, until, last_hash, before = row
    statement = {
        "is": "removal",
        "reason": "retention",
        "stream": stream,
        "first": 1,
        "last": last,
        "hash": last_hash,
        "since": json.loads(before)["since"] if before else since.isoformat(),
        "until": until.isoformat(),
        "removed_now_from": first,
        "signed_at": now.isoformat(),
    }
    await keep(connection, _KEEP, (stream, "retention"), signer.sign(statement))
    for query in _DELETIONS:
        await connection.execute(query, [stream, last])
    return statement


async def erase(connection: Connection, signer: Signer, tenant: str, *, actor: str, now: datetime) -> Erasure:
    """Delete what names persons in a tenant's records and the tenant's name itself; facts and hashes stay.

    The tenant must be suspended and its calls over: what is recorded later begins a new stream under the same name.

    Args:
        connection: not in a transaction.
        signer: signs what is left.
        tenant: by name.
        actor: who ordered it, as in ``Act``; recorded in the platform's stream, without the tenant's name.
        now: the moment.

    Raises:
        LookupError: the tenant has no records.
    """
    if tenant == PLATFORM:
        raise LookupError("tenant: empty; the platform's own acts are no tenant's")
    await chain_all(connection)
    parts = records = 0
    streams = []
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(hashtext('audit.removal'))")
        await connection.execute(_ALLOW)
        # The platform's stream first, then the tenant's in their order, as everybody does who appends.
        await lock_streams(connection, [(PLATFORM, "acts")])
        await connection.execute("SELECT FROM audit.stream WHERE tenant = %s ORDER BY kind FOR UPDATE", [tenant])
        found = await connection.execute(
            "UPDATE audit.stream SET tenant = NULL WHERE tenant = %s RETURNING id::text, number", [tenant]
        )
        for stream, last in await found.fetchall():
            deleted = await connection.execute("DELETE FROM audit.personal WHERE stream = %s", [stream])
            parts, records = parts + deleted.rowcount, records + last
            streams.append(stream)
            statement = {
                "is": "removal",
                "reason": "erasure",
                "stream": stream,
                "first": 1,
                "last": last,
                "signed_at": now.isoformat(),
            }
            await keep(connection, _KEEP, (stream, "erasure"), signer.sign(statement))
        if not streams:
            raise LookupError(f"tenant {tenant!r} has no audit records; was it erased before?")
        act = Act(actor, "tenant.erase", "audit", now, details={"streams": sorted(streams)})
        await append_entries(connection, [act.entry()])
    return Erasure(tenant, records, parts)
