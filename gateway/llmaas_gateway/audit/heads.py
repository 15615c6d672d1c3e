"""Heads signed at intervals: proof of what each chain was at a moment, which later changes cannot undo.

Each round signs the head of every chain that grew. The heads of all chains but the platform's acts are also written
into these (an anchor), so that a whole chain cannot go without a trace. Before a head is signed, what came since the
last one is hashed anew: what was altered in the database is never vouched for.
"""

import json
import logging
from datetime import datetime
from typing import Any, Final

from llmaas_gateway.audit.log import Connection, append_entries
from llmaas_gateway.audit.records import PLATFORM, Entry, canonical
from llmaas_gateway.audit.signing import Signed, Signer
from llmaas_gateway.chain import GENESIS, Record

ANCHOR: Final = "audit.anchor"
_HEADS_AN_ANCHOR: Final = 500

_log = logging.getLogger(__name__)

_GROWN: Final = """
SELECT stream.id::text, stream.tenant, stream.kind, stream.number, stream.hash, stream.recorded_at,
       coalesce(last.number, removed.number, 0), coalesce(last.hash, removed.hash, %s)
FROM audit.stream
LEFT JOIN LATERAL (SELECT number, statement::jsonb ->> 'hash' AS hash FROM audit.head WHERE head.stream = stream.id
                   ORDER BY number DESC LIMIT 1) AS last ON true
LEFT JOIN LATERAL (SELECT (statement::jsonb ->> 'last')::bigint AS number, statement::jsonb ->> 'hash' AS hash
                   FROM audit.removal WHERE removal.stream = stream.id AND reason = 'retention') AS removed ON true
WHERE stream.number > coalesce(last.number, removed.number, 0)
  AND (stream.tenant IS NOT DISTINCT FROM '' AND stream.kind = 'acts') = %s
ORDER BY stream.id
"""
_SINCE: Final = """
SELECT number, at, body, previous, hash FROM audit.record WHERE stream = %s AND number > %s AND number <= %s
ORDER BY number
"""
_KEEP: Final = "INSERT INTO audit.head (stream, number, statement, key, signature) VALUES (%s, %s, %s, %s, %s)"


class TamperedError(RuntimeError):
    """A chain in the database does not hold; it is not signed. The text names the stream and the record."""


def record_of(number: int, at: str, body: str, previous: str, stored_hash: str) -> Record:
    """A record as it is stored, with the hash that it claims."""
    return Record(number, datetime.fromisoformat(at), json.loads(body), previous, stored_hash)


async def seal(connection: Connection, signer: Signer) -> int:
    """Sign the head of every chain that grew since the last round; how many. Zero if another replica is at it.

    Raises:
        TamperedError: chains that do not hold; all others were signed.
    """
    tampered: list[str] = []
    async with connection.transaction():
        got = await (await connection.execute("SELECT pg_try_advisory_xact_lock(hashtext('audit.seal'))")).fetchone()
        if not got or not got[0]:
            return 0
        signed = await _sign_grown(connection, signer, tampered, platform=False)
        for start in range(0, len(signed), _HEADS_AN_ANCHOR):
            heads = {
                head["stream"]: [head["number"], head["hash"]] for head in signed[start : start + _HEADS_AN_ANCHOR]
            }
            facts = {"action": ANCHOR, "actor": "system:audit", "heads": heads}
            at = datetime.fromisoformat(signed[start]["signed_at"])
            await append_entries(connection, [Entry(PLATFORM, "acts", at, facts, None)])
        signed += await _sign_grown(connection, signer, tampered, platform=True)
    if tampered:
        raise TamperedError("; ".join(tampered))
    return len(signed)


async def _sign_grown(
    connection: Connection, signer: Signer, tampered: list[str], *, platform: bool
) -> list[dict[str, Any]]:
    now = await (await connection.execute("SELECT clock_timestamp()")).fetchone()
    assert now is not None  # noqa: S101 - a SELECT without FROM has one row
    statements = []
    grown = await (await connection.execute(_GROWN, [GENESIS, platform])).fetchall()
    for stream, _, _, number, end, _, since, previous in grown:
        problem = await _problem_since(connection, stream, since, previous, (number, end))
        if problem:
            _log.error("audit stream %s is not signed: %s", stream, problem)
            tampered.append(f"stream {stream}: {problem}")
            continue
        statement = {"is": "head", "stream": stream, "number": number, "hash": end, "signed_at": now[0].isoformat()}
        await keep(connection, _KEEP, (stream, number), signer.sign(statement))
        statements.append(statement)
    return statements


async def keep(connection: Connection, query: str, where: tuple[Any, ...], signed: Signed) -> None:
    """Store a signed statement with the query that takes its place, its text, its key and its signature."""
    await connection.execute(query.encode(), [*where, canonical(signed.statement), signed.key, signed.signature])


async def _problem_since(connection: Connection, stream: str, since: int, previous: str, end: tuple[int, str]) -> str:
    expected = since
    problem = ""
    async with connection.cursor() as cursor:
        async for row in cursor.stream(_SINCE, [stream, since, end[0]]):
            record = record_of(*row)
            expected += 1
            made = Record.make(record.number, record.at, record.body, previous).hash
            fits = (record.number, record.previous, record.hash) == (expected, previous, made)
            if not fits and not problem:
                problem = f"record {expected} was altered, dropped or replaced in the database"
            previous = record.hash
    if not problem and (expected, previous) != end:
        return f"records after {expected} are missing in the database"
    return problem
