"""Administrative acts happen whole, in our tables, in LiteLLM and in the audit, or not at all. Needs real stores."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from llmaas_gateway.audit.records import Act
from llmaas_gateway.prices import PriceError
from redis.exceptions import RedisError

Run = Callable[[Callable[[Any], Awaitable[Any]]], Any]


async def everything(platform: Any) -> tuple[Any, ...]:
    """All that an act could have changed."""
    tables = ("tenant", "top_up", "tenant_history", "team", "invoice")
    rows = [await platform.stores.database.read(f"SELECT * FROM ledger.{table}") for table in tables]  # noqa: S608
    return rows, dict(platform.litellm.teams), json.dumps(platform.litellm.keys, sort_keys=True)


def test_a_prepaid_tenant_begins_with_what_its_tier_costs_and_a_team_of_its_name(on_platform: Run) -> None:
    async def action(platform: Any) -> None:
        made = await platform.ask("POST", "/llmaas/tenants", {"name": "acme", "tier": "T1", "models": ["llama3.2:3b"]})
        tenant = made["tenant"]
        assert (made["name"], made["tier"], made["state"]) == ("acme", "T1", "active")
        assert (made["credit_eur"], made["credit_left_eur"], made["teams"]) == ("200.00", "200.00", [tenant])
        team = platform.litellm.teams[tenant]
        assert team["metadata"] == {"tenant": tenant, "made_by": "llmaas"}
        assert (team["team_alias"], team["models"]) == ("acme", ["llama3.2:3b"])
        assert [(a.actor, a.action, a.tenant) for a in platform.acts] == [("operator:ada", "tenant.create", tenant)]
        assert "acme" not in repr(platform.acts)
        monthly = await platform.ask("POST", "/llmaas/tenants", {"name": "later", "tier": "monthly"})
        assert monthly["credit_eur"] == "0.00"

    on_platform(action)


@pytest.mark.parametrize("failing", ["/team/new", "audit"])
def test_tenant_and_team_are_made_together_or_neither_remains(on_platform: Run, failing: str) -> None:
    async def action(platform: Any) -> None:
        before = await everything(platform)
        if failing == "audit":

            async def refuse(*_: Any) -> None:
                raise OSError("no audit")

            platform.services.audit.append = refuse
            with pytest.raises(OSError, match="no audit"):
                await platform.raw("POST", "/llmaas/tenants", {"name": "acme", "tier": "T1"})
        else:
            platform.litellm.failing.add(failing)
            answer = await platform.raw("POST", "/llmaas/tenants", {"name": "acme", "tier": "T1"})
            assert answer.status_code == 502
            assert "no database" in answer.json()["error"]["message"]
        assert await everything(platform) == before

    on_platform(action)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "words"),
    [
        ("POST", "/llmaas/tenants", {"name": "b", "tier": "T9"}, 400, "no tier 'T9'; the tiers are T1, monthly"),
        (
            "POST",
            "/llmaas/tenants",
            {"name": "b", "tier": "T1", "models": ["gpt"]},
            400,
            "no model 'gpt'; there are",
        ),
        ("POST", "/llmaas/tenants", {"name": "acme", "tier": "T1"}, 400, "'acme' exists already"),
        ("POST", "/llmaas/tenants", {"name": "b", "tier": "T1", "first_payment_eur": "-5"}, 400, "'-5' is negative"),
        ("POST", "/llmaas/tenants", {"name": "b", "tier": "T1", "budget_eur": "-5"}, 400, "budget_eur: '-5' is neg"),
        ("PUT", "/llmaas/tenants/acme/budget", {"budget_eur": "-5"}, 400, "budget_eur: '-5' is negative"),
        ("PUT", "/llmaas/tenants/acme/budget", {"budget_eur": "9007200"}, 400, "is above 9007199 euros"),
        ("PUT", "/llmaas/tenants/acme/budget", {}, 400, "budget_eur: Field required"),
        ("PUT", "/llmaas/tenants/nobody/budget", {"budget_eur": "5"}, 404, "no tenant 'nobody'"),
        ("POST", "/llmaas/tenants", {"nom": "b"}, 400, "name: Field required; tier: Field required; nom: Extra"),
        ("PUT", "/llmaas/tenants/acme/tier", {"tier": "T9"}, 400, "no tier 'T9'"),
        ("PUT", "/llmaas/tenants/nobody/tier", {"tier": "T1"}, 404, "no tenant 'nobody'"),
        ("POST", "/llmaas/tenants/acme/payments", {"amount_eur": "-1", "reference": "r"}, 400, "amount_eur: '-1' is n"),
        ("POST", "/llmaas/tenants/acme/payments", {"amount_eur": "0", "reference": "r"}, 400, "must be above zero"),
        ("POST", "/llmaas/tenants/acme/payments", {"amount_eur": "1e3", "reference": "r"}, 400, "not a decimal amount"),
        ("POST", "/llmaas/tenants/acme/payments", {"amount_eur": 5, "reference": "r"}, 400, "amount_eur: Input should"),
        ("POST", "/llmaas/tenants/acme/payments", {"amount_eur": "5", "reference": "!"}, 400, "reference '!'"),
        ("POST", "/llmaas/tenants/acme/keys", {"name": "k", "models": ["gpt"]}, 400, "no model 'gpt'"),
        ("POST", "/llmaas/tenants/acme/keys", {"name": "k", "team": "other"}, 400, "team 'other' is not one of"),
        ("POST", "/llmaas/tenants/acme/keys", {"name": "k", "budget_eur": "-1"}, 400, "budget_eur: '-1' is negative"),
        ("POST", "/llmaas/tenants/acme/keys", {"name": "k", "budget_window": "week"}, 400, "budget_window: Input shou"),
        (
            "POST",
            "/llmaas/tenants/acme/keys",
            {"name": "k", "budget_window": "day"},
            400,
            "needs its amount, budget_eur",
        ),
        (
            "POST",
            "/llmaas/tenants/acme/teams",
            {"name": "t", "budget_eur": None, "budget_window": "month"},
            400,
            "budget_window: Value error, a budget for each month needs its amount, budget_eur",
        ),
        ("POST", "/llmaas/tenants/acme/keys", {"name": "k", "duration": "soon"}, 400, "duration: String should match"),
        ("POST", "/llmaas/tenants/acme/erase", {"confirm": "no"}, 400, "confirm it with the tenant's name, 'acme'"),
        ("POST", "/llmaas/keys/nothing/revoke", None, 400, "no key 'nothing'"),
        ("POST", "/llmaas/keys/nothing/rotate", None, 400, "no key 'nothing'"),
        ("GET", "/llmaas/tenants/acme/invoices/2026-13", None, 400, "month: '2026-13' is no month like 2026-11"),
        ("POST", "/llmaas/tenants/acme/invoices/2096-11", None, 409, "2096-11 is not closed; it closes at 2096-12-03"),
        ("GET", "/llmaas/tenants/acme/invoices/2096-11/replay", None, 409, "2096-11 is not closed"),
        ("GET", "/llmaas/tenants/nobody/export", None, 404, "no tenant 'nobody'"),
    ],
)
def test_bad_input_is_named_and_changes_nothing(  # noqa: PLR0917 - columns of the table
    on_platform: Run, method: str, path: str, body: Any, status: int, words: str
) -> None:
    async def action(platform: Any) -> None:
        await platform.tenant("acme")
        before, acts = await everything(platform), list(platform.acts)
        answer = await platform.raw(method, path, body)
        assert answer.status_code == status, answer.text
        assert words in answer.json()["error"]["message"]
        assert await everything(platform) == before
        assert platform.acts == acts

    on_platform(action)


def test_only_the_administration_key_administers(on_platform: Run) -> None:
    async def action(platform: Any) -> None:
        await platform.tenant("acme")
        key = (await platform.ask("POST", "/llmaas/tenants/acme/keys", {"name": "app"}))["key"]
        paths = [("GET", "/llmaas/tenants"), ("GET", "/llmaas/usage"), ("POST", "/llmaas/tenants/acme/suspend")]
        for method, path in paths:
            assert (await platform.raw(method, path, key=key)).status_code == 403
            assert (await platform.raw(method, path, key="sk-wrong")).status_code == 401

    on_platform(action)


def test_every_change_reaches_the_replicas_and_the_audit(on_platform: Run) -> None:
    async def action(platform: Any) -> None:
        tenant = await platform.tenant("acme")
        replica = platform.stores.directory(cache_seconds=0)
        await platform.ask("PUT", "/llmaas/tenants/acme/tier", {"tier": "monthly"})
        assert (await replica.account(tenant)).tier == "monthly"
        await platform.ask("POST", f"/llmaas/tenants/{tenant}/suspend")
        assert (await replica.account(tenant)).suspended
        await platform.ask("POST", "/llmaas/tenants/acme/resume")
        assert not (await replica.account(tenant)).suspended
        paid = await platform.ask(
            "POST", "/llmaas/tenants/acme/payments", {"amount_eur": "50.5", "reference": "2026/17"}
        )
        assert paid["credit_eur"] == "250.50"
        assert (await replica.account(tenant)).credit_nano_eur == 250_500_000_000
        for _ in range(2):
            back = {"payment": "2026/17", "reference": "bank/3"}
            left = await platform.ask("POST", "/llmaas/tenants/acme/payments/taken-back", back)
            assert left["credit_eur"] == "200.00"
            assert (await replica.account(tenant)).credit_nano_eur == 200_000_000_000
        actions = [act.action for act in platform.acts]
        acts = ("create", "set_tier", "suspend", "resume", "top_up", "take_back")
        assert actions == [f"tenant.{verb}" for verb in acts]
        assert platform.acts[-1].details == {**back, "nano_eur": -50_500_000_000}

    on_platform(action)


def test_a_payment_that_is_sent_again_is_answered_with_when_it_was_booked(on_platform: Run) -> None:
    async def action(platform: Any) -> None:
        tenant = await platform.tenant("acme")
        path, payment = "/llmaas/tenants/acme/payments", {"amount_eur": "50.5", "reference": "2026/17"}
        at = platform.now
        first = await platform.raw("POST", path, payment)
        assert (first.status_code, "booked_before" in first.json()) == (201, False)
        acts = len(platform.acts)
        platform.now += timedelta(days=1)
        for amount in ("50.5", "50.50"):
            again = await platform.raw("POST", path, {**payment, "amount_eur": amount})
            assert (again.status_code, again.json()["booked_before"]) == (200, at.isoformat())
            assert again.json()["credit_eur"] == "250.50"
        other = await platform.raw("POST", path, {**payment, "amount_eur": "50.51"})
        assert other.status_code == 400
        assert "booked already, over 50.50 EUR on 2096-11-25; nothing was added" in other.text
        assert len(platform.acts) == acts
        assert (await platform.services.directory.account(tenant)).credit_nano_eur == 250_500_000_000
        # the same reference of another tenant is another payment
        await platform.tenant("globex")
        assert (await platform.raw("POST", path.replace("acme", "globex"), payment)).status_code == 201

    on_platform(action)


def test_a_payment_that_is_sent_twice_at_once_is_booked_once(on_platform: Run) -> None:
    async def action(platform: Any) -> None:
        await platform.tenant("acme")
        path, payment = "/llmaas/tenants/acme/payments", {"amount_eur": "50.5", "reference": "2026/17"}
        answers = await asyncio.gather(*(platform.raw("POST", path, payment) for _ in range(4)))
        assert sorted(answer.status_code for answer in answers) == [200, 200, 200, 201]
        assert {answer.json()["credit_eur"] for answer in answers} == {"250.50"}

    on_platform(action)


def test_a_suspension_is_pushed_again_when_redis_was_away(on_platform: Run) -> None:
    async def action(platform: Any) -> None:
        tenant = await platform.tenant("acme")
        directory, failures = platform.services.directory, iter([RedisError, RedisError])
        publish = directory.publish

        async def failing(account: Any) -> None:
            if failure := next(failures, None):
                raise failure
            await publish(account)

        directory.publish = failing
        assert (await platform.ask("POST", "/llmaas/tenants/acme/suspend"))["state"] == "suspended"
        replica = platform.stores.directory(cache_seconds=0)
        assert not (await replica.account(tenant)).suspended
        for _ in range(100):
            if (await replica.account(tenant)).suspended:
                break
            await asyncio.sleep(0.1)
        assert (await replica.account(tenant)).suspended

    on_platform(action)


def test_a_key_is_made_under_its_tenant_rotated_with_its_budget_and_revoked(on_platform: Run) -> None:
    async def action(platform: Any) -> None:
        tenant = await platform.tenant("acme")
        order = {"name": "app", "budget_eur": "10", "budget_window": "month", "models": ["llama3.2:3b"]}
        first = await platform.ask("POST", "/llmaas/tenants/acme/keys", order)
        assert first["key"].startswith("sk-")
        assert platform.litellm.keys[first["token"]]["team_id"] == tenant
        second = await platform.ask("POST", "/llmaas/keys/app/rotate")
        assert list(platform.litellm.keys) == [second["token"]]
        assert second["key"] != first["key"]
        kept = {"key_alias": "app-r2", "models": ["llama3.2:3b"], "team_id": tenant}
        assert {name: second[name] for name in kept} == kept
        budget = {"budget_nano_eur": 10**10, "budget_window": "month", "budget_scope": first["token"]}
        assert second["metadata"] == budget
        third = await platform.ask("POST", f"/llmaas/keys/{second['token']}/rotate")
        assert (third["key_alias"], third["metadata"]) == ("app-r3", budget)
        await platform.ask("POST", "/llmaas/keys/app-r3/revoke")
        assert platform.litellm.keys == {}
        keys = [act for act in platform.acts if act.action.startswith("key.")]
        assert [act.action for act in keys] == ["key.create", "key.rotate", "key.rotate", "key.revoke"]
        assert {act.tenant for act in keys} == {tenant}
        assert not [act for act in platform.acts if first["key"] in repr(act)]

    on_platform(action)


def test_requests_of_a_key_are_the_ledgers_matter_also_of_one_that_was_limited_at_litellm(on_platform: Run) -> None:
    async def action(platform: Any) -> None:
        await platform.tenant("acme")
        made = await platform.ask("POST", "/llmaas/tenants/acme/keys", {"name": "app", "requests_per_minute": 7})
        assert (made["metadata"], "rpm_limit" in made) == ({"requests_per_minute": 7}, False)
        platform.litellm.keys[made["token"]]["rpm_limit"] = 5
        rotated = await platform.ask("POST", "/llmaas/keys/app/rotate")
        assert (rotated["metadata"], "rpm_limit" in rotated) == ({"requests_per_minute": 5}, False)

    on_platform(action)


def test_a_key_is_not_granted_more_than_its_team(on_platform: Run) -> None:
    async def action(platform: Any) -> None:
        await platform.tenant("acme", models=["llama3.2:3b"])
        order = {"name": "app", "models": ["granite3.3:8b", "llama3.2:3b"]}
        refused = await platform.raw("POST", "/llmaas/tenants/acme/keys", order)
        assert refused.status_code == 400
        assert "is not granted granite3.3:8b; it has llama3.2:3b" in refused.json()["error"]["message"]
        assert platform.litellm.keys == {}

    on_platform(action)


def test_a_tier_with_a_factor_that_the_price_book_lacks_is_refused_at_the_start(on_platform: Run) -> None:
    async def action(platform: Any) -> None:
        tier = platform.services.tiers["T1"].model_copy(update={"price_factor": "friends"})
        with pytest.raises(PriceError, match="no factor 'friends' in the price book; it has: batch"):
            replace(platform.services, tiers={"T1": tier})

    on_platform(action)


def test_what_litellm_refuses_is_told_in_its_words(on_platform: Run) -> None:
    async def action(platform: Any) -> None:
        await platform.tenant("acme")
        await platform.ask("POST", "/llmaas/tenants/acme/keys", {"name": "app"})
        refused = await platform.raw("POST", "/llmaas/tenants/acme/keys", {"name": "app"})
        assert refused.status_code == 400
        assert "Key with alias 'app' already exists" in refused.json()["error"]["message"]
        assert len(platform.litellm.keys) == 1

    on_platform(action)


def test_a_key_whose_act_cannot_be_recorded_does_not_remain(on_platform: Run) -> None:
    async def action(platform: Any) -> None:
        await platform.tenant("acme")

        async def refuse(_: list[Act], __: Any = None) -> None:
            raise OSError("no audit")

        platform.services.audit.append = refuse
        with pytest.raises(OSError, match="no audit"):
            await platform.raw("POST", "/llmaas/tenants/acme/keys", {"name": "app"})
        assert platform.litellm.keys == {}

    on_platform(action)


@pytest.mark.parametrize("failing", ["/key/generate", "/key/block"])
def test_a_rotation_that_fails_leaves_the_old_key_as_it_was(on_platform: Run, failing: str) -> None:
    async def action(platform: Any) -> None:
        await platform.tenant("acme")
        old = await platform.ask("POST", "/llmaas/tenants/acme/keys", {"name": "app"})
        platform.litellm.failing.add(failing)
        assert (await platform.raw("POST", "/llmaas/keys/app/rotate")).status_code == 502
        assert platform.litellm.keys[old["token"]]["blocked"] is False

    on_platform(action)


def test_a_further_team_has_a_budget_of_its_own_and_keys_below_it(on_platform: Run) -> None:
    async def action(platform: Any) -> None:
        tenant = await platform.tenant("acme")
        order = {"name": "research", "budget_eur": "20", "budget_window": "day"}
        team = (await platform.ask("POST", "/llmaas/tenants/acme/teams", order))["team"]
        metadata = platform.litellm.teams[team]["metadata"]
        assert metadata == {
            "tenant": tenant,
            "made_by": "llmaas",
            "budget_nano_eur": 2 * 10**10,
            "budget_window": "day",
        }
        key = await platform.ask("POST", "/llmaas/tenants/acme/keys", {"name": "lab", "team": team})
        assert platform.litellm.keys[key["token"]]["team_id"] == team
        assert (await platform.ask("GET", "/llmaas/tenants/acme"))["teams"] == [tenant, team]

    on_platform(action)


def test_a_tenant_is_listed_with_what_it_has_left(on_platform: Run) -> None:
    async def action(platform: Any) -> None:
        tenant = await platform.tenant("acme")
        await platform.tenant("zulu", "monthly")
        spent = await platform.call(tenant, "one", {"input": 1_000, "output": 500})
        await platform.store_records()
        first, second = await platform.ask("GET", "/llmaas/tenants")
        assert spent == 1_000 * 1_800 + 500 * 8_000
        assert (first["name"], first["spent_credit_eur"], first["spent_month_eur"]) == ("acme", "0.0058", "0.0058")
        assert first["credit_left_eur"] == "199.9942"
        assert (second["name"], second["spent_month_eur"]) == ("zulu", "0.00")

    on_platform(action)
