"""Redis, records, invoices and LiteLLM are compared, and each difference is named with both sides. Real stores."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import AsyncMock

import psycopg
import pytest
from llmaas_gateway.accounts.database import DatabaseBusyError
from llmaas_gateway.invoices import counters
from llmaas_gateway.invoices.finding import CHECKS
from llmaas_gateway.invoices.watch import ReconciliationWatch
from llmaas_gateway.ledger.limits import Kind, Limit, Window
from llmaas_gateway.metrics import Metrics
from llmaas_gateway.money import NANO_EUR_PER_EUR

Run = Callable[[Callable[[Any], Awaitable[Any]]], Any]


async def quiet(platform: Any) -> str:
    """A tenant with calls, whose figures agree everywhere: some are stored, one is on its way."""
    tenant = await platform.tenant("acme")
    charged = 0
    for number in range(3):
        charged += await platform.call(tenant, f"stored-{number}", {"input": 10, "output": 5})
    await platform.store_records()
    charged += await platform.call(tenant, "on its way", {"output": 9})
    platform.litellm.teams[tenant]["spend"] = charged / NANO_EUR_PER_EUR
    return str(tenant)


def credit_key(platform: Any, tenant: str) -> str:
    limit = Limit("credit", f"tenant:{tenant}", Kind.MONEY, Window.NONE, 0)
    return limit.counter_key(platform.stores.prefix, platform.now)


def test_figures_that_agree_are_counted_and_nothing_is_found(on_platform: Run) -> None:
    async def action(platform: Any) -> None:
        await quiet(platform)
        result = await platform.ask("GET", "/llmaas/reconciliation")
        assert result["findings"] == []
        assert result["compared"] == {
            "redis": 4,
            "records": 2,
            "months": 0,
            "invoices": 0,
            "litellm": 1,
            "directory": 1,
        }

    on_platform(action)


def test_requests_begun_and_not_settled_are_no_difference(on_platform: Run) -> None:
    async def action(platform: Any) -> None:
        tenant = await quiet(platform)
        local = platform.now.astimezone(platform.services.zone)
        for name, scope in (("requests-minute", f"tenant:{tenant}"), ("key-requests-minute", "key:hash")):
            limit = Limit(name, scope, Kind.REQUESTS, Window.MINUTE, 0)
            key = limit.counter_key(platform.stores.prefix, local)
            assert await platform.stores.redis.hincrby(key, "settled", 1) == 5
        assert (await platform.ask("GET", "/llmaas/reconciliation"))["findings"] == []

    on_platform(action)


async def more_in_redis(platform: Any, tenant: str) -> None:
    await platform.stores.redis.hincrby(credit_key(platform, tenant), "settled", 1)


async def less_in_redis(platform: Any, tenant: str) -> None:
    await platform.stores.redis.delete(credit_key(platform, tenant))


async def more_in_the_sums(platform: Any, tenant: str) -> None:
    async with platform.stores.database.change() as connection:
        key = credit_key(platform, tenant)
        await connection.execute("UPDATE ledger.counter SET settled = settled + 7 WHERE key = %s", [key])
    await platform.stores.redis.hincrby(credit_key(platform, tenant), "settled", 7)


async def every_record_gone(platform: Any, tenant: str) -> None:
    async with platform.stores.database.change() as connection:
        await connection.execute("SET session_replication_role = replica")
        await connection.execute("TRUNCATE ledger.record")
    # what LiteLLM counted is not the matter here
    platform.litellm.teams[tenant]["spend"] = 0.0


async def more_at_litellm(platform: Any, tenant: str) -> None:
    platform.litellm.teams[tenant]["spend"] += 0.01


async def much_less_at_litellm(platform: Any, tenant: str) -> None:
    async with platform.stores.database.change() as connection:
        await connection.execute("SET session_replication_role = replica")
        await connection.execute("UPDATE ledger.record SET settled_at = settled_at - interval '1 hour'")
    platform.litellm.teams[tenant]["spend"] = 0.0


async def no_team_at_litellm(platform: Any, tenant: str) -> None:
    del platform.litellm.teams[tenant]


async def a_team_of_nobody(platform: Any, _: str) -> None:
    platform.litellm.teams["tn-lost"] = {"team_id": "tn-lost", "metadata": {"tenant": "tn-lost"}, "spend": 0.0}


async def an_old_copy(platform: Any, tenant: str) -> None:
    await platform.stores.redis.hset(platform.services.directory.key(tenant), "revision", 0)


@pytest.mark.parametrize(
    ("disturb", "check", "words"),
    [
        (more_in_redis, "redis", "Redis has 246001, the records and what is on its way to them 246000"),
        (less_in_redis, "redis", "Redis has 0, the records and what is on its way to them 246000"),
        (more_in_the_sums, "records", "the counter kept in PostgreSQL has 174007, its records 174000"),
        (more_at_litellm, "spend", "LiteLLM counts 0.010246000 EUR, the records come to 0.000174 EUR"),
        (much_less_at_litellm, "spend", "LiteLLM counts 0.000000000 EUR, the records come to 0.000174 EUR, of whi"),
        (no_team_at_litellm, "litellm", "has no such team in LiteLLM"),
        (a_team_of_nobody, "litellm", "LiteLLM has this team for tenant tn-lost, which does not know it"),
        (an_old_copy, "directory", "the copy in Redis is of revision 0, the tenant of 1; mended"),
    ],
)
def test_a_difference_is_named_with_both_sides(
    on_platform: Run, disturb: Callable[[Any, str], Awaitable[None]], check: str, words: str
) -> None:
    async def action(platform: Any) -> None:
        tenant = await quiet(platform)
        await disturb(platform, tenant)
        findings = (await platform.ask("GET", "/llmaas/reconciliation"))["findings"]
        assert [finding["check"] for finding in findings] == [check]
        assert words in findings[0]["message"]

    on_platform(action)


def test_a_loss_of_every_record_is_found_for_each_counter_of_money(on_platform: Run) -> None:
    async def action(platform: Any) -> None:
        tenant = await quiet(platform)
        await every_record_gone(platform, tenant)
        result = await platform.ask("GET", "/llmaas/reconciliation")
        found = [finding for finding in result["findings"] if finding["check"] == "records"]
        key = f"{platform.stores.prefix}:counter:tenant:{tenant}"
        assert [finding["subject"] for finding in found] == [
            f"{key}:credit",
            f"{key}:spend-month:2096-11-01T00:00:00+01:00",
        ]
        assert all("has 174000, its records 0" in finding["message"] for finding in found)

    on_platform(action)


@pytest.mark.parametrize(("days", "compared", "differing"), [(1, 2, 1), (6, 2, 1), (7, 1, 0)])
def test_the_month_before_is_compared_for_a_week(on_platform: Run, days: int, compared: int, differing: int) -> None:
    async def action(platform: Any) -> None:
        tenant = await platform.tenant("monthly", "monthly")
        last_day = datetime(2096, 11, 30, 20, 0, tzinfo=UTC)
        await platform.call(tenant, "last day", {"input": 10}, at=last_day)
        platform.now = datetime(2096, 11, 30, 23, 0, tzinfo=UTC) + timedelta(days=days)
        await platform.call(tenant, "this month", {"input": 10})
        await platform.store_records()
        counters = platform.services.reconciler.counters
        assert await counters.against_records(platform.now) == (compared, [])
        async with platform.stores.database.change() as connection:
            await connection.execute("SET session_replication_role = replica")
            await connection.execute("DELETE FROM ledger.record WHERE request_id = 'last day'")
        assert len((await counters.against_records(platform.now))[1]) == differing

    on_platform(action)


def test_no_month_before_is_missed_where_its_counters_are_forgotten(on_platform: Run) -> None:
    async def action(platform: Any) -> None:
        tenant = await platform.tenant("monthly", "monthly")
        await platform.call(tenant, "november", {"input": 10})
        await platform.store_records()
        async with platform.stores.database.change() as connection:
            await connection.execute("DELETE FROM ledger.counter WHERE key LIKE '%:spend-month:%'")
        platform.now = datetime(2096, 12, 2, tzinfo=UTC)
        assert await platform.services.reconciler.counters.against_records(platform.now) == (0, [])

    on_platform(action)


@pytest.mark.parametrize(
    "table", ["record", "record_2096_11", "top_up", "tenant_history", "invoice", "removed_month", "carried", "tenant"]
)
def test_what_is_only_appended_to_is_not_truncated(on_platform: Run, table: str) -> None:
    async def action(platform: Any) -> None:
        await quiet(platform)
        with pytest.raises(psycopg.errors.RaiseException, match="append-only: TRUNCATE refused"):
            async with platform.stores.database.change() as connection:
                await connection.execute(f"TRUNCATE ledger.{table} CASCADE")

    on_platform(action)


def test_a_redis_that_lost_its_counters_is_not_compared_but_said(on_platform: Run) -> None:
    async def action(platform: Any) -> None:
        await quiet(platform)
        await platform.stores.redis.delete(platform.services.ledger.epoch_key)
        answer = await platform.raw("GET", "/llmaas/reconciliation")
        assert answer.status_code == 503
        assert "lost its counters" in answer.json()["error"]["message"]

    on_platform(action)


async def streams_read(platform: Any) -> int:
    statistics = await platform.stores.redis.info("commandstats")
    return int(statistics.get("cmdstat_xrange", {"calls": 0})["calls"])


@pytest.mark.parametrize("meanwhile", [False, True])
def test_after_an_outage_what_waits_is_not_read_but_waited_for(
    on_platform: Run, monkeypatch: pytest.MonkeyPatch, *, meanwhile: bool
) -> None:
    async def action(platform: Any) -> None:
        tenant = await quiet(platform)
        monkeypatch.setattr(counters, "_MOST_WAITING", 2)
        charged = [await platform.call(tenant, f"waits-{number}", {"output": 9}) for number in range(2)]
        before = await streams_read(platform)
        with monkeypatch.context() as patch:
            if meanwhile:  # they come after the first look
                patch.setattr(counters.Counters, "_check_few_wait", AsyncMock())
            answer = await platform.raw("GET", "/llmaas/reconciliation")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "30")
        assert "3 or more records wait" in answer.json()["error"]["message"]
        assert await streams_read(platform) - before == int(meanwhile)
        # one at night is tried again
        with pytest.raises(DatabaseBusyError):
            await platform.services.nightly.look()
        platform.litellm.teams[tenant]["spend"] += sum(charged) / NANO_EUR_PER_EUR
        await platform.store_records()
        assert (await platform.ask("GET", "/llmaas/reconciliation"))["findings"] == []

    on_platform(action)


def told(metrics: Metrics) -> dict[str, float]:
    """What Prometheus reads of the reconciliation."""
    lines = (line.split(" ") for line in metrics.page().decode().splitlines() if not line.startswith("#"))
    return {name.removeprefix("llmaas_gateway_reconciliation_"): float(value) for name, value in lines}


def test_every_night_one_replica_reconciles_once_and_keeps_what_it_found(
    on_platform: Run, caplog: pytest.LogCaptureFixture
) -> None:
    async def action(platform: Any) -> None:
        tenant = await quiet(platform)
        await more_in_redis(platform, tenant)
        replicas = [platform.services.nightly for _ in range(3)]
        platform.now = datetime(2096, 11, 26, 1, 59, tzinfo=UTC)  # 02:59 in Paris
        assert [await replica.look() for replica in replicas] == [False] * 3
        platform.now = datetime(2096, 11, 26, 2, 0, tzinfo=UTC)
        assert sorted(await asyncio.gather(*(replica.look() for replica in replicas))) == [False, False, True]
        assert [await replica.look() for replica in replicas] == [False] * 3
        kept = await platform.stores.database.read("SELECT night::text, findings FROM ledger.reconciliation")
        assert [(row["night"], row["findings"][0]["check"]) for row in kept] == [("2096-11-26", "redis")]
        assert "Redis has 246001" in caplog.text
        watch = ReconciliationWatch(platform.stores.database)
        seen = Metrics(watch)
        assert told(seen) == {}
        await watch.look()
        at = datetime(2096, 11, 26, 2, 0, tzinfo=UTC).timestamp()
        assert told(seen) == {"timestamp_seconds": at} | {
            f'findings{{check="{check}"}}': float(check == "redis") for check in CHECKS
        }
        platform.now = datetime(2096, 11, 27, 2, 0, tzinfo=UTC)
        assert await replicas[1].look()

    on_platform(action)
