"""Accounts whose legal period is over go, month by month, with a trace; all that counts goes on. Real stores."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from llmaas_gateway.accounts.database import DatabaseUnavailableError
from llmaas_gateway.audit.heads import seal
from llmaas_gateway.audit.requests import chain_all
from llmaas_gateway.audit.signing import Signer
from llmaas_gateway.invoices.months import Month
from llmaas_gateway.invoices.removal import AccountsRemoval, AccountsSettings
from llmaas_gateway.ledger.rebuild import rebuild
from llmaas_gateway.money import NANO_EUR_PER_EUR
from pydantic import ValidationError

Run = Callable[[Callable[[Any], Awaitable[Any]]], Any]
PARIS = ZoneInfo("Europe/Paris")
# Long ago by PostgreSQL's clock, which has a word in what may be removed.
OVER = datetime(2026, 1, 31, 0, 0, tzinfo=PARIS)
NOVEMBER, DECEMBER, JANUARY = Month(2025, 11), Month(2025, 12), Month(2026, 1)


def removal(platform: Any, **settings: int) -> AccountsRemoval:
    """As one replica has it; kept for thirty days after the financial year, that of the calendar unless told."""
    accounts = AccountsSettings(**{"days": 30, **settings})
    services = replace(platform.services, accounts=accounts)
    return services.removal  # type: ignore[no-any-return]  # the platform is Any


async def end_of_a_year(platform: Any) -> str:
    """Two tenants' calls of three months, stored; two of one tenant around midnight of the new year in Paris."""
    platform.now = datetime(2025, 11, 10, tzinfo=UTC)
    acme, other = await platform.tenant("acme"), await platform.tenant("other", "monthly")
    await platform.call(acme, "november", {"input": 1_000})
    await platform.call(acme, "december", {"input": 2_000}, at=datetime(2025, 12, 10, tzinfo=UTC))
    await platform.call(other, "others", {"output": 3_000}, at=datetime(2025, 12, 11, tzinfo=UTC))
    await platform.call(acme, "old year", {"input": 10}, at=datetime(2025, 12, 31, 23, 59, 59, tzinfo=PARIS))
    await platform.call(acme, "new year", {"input": 20}, at=datetime(2026, 1, 1, 0, 30, tzinfo=PARIS))
    await platform.call(acme, "january", {"input": 4_000}, at=datetime(2026, 1, 10, tzinfo=UTC))
    await platform.store_records()
    for tenant in (acme, other):
        query = "SELECT sum(nano_eur) AS spent FROM ledger.record WHERE team = %s"
        spent = (await platform.stores.database.read(query, [tenant]))[0]["spent"]
        platform.litellm.teams[tenant]["spend"] = float(spent) / NANO_EUR_PER_EUR
    platform.now = datetime(2026, 1, 5, tzinfo=UTC)
    for name, month in (("acme", NOVEMBER), ("acme", DECEMBER), ("other", DECEMBER)):
        await platform.ask("POST", f"/llmaas/tenants/{name}/invoices/{month}")
    platform.now = OVER
    return str(acme)


async def sign(platform: Any) -> None:
    """What the audit does beside the calls."""
    async with platform.services.audit.connect() as connection:
        await chain_all(connection)
        await seal(connection, Signer.from_secret("A" * 43))


async def identities(platform: Any) -> list[str]:
    rows = await platform.stores.database.read("SELECT request_id FROM ledger.record ORDER BY began_at")
    return [row["request_id"] for row in rows]


async def invoices(platform: Any) -> list[str]:
    return [row["month"] for row in await platform.stores.database.read("SELECT month FROM ledger.invoice ORDER BY 1")]


def acts(platform: Any) -> list[dict[str, Any]]:
    return [dict(act.details) for act in platform.acts if act.action == "accounts.retention"]


@given(st.integers(0, 30 * 365 * 24), st.integers(3, 5000), st.integers(1, 12))
def test_a_month_goes_once_its_financial_year_ended_so_many_days_ago(hours: int, days: int, ends: int) -> None:
    now = datetime(2030, 1, 1, tzinfo=UTC) + timedelta(hours=hours)
    last = AccountsSettings(days=days, financial_year_ends=ends).last_over(now, PARIS)
    assert last.number == ends
    following = Month(last.year + 1, ends)
    assert last.end(PARIS).astimezone(UTC) + timedelta(days=days) <= now
    assert now < following.end(PARIS).astimezone(UTC) + timedelta(days=days)
    # none of it goes before the closing of its last month, when calls can still be added
    assert last.closes_at(PARIS) < now


def test_months_of_a_year_go_when_it_was_kept_and_what_is_left_is_as_it_was(on_platform: Run) -> None:
    async def action(platform: Any) -> None:
        await end_of_a_year(platform)
        await sign(platform)
        platform.now = OVER - timedelta(seconds=1)
        assert await removal(platform).look() == ()
        assert len(await identities(platform)) == 6
        platform.now = OVER
        assert await removal(platform).look() == (NOVEMBER, DECEMBER)
        assert await removal(platform).look() == ()
        assert await identities(platform) == ["new year", "january"]
        assert await invoices(platform) == []
        year = {"kept_days": 30, "financial_year_ends": 12}
        assert acts(platform) == [
            {"month": "2025-11", "records": 1, "invoices": 1, **year},
            {"month": "2025-12", "records": 3, "invoices": 2, **year},
        ]
        parts = await platform.stores.database.read("SELECT name FROM ledger.partition ORDER BY 1")
        assert [part["name"] for part in parts] == ["record_2025_12", "record_2026_01"]
        assert await platform.stores.database.read("SELECT 1 FROM audit.pending") == []
        # the partition that was made anew is guarded as the others are
        with pytest.raises(psycopg.errors.RaiseException, match="TRUNCATE refused"):
            async with platform.stores.database.change() as connection:
                await connection.execute("TRUNCATE ledger.record_2025_12")
        # January's own turn comes with its year
        platform.now = datetime(2026, 3, 5, tzinfo=UTC)
        await sign(platform)
        assert await removal(platform, financial_year_ends=1).look() == (JANUARY,)
        assert await identities(platform) == []

    on_platform(action)


def test_credit_spend_and_a_rebuilt_redis_are_the_same_afterwards(on_platform: Run) -> None:
    async def action(platform: Any) -> None:
        await end_of_a_year(platform)
        await sign(platform)
        # Redis has forgotten the windows of days and months by its own clock; nobody asks for them any more.
        platform.now = datetime(2026, 2, 15, tzinfo=UTC)
        shown = await platform.ask("GET", "/llmaas/tenants/acme")
        # what is removed below was summed up before
        assert (await platform.ask("GET", "/llmaas/reconciliation"))["findings"] == []
        counters = await platform.stores.database.read("SELECT * FROM ledger.counter ORDER BY key")
        assert await removal(platform).look() == (NOVEMBER, DECEMBER)
        assert (await platform.ask("GET", "/llmaas/reconciliation"))["findings"] == []
        assert await platform.stores.database.read("SELECT * FROM ledger.counter ORDER BY key") == counters
        redis, ledger = platform.stores.redis, platform.services.ledger
        await redis.delete(*[key async for key in redis.scan_iter(f"{platform.stores.prefix}:*")])
        assert await rebuild(redis, ledger, platform.stores.database_url)
        after = await platform.ask("GET", "/llmaas/tenants/acme")
        assert after["credit_left_eur"] == shown["credit_left_eur"] != "200.00"
        assert (await platform.ask("GET", "/llmaas/reconciliation"))["findings"] == []
        held = await platform.ask("GET", "/llmaas/tenants/acme/export")
        assert sum(each["nano_eur"] for each in held["carried"]) == 3_010 * 900

    on_platform(action)


def test_a_removed_month_is_said_to_be_over_and_never_shown_as_zero(on_platform: Run) -> None:
    async def action(platform: Any) -> None:
        await end_of_a_year(platform)
        await sign(platform)
        await removal(platform).look()
        path = "/llmaas/tenants/acme/invoices/2025-12"
        usage = ("GET", "/llmaas/usage")
        asked = [("GET", path, {}), ("POST", path, {}), ("GET", f"{path}/replay", {})]
        asked += [(*usage, {"from": "2025-12-31", "to": "2026-01-31"}), (*usage, {"from": "2015-01-01"})]
        asked += [(*usage, {"from": "2025-12-31", "model": "a-model-of-records-that-are-gone"})]
        for method, place, query in asked:
            answer = await platform.raw(method, place, **query)
            assert (answer.status_code, answer.json()["error"]["code"]) == (410, "period_over"), place
            assert "the legal period of accounts up to 2025-12 is over" in answer.json()["error"]["message"]
        assert await invoices(platform) == []
        draft = await platform.ask("GET", "/llmaas/tenants/acme/invoices/2026-01")
        assert draft["calls"] == 2
        (group,) = (await platform.ask("GET", "/llmaas/usage", **{"from": "2026-01-01"}))["groups"]
        assert group["calls"] == 2

    on_platform(action)


def test_a_month_stays_until_its_calls_are_stored_chained_and_signed(
    on_platform: Run, caplog: pytest.LogCaptureFixture
) -> None:
    async def action(platform: Any) -> None:
        acme = await end_of_a_year(platform)
        assert await removal(platform).look() == ()
        assert "2025-11 stays although its period is over: what the audit has of its calls is not signed" in caplog.text
        async with platform.services.audit.connect() as connection:
            await chain_all(connection)
        assert await removal(platform).look() == ()
        await sign(platform)
        await platform.call(acme, "late", {"input": 5}, at=datetime(2025, 11, 20, tzinfo=UTC))
        assert await removal(platform).look() == ()
        assert "2025-11 stays although its period is over: calls of it are on their way" in caplog.text
        assert len(await identities(platform)) == 6
        await platform.store_records()
        await sign(platform)
        assert await removal(platform).look() == (NOVEMBER, DECEMBER)
        assert [act["records"] for act in acts(platform)] == [2, 3]

    on_platform(action)


def test_of_many_replicas_one_removes_each_month(on_platform: Run) -> None:
    async def action(platform: Any) -> None:
        await end_of_a_year(platform)
        await sign(platform)
        looks = await asyncio.gather(*(removal(platform).look() for _ in range(4)))
        looks.append(await removal(platform).look())
        assert sorted(month for months in looks for month in months) == [NOVEMBER, DECEMBER]
        assert [act["month"] for act in acts(platform)] == ["2025-11", "2025-12"]

    on_platform(action)


def test_who_reads_the_records_is_not_cut_off(on_platform: Run) -> None:
    async def action(platform: Any) -> None:
        await end_of_a_year(platform)
        await sign(platform)
        async with platform.stores.database.change() as reader:
            await reader.execute("SELECT count(*) FROM ledger.record")
            with pytest.raises(DatabaseUnavailableError, match="LockNotAvailable"):
                await removal(platform).look()
        assert len(await identities(platform)) == 6
        assert len(await invoices(platform)) == 3
        assert await removal(platform).look() == (NOVEMBER, DECEMBER)

    on_platform(action)


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM ledger.record",
        "DELETE FROM ledger.invoice",
        "SET LOCAL llmaas.accounts_removal = '2025-12-31 22:59:59+00'; DELETE FROM ledger.invoice",
        "SET LOCAL llmaas.accounts_removal = '2099-01-01'; DELETE FROM ledger.record",
        "SET LOCAL llmaas.accounts_removal = '2099-01-01'; UPDATE ledger.invoice SET total_nano_eur = 0",
        "SELECT ledger.remove_accounts('2025-12-01'); DELETE FROM ledger.invoice",
        "SELECT ledger.remove_accounts(now())",
        "SELECT ledger.remove_accounts('2025-12-01'); DELETE FROM ledger.removed_month",
    ],
)
def test_nothing_else_removes_or_changes_them(on_platform: Run, statement: str) -> None:
    async def action(platform: Any) -> None:
        await end_of_a_year(platform)
        await sign(platform)
        await removal(platform, financial_year_ends=11).look()
        before = await identities(platform), await invoices(platform)
        assert len(before[0]) == 5
        with pytest.raises(psycopg.errors.RaiseException, match=r"append-only|not closed"):
            async with platform.stores.database.change() as connection:
                await connection.execute(statement)
        assert (await identities(platform), await invoices(platform)) == before

    on_platform(action)


@pytest.mark.parametrize(("field", "value"), [("days", 2), ("days", 0), ("financial_year_ends", 13), ("years", 10)])
def test_a_period_that_makes_no_sense_is_refused(field: str, value: int) -> None:
    with pytest.raises(ValidationError, match=field):
        AccountsSettings(**{field: value})
