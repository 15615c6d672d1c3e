"""The audit's store: appends to chains in PostgreSQL, any number of replicas at once.

The row of a stream is the end of its chain. Whoever appends locks the rows of all streams that it appends to, in one
order, so the order of records is the order of commits and no two writers ever deadlock or fork a chain.
"""

import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg.rows import tuple_row

from llmaas_gateway import schemas
from llmaas_gateway.audit.records import PLATFORM, Act, Entry, Kind, Personal, canonical, chained

Connection = psycopg.AsyncConnection[Any]

_SCHEMA: Final = (Path(__file__).parent / "schema.sql").read_text(encoding="utf-8")

_ADD_STREAMS: Final = """
INSERT INTO audit.stream (id, tenant, kind)
SELECT * FROM unnest(%s::uuid[], %s::text[], %s::text[]) AS new (id, tenant, kind) ORDER BY tenant, kind
ON CONFLICT DO NOTHING
"""
_FIND_STREAMS: Final = """
SELECT count(*) FROM audit.stream JOIN unnest(%s::text[], %s::text[]) AS wanted (tenant, kind) USING (tenant, kind)
"""
# clock_timestamp, not now(): the time after the lock was got, which never runs backwards along a chain.
_LOCK_STREAMS: Final = """
SELECT id::text, tenant, kind, number, hash, greatest(recorded_at, clock_timestamp()) FROM audit.stream
JOIN unnest(%s::text[], %s::text[]) AS wanted (tenant, kind) USING (tenant, kind)
ORDER BY tenant, kind FOR UPDATE OF stream
"""
_ADD_RECORD: Final = """
INSERT INTO audit.record (stream, number, at, recorded_at, body, previous, hash) VALUES (%s, %s, %s, %s, %s, %s, %s)
"""
_ADD_PERSONAL: Final = "INSERT INTO audit.personal (stream, number, salt, fields) VALUES (%s, %s, %s, %s)"
_MOVE_ENDS: Final = """
UPDATE audit.stream SET number = moved.number, hash = moved.hash, recorded_at = moved.recorded_at
FROM unnest(%s::uuid[], %s::bigint[], %s::text[], %s::timestamptz[]) AS moved (id, number, hash, recorded_at)
WHERE stream.id = moved.id
"""


@dataclass(frozen=True, slots=True)
class Position:
    """Where a record stands: its stream, its number there, and its hash."""

    stream: str
    number: int
    hash: str


async def migrate(connection: Connection) -> None:
    """Make what is missing; the ledger's tables must be there.

    Raises:
        psycopg.errors.LockNotAvailable: somebody uses what would be changed; try again later.
    """
    await schemas.apply(connection, "audit.schema", _SCHEMA)


async def append_entries(connection: Connection, entries: Sequence[Entry]) -> list[Position]:
    """Chain entries, in the transaction that the connection is in; where they stand, in the order of the entries."""
    grouped: dict[tuple[str, Kind], list[int]] = defaultdict(list)
    for index, entry in enumerate(entries):
        grouped[entry.tenant, entry.kind].append(index)
    if not grouped:
        return []
    places: dict[int, Position] = {}
    records: list[tuple[Any, ...]] = []
    personals: list[tuple[Any, ...]] = []
    ends: list[tuple[Any, ...]] = []
    for stream, tenant, kind, start, end_hash, recorded_at in await lock_streams(connection, sorted(grouped)):
        number, previous = start, end_hash
        for index in grouped[tenant, kind]:
            number += 1
            entry = entries[index]
            personal = Personal.seal(entry.personal) if entry.personal is not None else None
            record = chained(entry, personal, stream=stream, number=number, recorded_at=recorded_at, previous=previous)
            previous = record.hash
            places[index] = Position(stream, number, record.hash)
            body = canonical(record.body)
            records.append((stream, number, record.at.isoformat(), recorded_at, body, record.previous, record.hash))
            if personal:
                personals.append((stream, number, personal.salt, canonical(personal.fields)))
        ends.append((stream, number, previous, recorded_at))
    async with connection.cursor() as cursor:
        await cursor.executemany(_ADD_RECORD, records)
        if personals:
            await cursor.executemany(_ADD_PERSONAL, personals)
        await cursor.execute(_MOVE_ENDS, [list(column) for column in zip(*ends, strict=True)])
    return [places[index] for index in range(len(entries))]


async def lock_streams(connection: Connection, wanted: Sequence[tuple[str, Kind]]) -> list[tuple[Any, ...]]:
    """Lock the ends of streams until the transaction ends, in the order in which everybody does; missing ones are made.

    Args:
        connection: in a transaction.
        wanted: tenant and kind of each, sorted.

    Returns:
        Of each its id, tenant, kind, number, hash, and the time for its next record.
    """
    tenants, kinds = [tenant for tenant, _ in wanted], [kind for _, kind in wanted]
    async with connection.cursor(row_factory=tuple_row) as cursor:
        found = await (await cursor.execute(_FIND_STREAMS, [tenants, kinds])).fetchone()
        if not found or found[0] < len(wanted):
            await cursor.execute(_ADD_STREAMS, [[uuid.uuid4() for _ in wanted], tenants, kinds])
        rows = await (await cursor.execute(_LOCK_STREAMS, [tenants, kinds])).fetchall()
    if len(rows) < len(wanted):
        # An erasure took a stream away between the two statements; the caller's transaction is tried again.
        raise psycopg.errors.SerializationFailure("a tenant was erased while a record was appended to its stream")
    return rows


class AuditLog:
    """Records administrative acts."""

    def __init__(self, database: str) -> None:
        """Takes a PostgreSQL URL."""
        self._database = database

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Connection]:
        """A connection of its own, in UTC."""
        async with await psycopg.AsyncConnection.connect(
            self._database, connect_timeout=5, autocommit=True, options="-c timezone=UTC"
        ) as connection:
            yield connection

    async def append(self, acts: Sequence[Act], connection: Connection | None = None) -> list[Position]:
        """Record acts, all or none; where they stand.

        Args:
            acts: what was done.
            connection: of a transaction that the acts happen in, so that both are committed or neither; without it,
                the acts are committed when this returns.

        Raises:
            psycopg.Error: nothing was recorded; the act must not be done, or must be undone.
        """
        entries = [act.entry() for act in acts]
        if connection is not None:
            async with connection.transaction():
                return await append_entries(connection, entries)
        async with self.connect() as own, own.transaction():
            return await append_entries(own, entries)

    async def declare(self, act: Act) -> Position | None:
        """Record what is in force (a configuration, a price book) if it differs from the last that was recorded.

        Every replica declares it at its start; only a change leaves a record. The act must concern the platform.
        """
        if act.tenant != PLATFORM:
            raise ValueError(f"tenant: {act.tenant!r}; only what concerns the platform is declared")
        query = """
            SELECT body::jsonb -> 'facts' -> 'details' FROM audit.record JOIN audit.stream ON stream.id = record.stream
            WHERE tenant = '' AND kind = 'acts' AND body::jsonb -> 'facts' ->> 'action' = %s
              AND body::jsonb -> 'facts' ->> 'object' = %s
            ORDER BY record.number DESC LIMIT 1
        """
        async with self.connect() as own, own.transaction():
            # Replicas that start together see each other's record.
            await own.execute("SELECT pg_advisory_xact_lock(hashtext('audit.declare'))")
            last = await (await own.execute(query, [act.action, act.object])).fetchone()
            if last is not None and canonical(last[0]) == canonical(act.details):
                return None
            return (await append_entries(own, [act.entry()]))[0]
