"""Tables are made, or brought up to date, where they are not yet; where they are, nobody is kept waiting for it.

A script changes nothing that is there, but locks all of it against everybody all the same. A sum at night reads for
half an hour: a script that waits for it makes all wait who come after. So what was applied is noted, and seen with a
reading; and what has to be applied waits for a moment at a time.
"""

import hashlib
from typing import Any, Final

import psycopg
from psycopg.rows import tuple_row

# After a lock that was not got. Who comes later waits behind the one who waits for it: not most of the time, then.
LOCKED_RETRY_SECONDS: Final = 20.0
# Another replica applies it: nobody else waits for that.
_TURN: Final = "SET LOCAL lock_timeout = '30s'"
_LOCKS: Final = "SET LOCAL lock_timeout = '2s'"
# In the schema that it tells of: whoever drops the one drops the other.
_NOTES: Final = """
CREATE SCHEMA IF NOT EXISTS {schema};
CREATE TABLE IF NOT EXISTS {schema}.applied_schema (
    name       text PRIMARY KEY,
    sha256     text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)
"""
_NOTE: Final = """
INSERT INTO {schema}.applied_schema (name, sha256) VALUES (%s, %s)
ON CONFLICT (name) DO UPDATE SET sha256 = excluded.sha256, applied_at = excluded.applied_at
"""
_NOTED: Final = "SELECT sha256 FROM {schema}.applied_schema WHERE name = %s"


async def apply(connection: psycopg.AsyncConnection[Any], name: str, *scripts: str) -> bool:
    """Apply scripts in a transaction if they are not what was applied last; False if they are.

    Args:
        connection: to PostgreSQL.
        name: of what they make, ``SCHEMA.PART``; replicas that start together apply it one after the other.
        scripts: in their order.

    Raises:
        psycopg.errors.LockNotAvailable: somebody uses what would be changed; try again in ``LOCKED_RETRY_SECONDS``.
    """
    schema = name.partition(".")[0]
    digest = hashlib.sha256("\0".join(scripts).encode()).hexdigest()
    async with connection.transaction():
        if await _applied(connection, name) == digest:
            return False
        await connection.execute(_TURN)
        # The same object made twice at once is an error in PostgreSQL.
        for turn in (f"{schema}.applied_schema", name):
            await connection.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", [turn])
        if await _applied(connection, name) == digest:
            return False
        await connection.execute(_LOCKS)
        for script in (_NOTES.format(schema=schema), *scripts):
            await connection.execute(script.encode())
        await connection.execute(_NOTE.format(schema=schema).encode(), [name, digest])
    return True


async def _applied(connection: psycopg.AsyncConnection[Any], name: str) -> str | None:
    schema = name.partition(".")[0]
    async with connection.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute("SELECT to_regclass(%s) IS NOT NULL", [f"{schema}.applied_schema"])
        if await cursor.fetchone() != (True,):
            return None
        await cursor.execute(_NOTED.format(schema=schema).encode(), [name])
        row = await cursor.fetchone()
    return None if row is None else str(row[0])
