"""Suspension, tiers and credit hold on every replica in seconds, whichever store is away. Needs real stores."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any
from unittest.mock import AsyncMock

import pytest
from llmaas_gateway.accounts import tenants
from llmaas_gateway.accounts.account import Account, State
from llmaas_gateway.accounts.database import Database
from llmaas_gateway.accounts.directory import Directory, DirectoryUnavailableError, UnknownTenantError
from llmaas_gateway.accounts.revocation import Revocation
from llmaas_gateway.ledger.ledger import connect
from llmaas_gateway.tasks import end
from redis.exceptions import RedisError

Run = Callable[[Callable[[Any], Awaitable[Any]]], Any]
NOW = datetime(2096, 11, 25, 12, 0, tzinfo=UTC)
EUR = 1_000_000_000


class Clock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


async def made(stores: Any, tenant: str = "tn-a") -> Account:
    async with stores.database.change() as connection:
        return await tenants.create(
            connection, tenant, name=f"name of {tenant}", tier="T1", top_up_nano_eur=EUR, at=NOW
        )


async def suspended(stores: Any, directory: Directory | None) -> None:
    async with stores.database.change() as connection:
        account = await tenants.set_state(connection, "tn-a", State.SUSPENDED, NOW)
    if directory is not None:
        await directory.publish(account)


def test_a_tenant_is_found_though_redis_never_heard_of_it(in_stores: Run) -> None:
    async def action(stores: Any) -> None:
        account = await made(stores)
        assert await stores.directory().account("tn-a") == account == Account("tn-a", "T1", State.ACTIVE, EUR, 1)
        assert await stores.redis.hget(f"{stores.prefix}:tenant:tn-a", "tier") == b"T1"

    in_stores(action)


@pytest.mark.parametrize("budget", [None, 0, EUR])
def test_a_budget_is_the_same_in_postgresql_and_in_redis(in_stores: Run, budget: int | None) -> None:
    async def action(stores: Any) -> None:
        await made(stores)
        async with stores.database.change() as connection:
            account = await tenants.set_budget(connection, "tn-a", budget, NOW)
        for _ in range(2):  # from PostgreSQL, then from the copy that this leaves in Redis
            assert await stores.directory().account("tn-a") == account
        assert account.budget_nano_eur == budget

    in_stores(action)


def test_the_copy_of_a_replica_that_knows_no_budgets_can_be_read(in_stores: Run) -> None:
    async def action(stores: Any) -> None:
        await made(stores)
        await stores.directory().account("tn-a")
        await stores.redis.hdel(f"{stores.prefix}:tenant:tn-a", "budget_nano_eur")
        assert (await stores.directory().account("tn-a")).budget_nano_eur is None

    in_stores(action)


def test_a_tenant_that_is_not_there_is_unknown(in_stores: Run) -> None:
    async def action(stores: Any) -> None:
        with pytest.raises(UnknownTenantError, match="no tenant 'tn-b'"):
            await stores.directory().account("tn-b")

    in_stores(action)


def test_a_suspension_at_one_replica_holds_at_another_within_two_seconds_and_not_by_chance(in_stores: Run) -> None:
    async def action(stores: Any) -> None:
        await made(stores)
        clock = Clock()
        here, there = (stores.directory(clock=clock) for _ in range(2))
        await there.account("tn-a")
        await suspended(stores, here)
        assert (await here.account("tn-a")).suspended
        clock.now += 1.9
        assert not (await there.account("tn-a")).suspended  # it believes itself: one question to Redis in two seconds
        clock.now += 0.2
        assert (await there.account("tn-a")).suspended

    in_stores(action)


def test_a_push_that_redis_does_not_take_is_repeated_until_it_does(in_stores: Run) -> None:
    async def action(stores: Any) -> None:
        await made(stores)
        impatient = connect(stores.redis_url, timeout_seconds=0.2)
        here, there = Directory(impatient, stores.database, prefix=stores.prefix), stores.directory(cache_seconds=0)
        await there.account("tn-a")
        await stores.redis.client_pause(2_000)
        for state in (State.SUSPENDED, State.ACTIVE, State.SUSPENDED):
            async with stores.database.change() as connection:
                await here.tell(await tenants.set_state(connection, "tn-a", state, NOW))
        assert not (await there.account("tn-a")).suspended  # asked while Redis hung, answered when it woke up
        for _ in range(100):  # for 10 of the 30 seconds after which the copy would be read anew
            if (await there.account("tn-a")).suspended:
                break
            await asyncio.sleep(0.1)
        assert (await there.account("tn-a")).revision == 4
        await here.close()
        await impatient.aclose()

    in_stores(action)


def test_what_cannot_be_pushed_does_not_outlive_the_directory(in_stores: Run) -> None:
    async def action(stores: Any) -> None:
        account = await made(stores)
        directory = Directory(connect("redis://127.0.0.1:9", timeout_seconds=0.2), stores.database)
        await directory.tell(account)
        await directory.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    in_stores(action)


class NoKeys:
    """A process that remembers none."""

    def hashes(self) -> list[str]:
        return []

    def remembers(self, key: str) -> bool:  # noqa: ARG002
        return False

    def forget(self, key: str) -> None:
        """There is none."""


def looking(stores: Any, directory: Directory) -> Revocation:
    return Revocation(stores.database, stores.database, NoKeys(), directory)


def test_a_push_that_never_arrived_is_mended_by_another_replica_within_five_seconds(in_stores: Run) -> None:
    async def action(stores: Any) -> None:
        await made(stores)
        await made(stores, "tn-b")
        here, there = (stores.directory() for _ in range(2))
        looks = asyncio.create_task(looking(stores, here).run())
        async with asyncio.timeout(10):
            while not await stores.redis.exists(here.key("tn-b")):  # noqa: ASYNC110 - until the first look is over
                await asyncio.sleep(0.05)
        assert not (await there.account("tn-a")).suspended
        await suspended(stores, None)  # by a replica that died then
        async with asyncio.timeout(5):
            while not ((await here.account("tn-a")).suspended and (await there.account("tn-a")).suspended):  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        await end(looks)

    in_stores(action)


def test_a_look_asks_for_no_account_that_redis_was_told_of(in_stores: Run) -> None:
    async def action(stores: Any) -> None:
        await made(stores)
        directory = stores.directory()
        looks = looking(stores, directory)
        await looks.look_at_tenants()
        await stores.redis.delete(directory.key("tn-a"))
        await looks.look_at_tenants()
        assert not await stores.redis.exists(directory.key("tn-a"))

    in_stores(action)


def test_what_a_look_could_not_tell_redis_is_told_by_the_next(in_stores: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def action(stores: Any) -> None:
        await made(stores)
        directory = stores.directory()
        looks = looking(stores, directory)
        with monkeypatch.context() as patched:
            patched.setattr(directory, "_push", AsyncMock(side_effect=RedisError))
            await looks.look_at_tenants()
        assert not await stores.redis.exists(directory.key("tn-a"))
        await looks.look_at_tenants()
        assert await stores.redis.hget(directory.key("tn-a"), "state") == b"active"

    in_stores(action)


def test_without_any_look_a_push_that_never_arrived_is_mended_within_half_a_minute(in_stores: Run) -> None:
    async def action(stores: Any) -> None:
        await made(stores)
        clock = Clock()
        directory = stores.directory(clock=clock)
        await directory.account("tn-a")
        await suspended(stores, None)
        clock.now += 29
        assert not (await directory.account("tn-a")).suspended
        clock.now += 3
        assert (await directory.account("tn-a")).suspended

    in_stores(action)


def test_an_old_state_never_overwrites_a_newer_one(in_stores: Run) -> None:
    async def action(stores: Any) -> None:
        old = await made(stores)
        directory = stores.directory()
        await suspended(stores, directory)
        await directory.publish(old)
        assert (await directory.account("tn-a")).suspended

    in_stores(action)


def test_a_redis_that_lost_its_memory_is_filled_again(in_stores: Run) -> None:
    async def action(stores: Any) -> None:
        account = await made(stores)
        clock = Clock()
        directory = stores.directory(clock=clock)
        await directory.account("tn-a")
        await stores.redis.delete(directory.key("tn-a"))
        clock.now += 2
        assert await directory.account("tn-a") == account
        assert await stores.redis.exists(directory.key("tn-a"))

    in_stores(action)


def test_while_postgresql_is_away_the_copy_serves_and_is_not_waited_for_each_time(in_stores: Run) -> None:
    async def action(stores: Any) -> None:
        account = await made(stores)
        clock = Clock()
        await stores.directory(clock=clock).account("tn-a")
        away = Database("postgresql://nobody@127.0.0.1:9/none")
        asked = 0

        class Counting(Database):
            async def read(self, *_: Any) -> Any:
                nonlocal asked
                asked += 1
                return await away.read("SELECT 1")

        directory = Directory(stores.redis, Counting(""), prefix=stores.prefix, clock=clock)
        clock.now += 3_600
        for _ in range(5):
            assert await directory.account("tn-a") == account
            clock.now += 2
        assert asked == 2  # five seconds of rest after each failure

    in_stores(action)


def test_while_redis_is_away_postgresql_answers_and_without_both_nothing_is_guessed(in_stores: Run) -> None:
    async def action(stores: Any) -> None:
        account = await made(stores)
        redis = connect("redis://127.0.0.1:9", timeout_seconds=0.2)
        assert await Directory(redis, stores.database).account("tn-a") == account
        with pytest.raises(DirectoryUnavailableError, match="are away"):
            await Directory(redis, Database("postgresql://nobody@127.0.0.1:9/none")).account("tn-a")
        with pytest.raises(RedisError):
            await Directory(redis, stores.database).publish(account)

    in_stores(action)


def test_calls_of_one_moment_share_one_question(in_stores: Run) -> None:
    async def action(stores: Any) -> None:
        account = await made(stores)
        directory = stores.directory()
        before = (await stores.redis.info("commandstats")).get("cmdstat_hgetall", {"calls": 0})["calls"]
        answers = await asyncio.gather(*(directory.account("tn-a") for _ in range(50)))
        after = (await stores.redis.info("commandstats"))["cmdstat_hgetall"]["calls"]
        assert set(answers) == {account}
        assert after - before == 1

    in_stores(action)


def test_a_connection_that_died_is_replaced(in_stores: Run) -> None:
    async def action(stores: Any) -> None:
        account = await made(stores)
        await stores.database.read("SELECT 1")
        async with stores.database.change() as connection:
            await connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        assert await stores.directory().account("tn-a") == account

    in_stores(action)
