"""The audit as files: for each stream and month one, JSON lines, each file under a signed statement of what it holds.

The first line of a file is the statement: which stream, its first and last record and their hashes, how many signed
heads and removals. Then come removals, then records, each signed head after the record that it is of. A manifest names
all files of an export and, if it is of all tenants, every chain that there is. Every line is canonical JSON, so that no
byte can change unseen.
"""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import psycopg

from llmaas_gateway.audit.log import Connection
from llmaas_gateway.audit.records import canonical
from llmaas_gateway.audit.signing import Signer
from llmaas_gateway.transactions import may_idle

MANIFEST: Final = "manifest.jsonl"

_FILES: Final = """
SELECT stream.id::text, stream.tenant, stream.kind, to_char(month, 'YYYY-MM'), first, last, head.previous, tail.hash,
       (SELECT min(number) FROM audit.record WHERE record.stream = stream.id), stream.number,
       (SELECT count(*) FROM audit.head WHERE head.stream = stream.id AND head.number BETWEEN first AND last)
FROM (SELECT stream, date_trunc('month', recorded_at, 'UTC') AS month, min(number) AS first, max(number) AS last
      FROM audit.record WHERE recorded_at >= %(since)s AND recorded_at < %(until)s
        AND (%(streams)s::uuid[] IS NULL OR stream = ANY (%(streams)s::uuid[])) GROUP BY 1, 2) AS part
JOIN audit.stream ON stream.id = part.stream
JOIN audit.record AS head ON (head.stream, head.number) = (stream.id, first)
JOIN audit.record AS tail ON (tail.stream, tail.number) = (stream.id, last)
ORDER BY stream.tenant <> '', stream.id, month
"""
_STREAMS: Final = """
SELECT stream.id::text, (SELECT min(number) FROM audit.record WHERE record.stream = stream.id), stream.number,
       (SELECT array[statement, key, signature] FROM audit.removal
        WHERE removal.stream = stream.id AND reason = 'retention')
FROM audit.stream ORDER BY stream.id
"""
_RECORDS: Final = """
SELECT record.number, at, body, previous, record.hash, salt, fields, head.statement, head.key, head.signature
FROM audit.record LEFT JOIN audit.personal USING (stream, number) LEFT JOIN audit.head USING (stream, number)
WHERE stream = %s AND record.number BETWEEN %s AND %s ORDER BY record.number
"""
_REMOVALS: Final = "SELECT statement, key, signature FROM audit.removal WHERE stream = %s ORDER BY reason DESC"


class NoSuchTenantError(LookupError):
    """A tenant without any audit record."""


@dataclass(frozen=True, slots=True)
class Span:
    """What is asked for: records chained from ``since`` (included) to ``until``; of one tenant, or of all (None)."""

    since: datetime
    until: datetime
    tenant: str | None = None

    def __post_init__(self) -> None:
        """Refuse what can hold nothing."""
        if self.since.tzinfo is None or self.until.tzinfo is None:
            raise ValueError("since and until: need a time zone")
        if self.since >= self.until:
            raise ValueError(f"since {self.since.isoformat()} is not before until {self.until.isoformat()}")


@dataclass(frozen=True, slots=True)
class _Part:
    """One file to be."""

    statement: dict[str, Any]
    name: str


async def export_lines(connection: Connection, signer: Signer, span: Span) -> AsyncIterator[str]:
    """All files of an export one after the other, without line ends; ``{"file": NAME}`` goes before each.

    The connection must not be in a transaction; all files show the same moment.

    Raises:
        NoSuchTenantError: the tenant has no stream.
    """
    await connection.set_isolation_level(psycopg.IsolationLevel.REPEATABLE_READ)
    async with connection.transaction():
        # Whoever reads the lines may be slow.
        await may_idle(connection)
        parts, signed_at = await _parts(connection, span)
        files = [
            {"name": part.name, **{key: part.statement[key] for key in ("stream", "first", "last", "hash")}}
            for part in parts
        ]
        statement = {
            "is": "manifest",
            "since": span.since.isoformat(),
            "until": span.until.isoformat(),
            "tenant": span.tenant,
            "files": files,
            "signed_at": signed_at,
        }
        if span.tenant is None:
            statement["streams"] = await _streams(connection)
        yield canonical({"file": MANIFEST})
        yield canonical(signer.sign(statement).content())
        for part in parts:
            yield canonical({"file": part.name})
            async for line in _file(connection, signer, part.statement):
                yield line


async def _parts(connection: Connection, span: Span) -> tuple[list[_Part], str]:
    streams = None
    if span.tenant is not None:
        # Its chains first: by their ids only its own records are read, however many all others have.
        known = await connection.execute("SELECT id FROM audit.stream WHERE tenant = %s", [span.tenant])
        streams = [each for (each,) in await known.fetchall()]
        if not streams:
            raise NoSuchTenantError(f"tenant {span.tenant!r} has no audit records; was it erased, or never there?")
    moment = await (await connection.execute("SELECT clock_timestamp()")).fetchone()
    assert moment is not None  # noqa: S101 - a SELECT without FROM has one row
    signed_at = moment[0].isoformat()
    arguments = {"since": span.since, "until": span.until, "streams": streams}
    parts = []
    for row in await (await connection.execute(_FILES, arguments)).fetchall():
        stream, tenant, kind, month, first, last, previous, end, oldest, newest, heads = row
        removals = await (await connection.execute(_REMOVALS, [stream])).fetchall()
        statement = {
            "is": "file",
            "stream": stream,
            "kind": kind,
            "tenant": tenant,
            "month": month,
            "first": first,
            "last": last,
            "previous": previous,
            "hash": end,
            "oldest": oldest,
            "newest": newest,
            "heads": heads,
            "removals": len(removals),
            "signed_at": signed_at,
        }
        # Named by the stream and not by the tenant: file names are seen by more people than contents.
        owner = "platform" if tenant == "" else stream
        parts.append(_Part(statement, f"audit-{owner}-{kind}-{month}.jsonl"))
    return parts, signed_at


async def _streams(connection: Connection) -> list[dict[str, Any]]:
    """Every chain that there is, with or without a file: one that the anchors name and that is not here was deleted."""
    rows = await (await connection.execute(_STREAMS)).fetchall()
    return [
        {
            "stream": stream,
            "oldest": oldest,
            "newest": newest,
            "removal": _content(*removal) if removal else None,
        }
        for stream, oldest, newest, removal in rows
    ]


async def _file(connection: Connection, signer: Signer, statement: dict[str, Any]) -> AsyncIterator[str]:
    yield canonical(signer.sign(statement).content())
    stream = statement["stream"]
    for removal in await (await connection.execute(_REMOVALS, [stream])).fetchall():
        yield _signed_line(*removal)
    async with connection.cursor() as cursor:
        async for row in cursor.stream(_RECORDS, [stream, statement["first"], statement["last"]]):
            number, at, body, previous, stored_hash, salt, fields, head, key, signature = row
            content = {"number": number, "at": at, "body": _read(body), "previous": previous, "hash": stored_hash}
            personal = {"salt": salt, "fields": _read(fields)} if salt is not None else None
            yield canonical({**content, "personal": personal})
            if head is not None:
                yield _signed_line(head, key, signature)


def _signed_line(statement: str, key: str, signature: str) -> str:
    return canonical(_content(statement, key, signature))


def _content(statement: str, key: str, signature: str) -> dict[str, Any]:
    return {"statement": _read(statement), "key": key, "signature": signature}


def _read(text: str) -> Any:
    """What a text in the database says; one that was altered beyond reading is exported all the same, as evidence."""
    try:
        return json.loads(text)
    except ValueError:
        return text
