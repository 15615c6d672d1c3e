"""A replica that starts while sums are made over the tables shuts nobody out of them. Needs real stores."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest
from llmaas_gateway import schemas
from llmaas_gateway.accounts import directory
from llmaas_gateway.accounts.database import Database, DatabaseUnavailableError
from llmaas_gateway.audit import log as audit
from llmaas_gateway.ledger import records
from llmaas_gateway.proxy.tables import Tables
from llmaas_gateway.tasks import end

Run = Callable[[Callable[[Any], Awaitable[Any]]], Any]
READ = "SELECT count(*) AS n FROM ledger.tenant, ledger.partition, ledger.tenant_account, ledger.record"
WAITING = "SELECT count(*) AS n FROM pg_locks WHERE NOT granted"


async def migrate_all(url: str) -> None:
    database = Database(url)
    async with await psycopg.AsyncConnection.connect(url) as connection:
        await records.migrate(connection)
        await audit.migrate(connection)
    await directory.migrate(database)
    await Tables(database).make()


@asynccontextmanager
async def reading(url: str) -> AsyncIterator[None]:
    """A transaction that sums over the tables, for as long as the block runs."""
    async with await psycopg.AsyncConnection.connect(url) as sum_:
        await sum_.execute(READ.encode())
        yield


async def forget(stores: Any) -> None:
    """As a database of a version before: what it has was not noted, or is not what would be applied now."""
    async with stores.database.change() as connection:
        await connection.execute("UPDATE ledger.applied_schema SET sha256 = 'another'")


def test_what_is_there_is_not_locked_by_a_replica_that_starts(in_stores: Run) -> None:
    async def action(stores: Any) -> None:
        await migrate_all(stores.database_url)
        async with (
            await psycopg.AsyncConnection.connect(stores.database_url) as holder,
            await psycopg.AsyncConnection.connect(stores.database_url, autocommit=True) as reader,
        ):
            # stronger than any reading: not even a reading's lock is taken for a start
            await holder.execute("LOCK TABLE ledger.tenant, ledger.record IN ACCESS EXCLUSIVE MODE")
            async with asyncio.timeout(60):
                await migrate_all(stores.database_url)
            await holder.rollback()
            async with reading(stores.database_url), asyncio.timeout(60):
                await asyncio.gather(*(migrate_all(stores.database_url) for _ in range(3)))
                await reader.execute(READ.encode())

    in_stores(action)


def test_what_must_be_changed_waits_a_moment_and_is_changed_later(in_stores: Run) -> None:
    async def action(stores: Any) -> None:
        await forget(stores)
        tables = Tables(stores.database, retry_seconds=0.1)
        async with reading(stores.database_url):
            with pytest.raises(DatabaseUnavailableError, match="LockNotAvailable"):
                await tables.make()
            later = asyncio.create_task(tables.run())
            # while it waits for its turn, others read before long
            async with asyncio.timeout(60):
                while not (await stores.database.read(WAITING))[0]["n"]:  # noqa: ASYNC110 - another program's lock has no event
                    await asyncio.sleep(0.01)
                async with stores.database.change() as connection:
                    await connection.execute(READ.encode())
            assert not later.done()
        async with asyncio.timeout(60):
            await later
        noted = await stores.database.read("SELECT name, sha256 <> 'another' AS new FROM ledger.applied_schema")
        assert {(row["name"], row["new"]) for row in noted} == {("ledger.accounts", True), ("ledger.record", True)}

    in_stores(action)


def test_tables_that_could_not_be_made_at_the_start_are_made_when_postgresql_is_there(in_stores: Run) -> None:
    async def action(stores: Any) -> None:
        away = Database("postgresql://nobody@127.0.0.1:9/none")
        tables = Tables(away, retry_seconds=0.05)
        with pytest.raises(DatabaseUnavailableError):
            await tables.make()
        later = asyncio.create_task(tables.run())
        await asyncio.sleep(0.3)
        assert not later.done()
        await forget(stores)
        away._url = stores.database_url  # noqa: SLF001 - it is there again
        async with asyncio.timeout(60):
            await later
        await end(later)

    in_stores(action)


def test_a_script_is_applied_again_only_when_it_is_another(in_stores: Run) -> None:
    async def action(stores: Any) -> None:
        script = "CREATE TABLE IF NOT EXISTS ledger.some (n int); INSERT INTO ledger.some VALUES ({})"
        async with await psycopg.AsyncConnection.connect(stores.database_url) as connection:
            applied = [await schemas.apply(connection, "ledger.some", script.format(n)) for n in (1, 1, 2, 2, 1)]
            assert connection.info.transaction_status is psycopg.pq.TransactionStatus.IDLE
        assert applied == [True, False, True, False, True]
        found = await stores.database.read("SELECT n FROM ledger.some")
        assert [row["n"] for row in found] == [1, 2, 1]

    in_stores(action)


def test_a_script_that_fails_is_not_taken_for_applied(in_stores: Run) -> None:
    async def action(stores: Any) -> None:
        async with await psycopg.AsyncConnection.connect(stores.database_url) as connection:
            for _ in range(2):
                with pytest.raises(psycopg.errors.DivisionByZero):
                    await schemas.apply(connection, "ledger.some", "CREATE TABLE ledger.some ()", "SELECT 1 / 0")

    in_stores(action)
