"""Erasure leaves no personal data and every account; an export has everything. Needs real stores."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from unittest.mock import AsyncMock

import psycopg
import pytest
from llmaas_gateway.accounts.administration import Administration
from llmaas_gateway.accounts.litellm import LiteLLM
from redis.asyncio import Redis

Run = Callable[[Callable[[Any], Awaitable[Any]]], Any]

# The columns of LiteLLM's own tables that matter here.
LITELLM_TABLES = """
CREATE TABLE "LiteLLM_DeletedTeamTable" (team_id text, team_alias text);
CREATE TABLE "LiteLLM_DeletedVerificationToken" (token text, team_id text, key_alias text);
CREATE TABLE "LiteLLM_SpendLogs" (request_id text, team_id text, metadata jsonb, "user" text, end_user text,
    requester_ip_address text, spend float);
INSERT INTO "LiteLLM_DeletedTeamTable" VALUES ('{tenant}', 'acme of Jane Doe'), ('other', 'kept');
INSERT INTO "LiteLLM_DeletedVerificationToken" VALUES ('h', '{tenant}', 'Jane Doe'), ('i', 'other', 'kept');
INSERT INTO "LiteLLM_SpendLogs" VALUES
    ('r', '{tenant}', '{{"user_api_key_alias": "Jane Doe"}}', 'jane', '', '10.0.0.1', 1),
    ('s', 'other', '{{"user_api_key_alias": "kept"}}', '', '', NULL, 1);
"""
ACTIONS = ["tenant.create", "key.create", "team.create"]


async def used(platform: Any) -> str:
    """A tenant whose name stands in a key and in LiteLLM's tables, with payments and calls."""
    tenant = await platform.tenant("acme of Jane Doe")
    await platform.ask("POST", f"/llmaas/tenants/{tenant}/keys", {"name": "Jane Doe"})
    await platform.ask("POST", f"/llmaas/tenants/{tenant}/teams", {"name": "Jane Doe's team"})
    for number in range(3):
        await platform.call(tenant, f"call-{number}", {"input": 100, "output": 50})
    await platform.store_records()
    async with platform.stores.database.change() as connection:
        await connection.execute(LITELLM_TABLES.format(tenant=tenant))
    return str(tenant)


async def held(platform: Any) -> str:
    """All that is held anywhere, as one text."""
    tables = await platform.stores.database.read(
        "SELECT quote_ident(schemaname) || '.' || quote_ident(tablename) AS name FROM pg_tables"
        " WHERE schemaname IN ('ledger', 'public', 'audit')"
    )
    rows = [await platform.stores.database.read(f"SELECT * FROM {table['name']}") for table in tables]  # noqa: S608
    redis: Redis = platform.stores.redis
    copies = [await redis.hgetall(key) async for key in redis.scan_iter(f"{platform.stores.prefix}:tenant:*")]  # type: ignore[misc]
    return repr((rows, copies, platform.litellm.teams, platform.litellm.keys))


def test_erasure_removes_what_names_persons_everywhere_and_keeps_the_accounts(on_platform: Run) -> None:
    async def action(platform: Any) -> None:
        tenant = await used(platform)
        accounts = ("record", "top_up", "counter")
        before = [await platform.stores.database.read(f"SELECT * FROM ledger.{name}") for name in accounts]  # noqa: S608
        draft = await platform.ask("GET", f"/llmaas/tenants/{tenant}/invoices/2096-11")
        assert "Jane" in await held(platform)
        answer = await platform.ask("POST", f"/llmaas/tenants/{tenant}/erase", {"confirm": "acme of Jane Doe"})
        assert answer == {"tenant": tenant, "state": "erased"}
        everything = await held(platform)
        for personal in ("Jane", "jane", "10.0.0.1"):
            assert personal not in everything
        assert "kept" in everything
        assert before == [await platform.stores.database.read(f"SELECT * FROM ledger.{name}") for name in accounts]  # noqa: S608
        left = await platform.ask("GET", f"/llmaas/tenants/{tenant}/export")
        assert (len(left["records"]), left["teams"], left["keys"], left["tenant"]["name"]) == (3, [], [], None)
        after = await platform.ask("GET", f"/llmaas/tenants/{tenant}/invoices/2096-11")
        assert after == {**draft, "name": None}
        assert (await platform.stores.directory().account(tenant)).suspended

    on_platform(action)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "keys", {"name": "again"}),
        ("POST", "teams", {"name": "again"}),
        ("POST", "resume", None),
        ("POST", "payments", {"amount_eur": "1", "reference": "r"}),
        ("PUT", "tier", {"tier": "monthly"}),
        ("POST", "erase", {"confirm": "acme of Jane Doe"}),
    ],
)
def test_an_erased_tenant_gets_nothing_any_more(on_platform: Run, method: str, path: str, body: Any) -> None:
    async def action(platform: Any) -> None:
        tenant = await used(platform)
        await platform.ask("POST", f"/llmaas/tenants/{tenant}/erase", {"confirm": "acme of Jane Doe"})
        before = await held(platform)
        answer = await platform.raw(method, f"/llmaas/tenants/{tenant}/{path}", body)
        assert answer.status_code == 400
        assert "is erased" in answer.json()["error"]["message"]
        assert await held(platform) == before

    on_platform(action)


@pytest.mark.parametrize("failing", ["/key/block", "/team/delete"])
def test_an_erasure_that_fails_halfway_leaves_the_tenant_suspended_and_can_be_repeated(
    on_platform: Run, failing: str
) -> None:
    async def action(platform: Any) -> None:
        tenant = await used(platform)
        platform.litellm.failing.add(failing)
        path, body = f"/llmaas/tenants/{tenant}/erase", {"confirm": "acme of Jane Doe"}
        assert (await platform.raw("POST", path, body)).status_code == 502
        assert (await platform.ask("GET", f"/llmaas/tenants/{tenant}"))["state"] == "suspended"
        platform.litellm.failing.clear()
        await platform.ask("POST", path, body)
        assert "Jane" not in await held(platform)

    on_platform(action)


def test_a_team_that_is_made_while_an_erasure_begins_goes_with_the_others(
    on_platform: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def action(platform: Any) -> None:
        tenant = await used(platform)
        original = Administration.suspend

        async def suspend(administration: Administration, *arguments: str) -> Any:
            account = await original(administration, *arguments)
            await platform.ask("POST", f"/llmaas/tenants/{tenant}/teams", {"name": "Jane's second"})
            return account

        monkeypatch.setattr(Administration, "suspend", suspend)
        await platform.ask("POST", f"/llmaas/tenants/{tenant}/erase", {"confirm": "acme of Jane Doe"})
        assert platform.litellm.teams == {}
        assert "Jane" not in await held(platform)

    on_platform(action)


@pytest.mark.parametrize("path", ["teams", "keys"])
def test_what_is_asked_for_while_a_tenant_is_erased_is_refused(
    on_platform: Run, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    async def action(platform: Any) -> None:
        tenant = await used(platform)
        asked = []
        original = LiteLLM.delete_team
        waiting = "SELECT count(*) AS n FROM pg_stat_activity WHERE wait_event_type = 'Lock'"

        async def delete_team(litellm: LiteLLM, team: str) -> None:
            if not asked:
                order = platform.raw("POST", f"/llmaas/tenants/{tenant}/{path}", {"name": "Jane's second"})
                asked.append(asyncio.create_task(order))
                async with asyncio.timeout(60):
                    while not (await platform.stores.database.read(waiting))[0]["n"]:  # noqa: ASYNC110 - a lock has no event
                        await asyncio.sleep(0.02)
            await original(litellm, team)

        monkeypatch.setattr(LiteLLM, "delete_team", delete_team)
        await platform.ask("POST", f"/llmaas/tenants/{tenant}/erase", {"confirm": "acme of Jane Doe"})
        answer = await asked[0]
        assert answer.status_code == 400
        assert "is erased" in answer.json()["error"]["message"]
        assert (platform.litellm.teams, platform.litellm.keys) == ({}, {})
        assert "Jane" not in await held(platform)

    on_platform(action)


def test_what_litellm_writes_after_the_erasure_is_swept_at_the_next_reconciliation(on_platform: Run) -> None:
    async def action(platform: Any) -> None:
        tenant = await used(platform)
        await platform.ask("POST", f"/llmaas/tenants/{tenant}/erase", {"confirm": "acme of Jane Doe"})
        async with platform.stores.database.change() as connection:
            await connection.execute(
                """INSERT INTO "LiteLLM_SpendLogs" VALUES ('t', %s, '{"alias": "Jane"}', '', '', NULL, 1)""", [tenant]
            )
        done = len(platform.acts)
        assert (await platform.ask("GET", "/llmaas/reconciliation"))["swept"] == 1
        assert "Jane" not in await held(platform)
        assert (await platform.ask("GET", "/llmaas/reconciliation"))["swept"] == 0
        acts = [(act.actor, act.action, act.tenant, act.details) for act in platform.acts[done:]]
        assert acts == [("operator:ada", "tenant.sweep", "", {"rows": 1})]

    on_platform(action)


def test_an_export_has_the_tenant_its_keys_payments_and_every_record(on_platform: Run) -> None:
    async def action(platform: Any) -> None:
        tenant = await used(platform)
        await platform.tenant("other")
        whole = await platform.ask("GET", f"/llmaas/tenants/{tenant}/export")
        assert whole["tenant"]["name"] == "acme of Jane Doe"
        assert [payment["reference"] for payment in whole["top_up"]] == ["joining"]
        assert [entry["act"] for entry in whole["tenant_history"]] == ["created"]
        assert [key["key_alias"] for key in whole["keys"]] == ["Jane Doe"]
        assert {team["team_alias"] for team in whole["teams"]} == {"acme of Jane Doe", "Jane Doe's team"}
        assert [record["request_id"] for record in whole["records"]] == ["call-0", "call-1", "call-2"]
        assert [action for action in ACTIONS if action in repr(whole["audit"])] == ACTIONS
        assert (await platform.ask("GET", "/llmaas/tenants/other/export"))["records"] == []

    on_platform(action)


def test_an_export_is_an_act_before_its_first_piece_leaves(on_platform: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def action(platform: Any) -> None:
        tenant = await used(platform)
        whole = await platform.ask("GET", f"/llmaas/tenants/{tenant}/export")
        assert (platform.acts[-1].actor, platform.acts[-1].action) == ("operator:ada", "tenant.export")
        assert (platform.acts[-1].tenant, platform.acts[-1].object) == (tenant, tenant)
        assert "tenant.export" in repr(whole["audit"])
        monkeypatch.setattr(platform.services.audit, "append", AsyncMock(side_effect=psycopg.OperationalError))
        unrecorded = await platform.raw("GET", f"/llmaas/tenants/{tenant}/export")
        assert unrecorded.status_code == 503
        assert "records" not in unrecorded.json()

    on_platform(action)


def test_an_export_of_an_erased_tenant_is_an_act_of_the_platform_s(on_platform: Run) -> None:
    async def action(platform: Any) -> None:
        tenant = await used(platform)
        await platform.ask("POST", f"/llmaas/tenants/{tenant}/erase", {"confirm": "acme of Jane Doe"})
        assert (await platform.ask("GET", f"/llmaas/tenants/{tenant}/export"))["audit"] == []
        act = platform.acts[-1]
        assert (act.action, act.object, act.tenant) == ("tenant.export", tenant, "")

    on_platform(action)
