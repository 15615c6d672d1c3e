"""What goes: records whose legal period is over, what is personal of an erased tenant. Both leave a signed trace."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import psycopg

from llmaas_gateway.audit.log import Connection, append_entries, lock_streams
from llmaas_gateway.audit.records import PLATFORM, Act, Entry, Kind
from llmaas_gateway.audit.requests import chain_all
from llmaas_gateway.audit.signing import Signer
from llmaas_gateway.audit.stored import Judge, TamperedError, keep

# What one round deletes at most; a worker with more to delete does not stop chaining calls for it.
MOST: Final = 200_000
_SLICE: Final = 2_000
_ALLOW: Final = "SET LOCAL llmaas.audit_removal = 'on'"
_TURN: Final = "SELECT pg_try_advisory_xact_lock(hashtext('audit.removal'))"
# The first record of each chain says whether any of it is overdue: time never runs backwards along a chain.
_STREAMS: Final = """
SELECT stream.id::text FROM audit.stream
CROSS JOIN LATERAL (SELECT recorded_at FROM audit.record WHERE record.stream = stream.id
                    ORDER BY number LIMIT 1) AS first
WHERE stream.kind = %s AND first.recorded_at < %s ORDER BY stream.id
"""
# What is overdue ends before the first record that is not: a later one with an old date takes none along.
_FIRST_TO_STAY: Final = """
SELECT number FROM audit.record WHERE stream = %s AND number > %s AND number <= %s AND recorded_at >= %s
ORDER BY number LIMIT 1
"""
_WHAT_GOES: Final = """
SELECT min(recorded_at), max(recorded_at),
       (SELECT statement FROM audit.removal WHERE removal.stream = record.stream AND reason = 'retention')
FROM audit.record WHERE stream = %s AND number > %s AND number <= %s GROUP BY stream
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
    """Delete records whose period is over, at most ``MOST``; how many. Zero if another replica is at it.

    Those that no signed head vouches for stay: they may be evidence. So does what was altered: all that goes, and what
    is left up to the next signed head, is hashed anew before.

    What is left of them is a signed statement with the last number, its hash and the time they span, so that the rest
    of the chain still has its beginning. The deletion is an act of its own in the platform's stream.

    Raises:
        TamperedError: chains that do not hold; of all others, what is overdue was deleted.
    """
    total, tampered = 0, []
    async with connection.transaction():
        got = await (await connection.execute(_TURN)).fetchone()
        if not got or not got[0]:
            return 0
        await connection.execute(_ALLOW)
        for kind, period in retention.periods().items():
            gone = {}
            for (stream,) in await (await connection.execute(_STREAMS, [kind, now - period])).fetchall():
                try:
                    async with connection.transaction():
                        removed = await _remove(connection, signer, stream, (now - period, now), MOST - total)
                except (TamperedError, psycopg.DataError) as error:
                    # Nothing that we write is of a form that PostgreSQL cannot read.
                    what = error if isinstance(error, TamperedError) else "it cannot be read"
                    tampered.append(f"stream {stream}: nothing that is overdue was deleted: {what}")
                    continue
                if removed:
                    gone[stream] = removed["last"]
                    total += removed["last"] - removed["removed_now_from"] + 1
            if gone:
                details = {"kind": kind, "kept_days": period.days, "last_number_gone": gone}
                facts = {"action": "audit.retention", "actor": "system:audit", "object": kind, "details": details}
                await append_entries(connection, [Entry(PLATFORM, "acts", now, facts, None)])
    if tampered:
        raise TamperedError("; ".join(tampered))
    return total


async def _remove(
    connection: Connection, signer: Signer, stream: str, times: tuple[datetime, datetime], most: int
) -> dict[str, Any] | None:
    """Delete what of a stream was recorded before the first time; what is signed of it, at the second one."""
    before, now = times
    judge = Judge(signer)
    chain = await judge.chain(connection, stream)
    if chain is None:
        return None
    if chain.problems:
        raise TamperedError("; ".join(chain.problems))
    start = chain.start.number
    last = min(chain.signed.number, start + most)
    stays = await (await connection.execute(_FIRST_TO_STAY, [stream, start, last, before])).fetchone()
    last = stays[0] - 1 if stays else last
    if last <= start:
        return None
    place = await judge.vouched(connection, chain, last, _SLICE)
    row = await (await connection.execute(_WHAT_GOES, [stream, start, last])).fetchone()
    assert row is not None  # noqa: S101 - they were hashed just now, and removals take turns
    since, until, removed_before = row
    statement = {
        "is": "removal",
        "reason": "retention",
        "stream": stream,
        "first": 1,
        "last": place.number,
        "hash": place.hash,
        "since": json.loads(removed_before)["since"] if removed_before else since.isoformat(),
        "until": until.isoformat(),
        "removed_now_from": start + 1,
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
