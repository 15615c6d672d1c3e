"""What the tests of the audit do with its database: acts, calls, and an export as files."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import psycopg
from data_servers import PostgresServer
from llmaas_gateway.audit.export import Span, export_lines
from llmaas_gateway.audit.log import AuditLog, Connection, migrate
from llmaas_gateway.audit.records import Act
from llmaas_gateway.audit.signing import Signer
from llmaas_gateway.ledger import records

T = TypeVar("T")
START = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)

# Found before PostgreSQL's own function of that name by whoever connects later.
_CLOCK = """
CREATE SCHEMA IF NOT EXISTS later;
CREATE TABLE IF NOT EXISTS later.clock AS SELECT 0 AS days;
CREATE OR REPLACE FUNCTION later.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS
    'SELECT pg_catalog.clock_timestamp() + make_interval(days => days) FROM later.clock'
"""


def act(number: int, tenant: str = "acme", **details: Any) -> Act:
    at = START + timedelta(seconds=number)
    return Act("operator:jeanne", "key.create", f"key-{number}", at, tenant, {"name": f"Ada {number}", **details})


def new_database(server: PostgresServer) -> str:
    """The URL of an empty database with the tables of ledger and audit."""
    url = server.new_database()

    async def make(connection: Connection) -> None:
        await records.migrate(connection)
        await migrate(connection)

    in_database(url, make)
    return url


def let_pass(database: str, days: int) -> None:
    """Let what is there be so much older: PostgreSQL's clock, which times records and heads, goes on by days."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(_CLOCK.encode())
        connection.execute("UPDATE later.clock SET days = days + %s", [days])
        name = connection.info.dbname
        connection.execute(f'ALTER DATABASE "{name}" SET search_path = later, pg_catalog, public'.encode())


def now(database: str) -> datetime:
    """What the database takes the time to be."""
    with psycopg.connect(database, options="-c timezone=UTC") as connection:
        row = connection.execute("SELECT clock_timestamp()").fetchone()
        assert row is not None
        moment: datetime = row[0]
        return moment


def records_of_another(database: str) -> None:
    """Twenty thousand records of a tenant's acts, from now on; they hold nothing."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO audit.record SELECT id, n, '', clock_timestamp(), '{}', '', ''"
            " FROM audit.stream, generate_series(9, 20000) n WHERE tenant = 'globex'"
        )
        connection.execute("ANALYZE audit.record")


def records_read(database: str) -> int:
    """How many records PostgreSQL has read so far, whoever asked for them."""
    query = "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_user_tables WHERE (schemaname, relname) = (%s, %s)"
    with psycopg.connect(database) as connection:
        row = connection.execute(query, ["audit", "record"]).fetchone()
        assert row is not None
        return int(row[0])


def in_database(database: str, action: Callable[[Connection], Awaitable[T]]) -> T:
    """What an action on a connection of its own gives."""

    async def body() -> T:
        async with AuditLog(database).connect() as connection:
            return await action(connection)

    return asyncio.run(body())


def export(database: str, signer: Signer, folder: Path, span: Span | None = None) -> list[Path]:
    """The files of an export of everything, or of a span."""
    span = span or Span(datetime(2020, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))

    async def lines(connection: Connection) -> list[str]:
        return [line async for line in export_lines(connection, signer, span)]

    paths: list[Path] = []
    for line in in_database(database, lines):
        if line.startswith('{"file":'):
            paths.append(folder / json.loads(line)["file"])
            paths[-1].write_text("", encoding="utf-8")
        else:
            with paths[-1].open("a", encoding="utf-8") as file:
                file.write(line + "\n")
    return paths


def note_calls(database: str, identities: list[str], tenant: str = "acme", at: datetime = START) -> None:
    """Rows of the ledger as its consumer inserts them."""
    row = {
        "request_id": "",
        "began_at": at,
        "kind": "settled",
        "tenant": tenant,
        "team": "team-1",
        "api_key": "hash-of-key",
        "billing": "prepaid",
        "model": "m",
        "endpoint": "/v1/chat/completions",
        "status": "success",
        "counts": '{"input": 3}',
        "price_ids": '{"input": "seed/input"}',
        "factor": "1",
        "nano_eur": 29_000,
        "unbilled_nano_eur": 0,
        "output_tokens": 5,
        "latency_ms": 120,
        "settled_at": at,
        "late": False,
    }
    columns = ", ".join(row)
    values = ", ".join(f"%({name})s" for name in row)
    with psycopg.connect(database) as connection:
        connection.execute("SELECT ledger.ensure_month(%s)", [at])
        for identity in identities:
            query = f"INSERT INTO ledger.record ({columns}) VALUES ({values}) ON CONFLICT DO NOTHING"  # noqa: S608
            connection.execute(query.encode(), {**row, "request_id": identity})
