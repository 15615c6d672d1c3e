#!/usr/bin/python3.11 -s
"""Brings LiteLLM's database to the schema of this version, as ``prisma migrate deploy`` does, and ends.

Prisma's own program is native code that is fetched from the internet; the migrations are plain SQL in a Python
package. Each is applied once, in order, in one transaction with its record in ``_prisma_migrations``. That is Prisma's
own table: the official program can take over at any time. Safe to run again, and by several pods at once.
"""

import hashlib
import os
import re
import sys
import time
import uuid
from importlib.resources import files
from pathlib import Path
from typing import LiteralString
from urllib.parse import urlsplit

import psycopg
from litellm_proxy_extras.request_log_indexes import ensure_request_log_indexes
from llmaas_gateway.libpq import libpq_url

# Any number will do, as long as nobody else uses it in this database.
LOCK_KEY = 4_720_260_822
LOCK_SECONDS = 600
CONNECT_SECONDS = 120
HISTORY_TABLE: LiteralString = """
CREATE TABLE IF NOT EXISTS "_prisma_migrations" (
    id VARCHAR(36) PRIMARY KEY,
    checksum VARCHAR(64) NOT NULL,
    finished_at TIMESTAMPTZ,
    migration_name VARCHAR(255) NOT NULL,
    logs TEXT,
    rolled_back_at TIMESTAMPTZ,
    started_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    applied_steps_count INTEGER NOT NULL DEFAULT 0
)
"""


class MigrationError(RuntimeError):
    """The database cannot be brought to the schema; the text says why."""


def database_url(text: str) -> str:
    """The database's URL as libpq takes it."""
    if urlsplit(text).scheme not in {"postgresql", "postgres"}:
        raise MigrationError("DATABASE_URL: expected postgresql://USER:PASSWORD@HOST:5432/DATABASE")
    return libpq_url(text)


def connect(url: str) -> psycopg.Connection:
    """A connection; the database may start later than this program."""
    deadline = time.monotonic() + CONNECT_SECONDS
    reported = ""
    while True:
        try:
            return psycopg.connect(url, autocommit=True, connect_timeout=5)
        except psycopg.OperationalError as error:
            if time.monotonic() > deadline:
                raise MigrationError(f"no connection in {CONNECT_SECONDS} s: {error}") from error
            if str(error) != reported:
                print(f"waiting for the database: {str(error).splitlines()[0]}", flush=True)
                reported = str(error)
            time.sleep(2)


def take_lock(connection: psycopg.Connection) -> None:
    """Wait until no other migration runs; the lock ends with the connection.

    Asked again and again instead of waited for: a waiting statement would hold up the concurrent indexes of the other.
    """
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        row = connection.execute("SELECT pg_try_advisory_lock(%s)", (LOCK_KEY,)).fetchone()
        if row and row[0]:
            return
        if time.monotonic() > deadline:
            raise MigrationError(f"another migration has held the lock for {LOCK_SECONDS} s")
        time.sleep(1)


def migrations() -> list[tuple[str, str]]:
    """Name and SQL of every migration that the package has, in order."""
    root = Path(str(files("litellm_proxy_extras") / "migrations"))
    found = [(path.parent.name, path.read_text(encoding="utf-8")) for path in sorted(root.glob("*/migration.sql"))]
    if not found:
        raise MigrationError(f"{root} holds no migrations")
    return found


def is_concurrent(sql: str) -> bool:
    """Whether it builds an index concurrently, which PostgreSQL refuses in a transaction."""
    return bool(re.search(r"^\s*(CREATE|DROP)\b.*\bCONCURRENTLY\b", sql, re.IGNORECASE | re.MULTILINE))


def apply(connection: psycopg.Connection, name: str, sql: str) -> None:
    """Apply one migration and record it, both or neither.

    A concurrent index is recorded after it is built; should that be cut off, its IF NOT EXISTS makes the next run
    a no-op.
    """
    statement = sql.encode()
    try:
        if is_concurrent(sql):
            connection.execute(statement)
            record(connection, name, sql)
        else:
            with connection.transaction():
                connection.execute(statement)
                record(connection, name, sql)
    except psycopg.Error as error:
        raise MigrationError(f"migration {name}: {error}") from error


def record(connection: psycopg.Connection, name: str, sql: str) -> None:
    """Write the migration into the history, with the checksum that Prisma would have."""
    connection.execute(
        'INSERT INTO "_prisma_migrations" (id, checksum, finished_at, migration_name, applied_steps_count)'
        " VALUES (%s, %s, now(), %s, 1)",
        (str(uuid.uuid4()), hashlib.sha256(sql.encode()).hexdigest(), name),
    )


def migrate(url: str) -> None:
    """Apply what is missing and build the indexes that LiteLLM builds outside its migrations."""
    started = time.monotonic()
    with connect(url) as connection:
        take_lock(connection)
        connection.execute(HISTORY_TABLE)
        rows = connection.execute('SELECT migration_name FROM "_prisma_migrations" WHERE finished_at IS NOT NULL')
        done = {name for (name,) in rows.fetchall()}
        missing = [(name, sql) for name, sql in migrations() if name not in done]
        for name, sql in missing:
            apply(connection, name, sql)
    if not ensure_request_log_indexes(url, "public"):
        raise MigrationError("the indexes of the request log could not be built; run this again")
    print(f"{len(missing)} migrations applied, {len(done)} were there, {time.monotonic() - started:.1f} s", flush=True)


def main() -> int:
    """Exit code for the container: 0 when the database has this version's schema."""
    try:
        migrate(database_url(os.environ["DATABASE_URL"]))
    except KeyError:
        print("DATABASE_URL is not set", file=sys.stderr)
        return 2
    except MigrationError as error:
        print(f"failed: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
