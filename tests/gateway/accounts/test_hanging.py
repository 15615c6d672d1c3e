"""A PostgreSQL that hangs, and does not refuse, holds up nobody for longer than once. Needs real stores."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import pytest
from data_servers import PostgresServer
from llmaas_gateway.accounts import tenants
from llmaas_gateway.accounts.account import State
from llmaas_gateway.accounts.database import Database, DatabaseUnavailableError
from llmaas_gateway.accounts.directory import Directory, DirectoryUnavailableError
from llmaas_gateway.accounts.revocation import Revocation
from llmaas_gateway.ledger.ledger import connect

Run = Callable[[Callable[[Any], Awaitable[Any]]], Any]
NOW = datetime(2096, 11, 25, 12, 0, tzinfo=UTC)
TENANTS = tuple(f"tn-{letter}" for letter in "abcdefgh")
# A machine under load may take long for a moment; one timeout for each tenant would take twice what is allowed.
TIMEOUT = 4.0


async def make_all(stores: Any) -> None:
    async with stores.database.change() as connection:
        for tenant in TENANTS:
            await tenants.create(connection, tenant, name=f"the {tenant}", tier="T1", top_up_nano_eur=0, at=NOW)


@asynccontextmanager
async def hanging(postgres: PostgresServer) -> AsyncIterator[None]:
    await asyncio.to_thread(postgres.hang)
    try:
        yield
    finally:
        await asyncio.to_thread(postgres.wake)


class Keys:
    def __init__(self, *known: str) -> None:
        self.known = set(known)

    def hashes(self) -> list[str]:
        return sorted(self.known)

    def remembers(self, key: str) -> bool:
        return key in self.known

    def forget(self, key: str) -> None:
        self.known.discard(key)


async def with_keys(stores: Any) -> None:
    async with stores.database.change() as connection:
        await connection.execute('CREATE TABLE "LiteLLM_VerificationToken" (token text, blocked boolean)')
        await connection.execute(
            'INSERT INTO "LiteLLM_VerificationToken" VALUES (%s, NULL), (%s, true)', [hashed("good"), hashed("bad")]
        )


def hashed(key: str) -> str:
    return sha256(key.encode()).hexdigest()


@pytest.mark.parametrize("kept", [False, True])
def test_those_who_wait_behind_one_that_gets_no_answer_end_with_it(
    in_stores: Run, postgres: PostgresServer, *, kept: bool
) -> None:
    async def action(stores: Any) -> None:
        database = Database(stores.database_url, timeout_seconds=TIMEOUT)
        if kept:
            await database.read("SELECT 1")
        async with hanging(postgres):
            before = time.monotonic()
            answers = await asyncio.gather(*(database.read("SELECT 1") for _ in TENANTS), return_exceptions=True)
            assert time.monotonic() - before < len(TENANTS) * TIMEOUT / 2
        assert {type(answer) for answer in answers} == {DatabaseUnavailableError}
        # the connection that got no answer is not asked again
        assert await database.read("SELECT 1 AS one") == [{"one": 1}]
        await database.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    in_stores(action)


def test_one_who_waits_too_long_behind_others_is_told_so(in_stores: Run) -> None:
    async def action(stores: Any) -> None:
        database = Database(stores.database_url, timeout_seconds=0.2)
        async with database._reading:  # noqa: SLF001 - as by many that take long each
            with pytest.raises(DatabaseUnavailableError, match="others wait for it already"):
                await database.read("SELECT 1")

    in_stores(action)


def test_a_connection_that_died_while_nobody_read_costs_no_answer_within_the_same_time(in_stores: Run) -> None:
    async def action(stores: Any) -> None:
        database = Database(stores.database_url)
        await database.read("SELECT 1")
        await stores.database.read(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        assert await database.read("SELECT 1 AS one") == [{"one": 1}]
        await database.close()

    in_stores(action)


def test_the_copies_serve_while_postgresql_hangs_and_one_question_waits_for_it(
    in_stores: Run, postgres: PostgresServer
) -> None:
    async def action(stores: Any) -> None:
        await make_all(stores)
        now = 1_000_000.0
        database = Database(stores.database_url, timeout_seconds=60)
        directory = Directory(stores.redis, database, prefix=stores.prefix, clock=lambda: now)
        accounts = [await directory.account(tenant) for tenant in TENANTS]
        async with hanging(postgres):
            now += 60
            before = time.monotonic()
            assert await asyncio.gather(*(directory.account(tenant) for tenant in TENANTS)) == accounts
            now += 6  # the rest is over, nobody waits all the same
            for tenant, account in zip(TENANTS, accounts, strict=True):
                assert await directory.account(tenant) == account
            assert time.monotonic() - before < 30
        async with asyncio.timeout(60):
            while directory._refreshing:  # noqa: ASYNC110, SLF001 - what goes on beside has no event
                await asyncio.sleep(0.02)
        # It answers again, and its word counts again: by what came meanwhile, and by asking.
        async with stores.database.change() as connection:
            await tenants.set_state(connection, "tn-a", State.SUSPENDED, NOW)
        now += 60
        assert (await directory.account("tn-a")).suspended
        await directory.close()
        await database.close()

    in_stores(action)


def test_a_call_that_has_no_copy_is_told_after_one_wait(in_stores: Run, postgres: PostgresServer) -> None:
    async def action(stores: Any) -> None:
        await make_all(stores)
        database = Database(stores.database_url, timeout_seconds=TIMEOUT)
        redis = connect("redis://127.0.0.1:9", timeout_seconds=0.2)
        for directory in (Directory(redis, database), Directory(stores.redis, database, prefix=stores.prefix)):
            async with hanging(postgres):
                before = time.monotonic()
                asked = (directory.account(tenant) for tenant in TENANTS)
                answers = await asyncio.gather(*asked, return_exceptions=True)
                assert time.monotonic() - before < len(TENANTS) * TIMEOUT / 2
            assert {type(answer) for answer in answers} == {DirectoryUnavailableError}
        await database.close()
        await redis.aclose()

    in_stores(action)


def test_a_directory_that_ends_leaves_no_question_behind(in_stores: Run, postgres: PostgresServer) -> None:
    async def action(stores: Any) -> None:
        await make_all(stores)
        now = 1_000_000.0
        database = Database(stores.database_url, timeout_seconds=60)
        directory = Directory(stores.redis, database, prefix=stores.prefix, clock=lambda: now, refresh_wait_seconds=0.1)
        await directory.account("tn-a")
        now += 60
        async with hanging(postgres):
            await directory.account("tn-a")
            await directory.close()
            await database.close()
            assert asyncio.all_tasks() == {asyncio.current_task()}

    in_stores(action)


def test_a_revoked_key_is_forgotten_however_long_others_read(in_stores: Run) -> None:
    async def action(stores: Any) -> None:
        await with_keys(stores)
        shared, own = Database(stores.database_url, timeout_seconds=60), Database(stores.database_url)
        remembered = Keys(hashed("good"), hashed("bad"), hashed("gone"))
        revocation = Revocation(own, shared, remembered, stores.directory())
        slow = asyncio.create_task(shared.read("SELECT pg_sleep(60)"))
        await asyncio.sleep(0.1)
        await revocation.look()
        assert remembered.known == {hashed("good")}
        assert not slow.done()
        slow.cancel()
        await asyncio.wait({slow})
        assert not await revocation.any_good(["bad"])
        remembered.forget(hashed("good"))
        assert await revocation.any_good(["bad", "good"])
        await shared.close()
        await own.close()

    in_stores(action)
