"""Months are summed up once they are over; no sum hides a record that came later or was changed. Real stores."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from llmaas_gateway.accounts.database import one_moment
from llmaas_gateway.invoices import month_sums
from llmaas_gateway.money import NANO_EUR_PER_EUR

Run = Callable[[Callable[[Any], Awaitable[Any]]], Any]
# Redis has forgotten the windows of these days by its own clock, and nobody asks for them.
NOW = datetime(2026, 3, 5, tzinfo=UTC)
MONTHS = ("2025-12", "2026-01", "2026-02")


async def three_months(platform: Any) -> str:
    """A tenant with a call in each of three months; the last of them was over five days ago."""
    platform.now = NOW
    tenant = str(await platform.tenant("acme"))
    await called(platform, tenant, *MONTHS)
    return tenant


async def called(platform: Any, tenant: str, *months: str, name: str = "") -> None:
    for month in months:
        at = datetime.fromisoformat(f"{month}-10T00:00:00+00:00")
        charged = await platform.call(tenant, f"{name}{month}", {"input": 1_000}, at=at)
        platform.litellm.teams[tenant]["spend"] += charged / NANO_EUR_PER_EUR
    await platform.store_records()


async def summed(platform: Any) -> list[str]:
    query = "SELECT to_char(first AT TIME ZONE 'UTC', 'YYYY-MM') AS month FROM ledger.summed_month ORDER BY first"
    return [row["month"] for row in await platform.stores.database.read(query)]


async def charged_in_all(platform: Any) -> int:
    async with platform.stores.database.change() as connection:
        await one_moment(connection)
        return sum(row["nano_eur"] for row in await month_sums.charged(connection, NOW))


async def findings(platform: Any) -> list[tuple[str, str]]:
    found = (await platform.ask("GET", "/llmaas/reconciliation"))["findings"]
    return [(finding["check"], finding["subject"]) for finding in found]


async def alter(platform: Any, identity: str) -> None:
    async with platform.stores.database.change() as connection:
        await connection.execute("SET session_replication_role = replica")
        await connection.execute("UPDATE ledger.record SET nano_eur = nano_eur + 1 WHERE request_id = %s", [identity])


def test_a_month_is_summed_up_a_week_after_its_end_and_then_not_read_each_night(on_platform: Run) -> None:
    async def action(platform: Any) -> None:
        await three_months(platform)
        in_all = await charged_in_all(platform)
        assert in_all > 0
        assert await findings(platform) == []
        assert await summed(platform) == ["2025-12", "2026-01"]
        assert await charged_in_all(platform) == in_all
        # one of a summed month is not read, one of another is
        await alter(platform, "2025-12")
        assert await charged_in_all(platform) == in_all
        await alter(platform, "2026-02")
        assert await charged_in_all(platform) == in_all + 1
        platform.now = NOW + timedelta(days=5)
        await findings(platform)
        assert await summed(platform) == list(MONTHS)

    on_platform(action)


def test_a_changed_record_of_a_summed_month_is_found_when_its_turn_comes(on_platform: Run) -> None:
    async def action(platform: Any) -> None:
        tenant = await three_months(platform)
        assert await findings(platform) == []
        await alter(platform, "2025-12")
        found = []
        for day in range(2):
            platform.now = NOW + timedelta(days=day)
            found.append(await findings(platform))
        assert sorted(found) == [[], [("months", f"{tenant} 2025-12")]]

    on_platform(action)


def test_a_record_that_comes_after_its_month_was_summed_up_is_counted(on_platform: Run) -> None:
    async def action(platform: Any) -> None:
        tenant = await three_months(platform)
        assert await findings(platform) == []
        await called(platform, tenant, "2025-12", name="late ")
        assert await summed(platform) == ["2026-01"]
        assert await findings(platform) == []
        assert await summed(platform) == ["2025-12", "2026-01"]

    on_platform(action)


def test_a_record_that_comes_while_its_month_is_summed_up_is_not_left_out(
    on_platform: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def action(platform: Any) -> None:
        tenant = await three_months(platform)
        whole = month_sums._SUM  # noqa: SLF001 - a moment within the summing is what this is about
        coming: list[asyncio.Task[None]] = []

        async def come() -> None:
            await asyncio.sleep(0.3)
            await called(platform, tenant, "2025-12", name="late ")

        class Slow:
            """The sum of the first month takes long, and a record of it comes meanwhile."""

            def format(self, table: Any) -> Any:
                if coming:
                    return whole.format(table)
                coming.append(asyncio.create_task(come()))
                return whole.format(psycopg.sql.SQL("(SELECT r.* FROM {} r, pg_sleep(1)) AS slow").format(table))

        monkeypatch.setattr(month_sums, "_SUM", Slow())
        await month_sums.sum_up(platform.stores.database, NOW)
        await asyncio.gather(*coming)
        assert await summed(platform) == ["2026-01"]
        assert await findings(platform) == []
        assert await summed(platform) == ["2025-12", "2026-01"]

    on_platform(action)


def test_two_reconciliations_do_not_run_at_once(on_platform: Run) -> None:
    async def action(platform: Any) -> None:
        await three_months(platform)
        async with platform.stores.database.change() as connection:
            await connection.execute("SELECT pg_advisory_xact_lock(hashtext('ledger.reconciliation'))")
            answer = await platform.raw("GET", "/llmaas/reconciliation")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "30")
        assert "a reconciliation runs already" in answer.json()["error"]["message"]
        assert await findings(platform) == []

    on_platform(action)


def test_invoices_of_the_newest_months_are_compared_each_night_and_older_ones_in_turn(on_platform: Run) -> None:
    async def action(platform: Any) -> None:
        tenant = await three_months(platform)
        await called(platform, tenant, "2025-11")
        for month in ("2025-11", *MONTHS):
            await platform.ask("POST", f"/llmaas/tenants/acme/invoices/{month}")
        for identity in ("2025-11", *MONTHS):
            await alter(platform, identity)
        nights = []
        for day in range(2):
            platform.now = NOW + timedelta(days=day)
            nights.append({subject[-7:] for check, subject in await findings(platform) if check == "invoices"})
        newest = {"2026-01", "2026-02"}
        assert sorted(map(sorted, nights)) == [sorted({"2025-11"} | newest), sorted({"2025-12"} | newest)]

    on_platform(action)
