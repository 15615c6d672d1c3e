"""Heads signed at intervals: proof of what each chain was at a moment, which later changes cannot undo.

Each round signs the head of every chain that grew. The heads of all chains but the platform's acts are also written
into these (an anchor), so that a whole chain cannot go without a trace. Before a head is signed, what came since the
last one is hashed anew: what was altered in the database is never vouched for.
"""

import logging
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import psycopg

from llmaas_gateway.audit.log import Connection, append_entries
from llmaas_gateway.audit.records import PLATFORM, Entry
from llmaas_gateway.audit.signing import Signer
from llmaas_gateway.audit.stored import ANCHOR, Chain, Judge, TamperedError, in_words, keep

_HEADS_AN_ANCHOR: Final = 500
_SLICE: Final = 2_000

_log = logging.getLogger(__name__)

# Where retention took all there was, no head is left either: such a chain is looked at, and has nothing new.
_GROWN: Final = """
SELECT id::text FROM audit.stream
WHERE number > coalesce((SELECT max(number) FROM audit.head WHERE head.stream = stream.id), 0)
  AND (tenant IS NOT DISTINCT FROM '' AND kind = 'acts') = %s
ORDER BY id
"""
_NOW: Final = "SELECT clock_timestamp()"
_KEEP: Final = "INSERT INTO audit.head (stream, number, statement, key, signature) VALUES (%s, %s, %s, %s, %s)"


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
    now = await (await connection.execute(_NOW)).fetchone()
    assert now is not None  # noqa: S101 - a SELECT without FROM has one row
    # Another chain that lost what the platform's anchors say of it is no reason not to sign the platform's.
    judge = Judge(signer, of_others=False)
    statements = []
    for (stream,) in await (await connection.execute(_GROWN, [platform])).fetchall():
        chain, problems = await _judged(connection, judge, stream)
        if problems:
            # What an erasure took between two looks is no alteration.
            chain, problems = await _judged(connection, judge, stream)
        if problems:
            told = in_words(problems)
            _log.error("audit stream %s is not signed: %s", stream, told)
            tampered.append(f"stream {stream}: {told}")
        elif chain is not None:
            number, end = chain.end
            statement = {"is": "head", "stream": stream, "number": number, "hash": end, "signed_at": now[0].isoformat()}
            await keep(connection, _KEEP, (stream, number), signer.sign(statement))
            statements.append(statement)
    return statements


async def _judged(connection: Connection, judge: Judge, stream: str) -> tuple[Chain | None, Sequence[str]]:
    """A chain that has something new, and what is wrong with it since its last signed head."""
    try:
        async with connection.transaction():
            chain = await judge.chain(connection, stream)
            if chain is None or chain.problems:
                return None, chain.problems if chain else ()
            place = max(chain.start, chain.signed)
            if place.number >= chain.end.number:
                return None, ()
            place, problems = await judge.walk(connection, chain, place, chain.end.number, _SLICE)
            if not problems and place != chain.end:
                problems = [f"record {place.number} is not the one that was written last"]
            return chain, problems
    except psycopg.DataError:
        # Nothing that we write is of a form that PostgreSQL cannot read.
        return None, ["it cannot be read"]
