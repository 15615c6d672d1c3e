"""Judges what the database holds of a chain, a stretch at a time. PostgreSQL hashes, so that no call waits for it.

All of it runs in one transaction of isolation level REPEATABLE READ: chains grow meanwhile, and retention deletes.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from llmaas_gateway.audit.log import Connection
from llmaas_gateway.audit.records import canonical
from llmaas_gateway.audit.signing import Signed, Signer, Verifier
from llmaas_gateway.chain import GENESIS

# The action of the platform's records that hold the heads of all other chains.
ANCHOR: Final = "audit.anchor"

# What is hashed is put together as ``chain.Record.make`` does it, from texts that are stored as they were hashed.
_STRETCH: Final = """
WITH stretch AS (
    SELECT stream::text, number, record.hash, previous, body, recorded_at, salt, fields,
           lag(number, 1, %(number)s::bigint) OVER by_number AS number_before,
           lag(record.hash, 1, %(hash)s::text) OVER by_number AS hash_before,
           '{"at":' || to_json(at) || ',"body":' || body || ',"number":' || number
               || ',"previous":' || to_json(previous) || '}' AS content
    FROM audit.record LEFT JOIN audit.personal USING (stream, number)
    WHERE stream = %(stream)s AND number > %(number)s AND number <= %(end)s
    WINDOW by_number AS (ORDER BY number) ORDER BY number LIMIT %(most)s
), judged AS (
    SELECT number, hash, CASE
        WHEN number <> number_before + 1
            THEN 'records ' || number_before + 1 || ' to ' || number - 1 || ' are missing'
        WHEN hash <> encode(sha256(convert_to(content, 'UTF8')), 'hex') THEN 'record ' || number || ' was altered'
        WHEN previous <> hash_before THEN 'record ' || number || ' does not follow the one before: one was replaced'
        WHEN body::jsonb ->> 'stream' IS DISTINCT FROM stream
            THEN 'record ' || number || ' is of another stream'
        WHEN recorded_at IS DISTINCT FROM (body::jsonb ->> 'recorded_at')::timestamptz
            THEN 'the time of recording beside record ' || number || ' is not the one in it: it was altered'
        WHEN salt IS NULL AND number > %(erased)s AND body::jsonb ->> 'personal' IS NOT NULL
            THEN 'the personal part of record ' || number || ' is gone without an erasure'
        WHEN salt IS NOT NULL AND (number <= %(erased)s OR body::jsonb ->> 'personal'
            IS DISTINCT FROM encode(sha256(convert_to(salt || ':' || fields, 'UTF8')), 'hex'))
            THEN 'the personal part of record ' || number || ' was altered'
        END AS problem
    FROM stretch
)
SELECT number, hash, problem FROM judged
WHERE problem IS NOT NULL OR number = (SELECT max(number) FROM stretch) ORDER BY number
"""
_CHAIN: Final = """
SELECT tenant = '' AND kind = 'acts', number, hash,
       (SELECT array[statement, key, signature] FROM audit.removal WHERE stream = id AND reason = 'retention'),
       (SELECT array[statement, key, signature] FROM audit.removal WHERE stream = id AND reason = 'erasure'),
       (SELECT array[statement, key, signature] FROM audit.head WHERE stream = id ORDER BY number DESC LIMIT 1)
FROM audit.stream WHERE id = %s
"""
# Of each stream the last anchor in a stretch of the platform's: the chain itself holds what was before.
_ANCHORS: Final = """
WITH anchored AS (
    SELECT DISTINCT ON (head.key)
           head.key::uuid AS stream, (head.value ->> 0)::bigint AS number, head.value ->> 1 AS hash
    FROM audit.record, jsonb_each(body::jsonb #> '{facts,heads}') AS head
    WHERE stream = %(stream)s AND number > %(after)s AND number <= %(last)s
      AND body::jsonb #>> '{facts,action}' = %(action)s
    ORDER BY head.key, record.number DESC
)
SELECT stream::text, number FROM anchored LEFT JOIN audit.record USING (stream, number)
WHERE record.hash IS DISTINCT FROM anchored.hash AND number > coalesce((
    SELECT (statement::jsonb ->> 'last')::bigint FROM audit.removal
    WHERE removal.stream = anchored.stream AND reason = 'retention'), 0)
"""
_VOUCHING: Final = """
SELECT array[statement, key, signature] FROM audit.head WHERE stream = %s AND number >= %s ORDER BY number LIMIT 1
"""
_HASH: Final = "SELECT hash FROM audit.record WHERE stream = %s AND number = %s"
_TOLD: Final = 5


class TamperedError(RuntimeError):
    """A chain in the database does not hold; the text names the stream and the record."""


def in_words(problems: Sequence[str]) -> str:
    """The first of what is wrong with a chain, as one line."""
    return "; ".join(problems[:_TOLD])


class Place(NamedTuple):
    """Where a chain stands: the number of a record and its hash."""

    number: int
    hash: str


@dataclass(frozen=True, slots=True)
class Chain:
    """What is claimed of a stream.

    Attributes:
        platform: whether it is the platform's own, which has the anchors of all others.
        start: the last record that retention took; the genesis where it took none.
        end: the last record.
        signed: the last record that a signed head vouches for.
        erased: the last record whose personal part went with its tenant.
        problems: signatures that do not hold.
    """

    stream: str
    platform: bool
    start: Place
    end: Place
    signed: Place
    erased: int
    problems: list[str] = field(default_factory=list)


class Judge:
    """Judges chains. What another key of the platform signed before is believed: only an export can verify it."""

    def __init__(self, signer: Signer, *, of_others: bool = True) -> None:
        """Takes the platform's key, and whether what the platform's chain says of others is held against these."""
        self._of_others = of_others
        self._key = signer.key
        self._verifier = Verifier.from_pems([signer.public_pem()])

    def read(self, row: list[str]) -> Mapping[str, Any]:
        """The statement in a text, a key and a signature.

        Raises:
            ValueError: it is none, or its signature does not hold.
        """
        text, key, signature = row
        statement: Mapping[str, Any] = json.loads(text)
        problem = self._verifier.problem(Signed(statement, key, signature)) if key == self._key else ""
        if problem:
            raise ValueError(problem)
        return statement

    async def chain(self, connection: Connection, stream: str) -> Chain | None:
        """What is claimed of a stream; None if there is none of that id."""
        row = await (await connection.execute(_CHAIN, [stream])).fetchone()
        if row is None:
            return None
        platform, number, end_hash, *signed = row
        problems: list[str] = []
        places = []
        for each, what, name in zip(signed, ("removal", "erasure", "head"), ("last", "last", "number"), strict=True):
            place = Place(0, GENESIS)
            try:
                if each is not None:
                    place = self._place(each, stream, name)
            except (ValueError, KeyError, TypeError) as error:
                problems.append(f"its signed {what} was altered: {error}")
            places.append(place)
        removal, erasure, head = places
        return Chain(stream, bool(platform), removal, Place(number, end_hash), head, erasure.number, problems)

    def _place(self, signed: list[str], stream: str, name: str) -> Place:
        statement = self.read(signed)
        if statement["stream"] != stream:
            raise ValueError("it is of another stream")
        return Place(int(statement[name]), str(statement.get("hash")))

    async def stretch(
        self, connection: Connection, chain: Chain, after: Place, most: int, until: int | None = None
    ) -> tuple[Place, list[str]]:
        """Where the next records of a chain end, at most so many and up to a number, and what is wrong with them."""
        arguments = {
            "stream": chain.stream,
            "number": after.number,
            "hash": after.hash,
            "end": chain.end.number if until is None else until,
            "erased": chain.erased,
            "most": most,
        }
        rows = await (await connection.execute(_STRETCH, arguments)).fetchall()
        if not rows:
            return after, []
        last = Place(*rows[-1][:2])
        problems = [problem for _, _, problem in rows if problem]
        if self._of_others and chain.platform and not problems:
            problems = await self._anchors(connection, chain.stream, after, last)
        return last, problems

    async def walk(
        self, connection: Connection, chain: Chain, after: Place, until: int, most: int
    ) -> tuple[Place, list[str]]:
        """Where a chain stands at a record, stretch by stretch of at most so many, and the first that is wrong."""
        place, problems = after, list[str]()
        while not problems and place.number < until:
            before = place
            place, problems = await self.stretch(connection, chain, before, most, until)
            if place == before and not problems:
                problems = [f"records {place.number + 1} to {until} are missing"]
        return place, problems

    async def vouched(self, connection: Connection, chain: Chain, last: int, most: int) -> Place:
        """A record of a chain, once all before it and those up to the next signed head were found as they were written.

        Args:
            connection: in a transaction.
            chain: what is claimed of it.
            last: the number of the record; a head vouches for it or for one after it.
            most: how many records PostgreSQL hashes at a time.

        Raises:
            TamperedError: something was altered or is missing; the text says what.
        """
        problems = list(chain.problems)
        head = place = wanted = chain.start
        try:
            row = await (await connection.execute(_VOUCHING, [chain.stream, last])).fetchone()
            head = self._place(row[0] if row else [], chain.stream, "number")
        except (ValueError, KeyError, TypeError) as error:
            problems.append(f"the signed head of record {last} or of one after it was altered: {error}")
        if not problems:
            wanted, problems = await self.walk(connection, chain, chain.start, last, most)
        if not problems:
            place, problems = await self.walk(connection, chain, wanted, head.number, most)
        if not problems and place != head:
            problems = [f"a signed head vouches for record {head.number}, which is another"]
        if problems:
            raise TamperedError(in_words(problems))
        return wanted

    async def _anchors(self, connection: Connection, stream: str, after: Place, last: Place) -> list[str]:
        arguments = {"stream": stream, "after": after.number, "last": last.number, "action": ANCHOR}
        rows = await (await connection.execute(_ANCHORS, arguments)).fetchall()
        return [f"it has an anchor of record {number} of stream {of}, which is gone or another" for of, number in rows]

    async def end(self, connection: Connection, chain: Chain, last: Place) -> list[str]:
        """What is wrong with the end of a chain whose last record was found to be this one."""
        problems = list(chain.problems)
        if last.number < chain.end.number:
            problems.append(f"records {last.number + 1} to {chain.end.number} are missing")
        elif last.hash != chain.end.hash:
            problems.append(f"record {last.number} is not the one that was written last")
        if not await self.holds(connection, chain.stream, chain.signed):
            problems.append(f"a signed head vouches for record {chain.signed.number}, which is gone or another")
        return problems

    async def holds(self, connection: Connection, stream: str, place: Place) -> bool:
        """Whether a stream still has a record, or a removal says that its time was over."""
        found = await (await connection.execute(_HASH, [stream, place.number])).fetchone()
        if found is not None:
            return bool(found[0] == place.hash)
        chain = await self.chain(connection, stream)
        return chain is not None and place.number <= chain.start.number


async def keep(connection: Connection, query: str, where: tuple[Any, ...], signed: Signed) -> None:
    """Store a signed statement with the query that takes its place, its text, its key and its signature."""
    await connection.execute(query.encode(), [*where, canonical(signed.statement), signed.key, signed.signature])
