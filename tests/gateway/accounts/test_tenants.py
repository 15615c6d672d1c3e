"""Tenants in PostgreSQL: what is wrong is refused whole, payments are taken back once, history stays."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from llmaas_gateway.accounts import tenants
from llmaas_gateway.accounts.account import Account, AccountError, State
from llmaas_gateway.accounts.directory import UnknownTenantError, migrate
from llmaas_gateway.money import MAX_NANO_EUR

Run = Callable[[Callable[[Any], Awaitable[Any]]], Any]
NOW = datetime(2096, 11, 25, 12, 0, tzinfo=UTC)
EUR = 1_000_000_000


async def act(stores: Any, change: Callable[..., Awaitable[Account]], *arguments: Any, **named: Any) -> Account:
    async with stores.database.change() as connection:
        return await change(connection, *arguments, **named)


async def made(stores: Any, tenant: str = "tn-a", name: str = "acme", top_up: int = 0) -> Account:
    return await act(stores, tenants.create, tenant, name=name, tier="T1", top_up_nano_eur=top_up, at=NOW)


async def rows(stores: Any, table: str) -> list[dict[str, Any]]:
    return list(await stores.database.read(f"SELECT * FROM ledger.{table}"))  # noqa: S608 - names of ours


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(amounts=st.lists(st.integers(1, 10**13), max_size=8), first=st.integers(0, 10**12))
def test_the_credit_is_the_sum_of_the_top_ups(in_stores: Run, amounts: list[int], first: int) -> None:
    async def action(stores: Any) -> None:
        account = await made(stores, top_up=first)
        for number, amount in enumerate(amounts):
            account = await act(stores, tenants.top_up, "tn-a", amount, f"payment-{number}", NOW)
        assert account.credit_nano_eur == first + sum(amounts)
        assert account.revision == 1 + len(amounts)

    in_stores(action)


def test_a_payment_is_booked_once_however_often_it_is_sent(in_stores: Run) -> None:
    async def action(stores: Any) -> None:
        await made(stores)
        await act(stores, tenants.top_up, "tn-a", EUR, "2026-17", NOW)
        with pytest.raises(AccountError, match="payment '2026-17' of tenant 'tn-a' is booked already"):
            await act(stores, tenants.top_up, "tn-a", EUR, "2026-17", NOW)
        assert [row["credit_nano_eur"] for row in await rows(stores, "account")] == [EUR]

    in_stores(action)


def test_a_payment_is_taken_back_whole_and_once_and_what_took_it_back_is_no_payment(in_stores: Run) -> None:
    async def action(stores: Any) -> None:
        await made(stores, top_up=3 * EUR)
        await act(stores, tenants.top_up, "tn-a", 2 * EUR, "2026-17", NOW)
        account = await act(stores, tenants.take_back, "tn-a", "2026-17", "bank-1", NOW)
        assert account.credit_nano_eur == 3 * EUR
        for payment in ("2026-17", "bank-1"):
            with pytest.raises(AccountError, match=r"is booked already|has no payment"):
                await act(stores, tenants.take_back, "tn-a", payment, "bank-1", NOW)
        with pytest.raises(AccountError, match="was taken back on"):
            await act(stores, tenants.booked, "tn-a", 2 * EUR, "2026-17")
        # PostgreSQL says so by itself, whoever writes
        for amount, takes_back in ((-EUR, None), (EUR, "joining"), (-EUR, "unknown"), (-EUR, "2026-17")):
            with pytest.raises(psycopg.IntegrityError):
                await act(
                    stores,
                    lambda c, *row: c.execute("INSERT INTO ledger.top_up VALUES (%s, %s, %s, now(), %s)", row),
                    "tn-a", "by-hand", amount, takes_back,
                )  # fmt: skip
        assert [(row["reference"], row["nano_eur"]) for row in await rows(stores, "top_up")] == [
            ("joining", 3 * EUR),
            ("2026-17", 2 * EUR),
            ("bank-1", -2 * EUR),
        ]
        assert (await act(stores, tenants.take_back, "tn-a", "joining", "bank-2", NOW)).credit_nano_eur == 0

    in_stores(action)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: tenants.top_up(c, "tn-a", -EUR, "r", NOW), r"-1\.00 EUR is no amount"),
        (lambda c: tenants.top_up(c, "tn-a", 0, "r", NOW), r"0\.00 EUR is no amount"),
        (lambda c: tenants.top_up(c, "tn-a", MAX_NANO_EUR, "r", NOW), "no more than 9007199 EUR"),
        (lambda c: tenants.top_up(c, "tn-a", EUR, "Jane Doe!", NOW), "reference 'Jane Doe!'"),
        (lambda c: tenants.top_up(c, "tn-x", EUR, "r", NOW), "no tenant 'tn-x'"),
        (lambda c: tenants.top_up(c, "tn-a", EUR, "joining", NOW), "payment 'joining' .* is booked already"),
        (lambda c: tenants.take_back(c, "tn-a", "2026-17", "r", NOW), "has no payment '2026-17'"),
        (lambda c: tenants.take_back(c, "tn-a", "joining", "joining", NOW), "payment 'joining' .* is booked already"),
        (lambda c: tenants.take_back(c, "tn-a", "joining", "Jane Doe!", NOW), "reference 'Jane Doe!'"),
        (lambda c: tenants.take_back(c, "tn-x", "joining", "r", NOW), "no tenant 'tn-x'"),
        (lambda c: tenants.set_tier(c, "tn-x", "T1", NOW), "no tenant 'tn-x'"),
        (lambda c: tenants.set_budget(c, "tn-x", EUR, NOW), "no tenant 'tn-x'"),
        (lambda c: tenants.set_budget(c, "tn-a", -EUR, NOW), r"-1\.00 EUR is no budget"),
        (lambda c: tenants.set_budget(c, "tn-a", MAX_NANO_EUR + 1, NOW), "from zero to 9007199 EUR"),
        (lambda c: tenants.create(c, "tn-b", name="acme", tier="T1", top_up_nano_eur=0, at=NOW), "'acme' exists"),
        (lambda c: tenants.create(c, "tn-b", name="a\nb", tier="T1", top_up_nano_eur=0, at=NOW), "cannot be a tenant"),
    ],
)
def test_what_is_wrong_changes_nothing(
    in_stores: Run, change: Callable[[tenants.Connection], Awaitable[Account]], words: str
) -> None:
    async def action(stores: Any) -> None:
        await made(stores, top_up=EUR)
        before = [await rows(stores, table) for table in ("account", "top_up", "tenant_history")]
        with pytest.raises(AccountError, match=words):
            await act(stores, change)
        assert [await rows(stores, table) for table in ("account", "top_up", "tenant_history")] == before

    in_stores(action)


def test_an_erased_tenant_has_no_name_and_keeps_its_accounts_for_good(in_stores: Run) -> None:
    async def action(stores: Any) -> None:
        await made(stores, top_up=EUR)
        account = await act(stores, tenants.erase, "tn-a", NOW)
        assert account == Account("tn-a", "T1", State.ERASED, EUR, 2)
        assert "acme" not in str([await rows(stores, table) for table in ("account", "top_up", "tenant_history")])
        for change in (
            lambda c: tenants.set_state(c, "tn-a", State.ACTIVE, NOW),
            lambda c: tenants.set_tier(c, "tn-a", "monthly", NOW),
            lambda c: tenants.set_budget(c, "tn-a", EUR, NOW),
            lambda c: tenants.top_up(c, "tn-a", EUR, "r", NOW),
            lambda c: tenants.erase(c, "tn-a", NOW),
        ):
            with pytest.raises(AccountError, match="is erased"):
                await act(stores, change)
        assert (await made(stores, "tn-b")).tenant == "tn-b"  # the name is free again

    in_stores(action)


def test_a_budget_is_set_changed_and_lifted_and_its_history_stays(in_stores: Run) -> None:
    async def action(stores: Any) -> None:
        await made(stores)
        for budget in (5 * EUR, 0, None):
            assert (await act(stores, tenants.set_budget, "tn-a", budget, NOW)).budget_nano_eur == budget
        history = [(row["act"], row["budget_nano_eur"]) for row in await rows(stores, "tenant_history")]
        assert history == [("created", None), ("budget", 5 * EUR), ("budget", 0), ("budget", None)]

    in_stores(action)


def test_tables_made_before_tenants_had_budgets_get_them(in_stores: Run) -> None:
    async def action(stores: Any) -> None:
        await made(stores)
        async with stores.database.change() as connection:
            await connection.execute("DROP TABLE ledger.applied_schema")
            await connection.execute("DROP VIEW ledger.tenant_account")
            for table in ("tenant", "tenant_history"):
                await connection.execute(f"ALTER TABLE ledger.{table} DROP COLUMN budget_nano_eur")
        await migrate(stores.database)
        assert (await act(stores, tenants.set_budget, "tn-a", EUR, NOW)).budget_nano_eur == EUR

    in_stores(action)


def test_a_gateway_from_before_budgets_can_start_again(in_stores: Run) -> None:
    async def action(stores: Any) -> None:
        await made(stores)
        async with stores.database.change() as connection:
            # as it makes its view, and reads and writes a tenant
            await connection.execute(
                "CREATE OR REPLACE VIEW ledger.account AS SELECT tenant, name, tier, state, revision, created_at,"
                " changed_at, 0::bigint AS credit_nano_eur FROM ledger.tenant"
            )
            await connection.execute("UPDATE ledger.tenant SET tier = 'T2', revision = revision + 1")
            await connection.execute(
                "INSERT INTO ledger.tenant_history (tenant, revision, act, tier, state, at)"
                " SELECT tenant, revision, 'tier', tier, state, changed_at FROM ledger.tenant"
            )
        assert [(row["tier"], row["credit_nano_eur"]) for row in await rows(stores, "account")] == [("T2", 0)]

    in_stores(action)


def test_suspending_twice_is_one_change(in_stores: Run) -> None:
    async def action(stores: Any) -> None:
        await made(stores)
        first = await act(stores, tenants.set_state, "tn-a", State.SUSPENDED, NOW)
        assert await act(stores, tenants.set_state, "tn-a", State.SUSPENDED, NOW) == first
        resumed = await act(stores, tenants.set_state, "tn-a", State.ACTIVE, NOW)
        assert (resumed.state, resumed.revision) == (State.ACTIVE, 3)
        assert [row["act"] for row in await rows(stores, "tenant_history")] == ["created", "suspended", "active"]

    in_stores(action)


def test_payments_and_history_cannot_be_changed_or_deleted(in_stores: Run) -> None:
    async def action(stores: Any) -> None:
        await made(stores, top_up=EUR)
        for table in ("top_up", "tenant_history"):
            for statement in (f"UPDATE ledger.{table} SET at = now()", f"DELETE FROM ledger.{table}"):  # noqa: S608
                with pytest.raises(psycopg.errors.RaiseException, match=f"ledger.{table} is append-only"):
                    async with stores.database.change() as connection:
                        await connection.execute(statement)

    in_stores(action)


def test_an_unknown_tenant_is_its_own_error(in_stores: Run) -> None:
    async def action(stores: Any) -> None:
        with pytest.raises(UnknownTenantError):
            await act(stores, tenants.set_tier, "tn-x", "T1", NOW)

    in_stores(action)
