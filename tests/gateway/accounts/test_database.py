"""Sums over many records take their time beside everything else, a few at once. Needs real stores."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import psycopg
import pytest
from llmaas_gateway.accounts.database import Database, DatabaseBusyError, DatabaseUnavailableError, rows
from ports import free_port

Run = Callable[[Callable[[Any], Awaitable[Any]]], Any]


async def slept(database: Database, seconds: float) -> None:
    async with database.summing() as connection:
        await rows(connection, "SELECT pg_sleep(%s)", [seconds])


def test_sums_that_take_long_hold_up_no_other_reading_and_are_few(in_stores: Run) -> None:
    async def action(stores: Any) -> None:
        database = Database(stores.database_url, timeout_seconds=1, place_seconds=0.2)
        slow = [asyncio.create_task(slept(database, 2)) for _ in range(2)]
        await asyncio.sleep(0.3)
        before = time.monotonic()
        assert await database.read("SELECT 1 AS one") == [{"one": 1}]
        assert time.monotonic() - before < 0.9
        with pytest.raises(DatabaseBusyError, match="other sums are being made"):
            await slept(database, 0)
        # longer than a reading may take
        await asyncio.gather(*slow)
        await slept(database, 0)
        await database.close()

    in_stores(action)


def test_a_sum_that_takes_too_long_is_ended_and_its_place_is_free_again(in_stores: Run) -> None:
    async def action(stores: Any) -> None:
        database = Database(stores.database_url, sum_seconds=0.2, place_seconds=0.1)
        for _ in range(3):
            with pytest.raises(DatabaseBusyError, match="ask for a shorter period"):
                await slept(database, 30)
        running = "SELECT count(*) AS n FROM pg_stat_activity WHERE state = 'active' AND query ~ '^SELECT pg_sleep'"
        assert (await stores.database.read(f"{running} AND pid <> pg_backend_pid()"))[0]["n"] == 0

    in_stores(action)


def test_a_sum_changes_nothing_and_one_without_a_database_gives_its_place_back(in_stores: Run) -> None:
    async def action(stores: Any) -> None:
        async with stores.database.summing() as connection:
            with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
                await connection.execute("DELETE FROM ledger.counter")
        away = Database(f"postgresql://127.0.0.1:{free_port()}/nothing", place_seconds=0.1)
        for _ in range(3):
            with pytest.raises(DatabaseUnavailableError, match="does not answer"):
                await slept(away, 0)

    in_stores(action)


def test_one_tenant_does_not_take_the_places_of_all(in_stores: Run) -> None:
    async def action(stores: Any) -> None:
        database = stores.database
        database._place_seconds = 0.1  # noqa: SLF001 - ten seconds are long for a test
        async with database.summing("acme"):
            with pytest.raises(DatabaseBusyError):
                async with database.summing("acme"):
                    pass
            async with database.summing("globex"):
                with pytest.raises(DatabaseBusyError):
                    async with database.summing():
                        pass
        async with database.summing("acme"), database.summing():
            pass

    in_stores(action)


@pytest.mark.parametrize("path", ["/v1/usage", "/v1/usage/requests"])
def test_a_tenant_whose_usage_waits_for_others_is_told_when_to_ask_again(on_platform: Run, path: str) -> None:
    async def action(platform: Any) -> None:
        await platform.tenant("acme")
        key = (await platform.ask("POST", "/llmaas/tenants/acme/keys", {"name": "app"}))["key"]
        database = platform.stores.database
        database._place_seconds = 0.1  # noqa: SLF001 - ten seconds are long for a test
        async with AsyncExitStack() as others:
            for _ in range(2):
                await others.enter_async_context(database.summing())
            answer = await platform.raw("GET", path, key=key)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "30")
        assert answer.json()["error"]["code"] == "busy"
        assert (await platform.raw("GET", path, key=key)).status_code == 200

    on_platform(action)
