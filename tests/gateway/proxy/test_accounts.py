"""Tenants, keys and money administered in real LiteLLM: what one replica is told holds at all of them in seconds."""

import time
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import httpx
import pytest

from llmaas.admin import AdminClient, AdminError, Tenant
from llmaas.admin.client import KeyLimits
from llmaas.admin.gateway import Gateway

from .client import ask, headers
from .stack import MASTER_KEY, Proxy, Stack

WITHIN_SECONDS = 5.0


@pytest.fixture
def admin(proxy: Proxy) -> Iterator[AdminClient]:
    """The administration at one of the replicas."""
    with AdminClient(httpx.Client(base_url=proxy.url, headers=headers(MASTER_KEY), timeout=60)) as client:
        yield client


@pytest.fixture
def gateway(admin: AdminClient) -> Gateway:
    return admin.with_gateway()


@pytest.fixture
def tenant(admin: AdminClient) -> Tenant:
    """A prepaid tenant with one euro."""
    return admin.create_tenant(f"Jane Doe {uuid.uuid4().hex[:8]}", KeyLimits(), tier="prepaid")


def key_of(admin: AdminClient, tenant: Tenant, **limits: object) -> str:
    return admin.create_key(tenant, f"key-{uuid.uuid4().hex[:8]}", KeyLimits(**limits), "1h").key  # type: ignore[arg-type]


def seconds_until(proxies: list[Proxy], key: str, statuses: set[int]) -> float:
    """How long it takes until every replica answers so."""
    began = time.monotonic()
    for proxy in proxies:
        while ask(proxy, key, max_tokens=5).status_code not in statuses:
            assert time.monotonic() - began < WITHIN_SECONDS + 5, f"{proxy.url} still does not answer {statuses}"
            time.sleep(0.1)
    return time.monotonic() - began


def test_a_tenant_made_at_one_replica_calls_every_one_of_them(
    admin: AdminClient, proxies: list[Proxy], tenant: Tenant
) -> None:
    key = key_of(admin, tenant)
    assert (tenant.tier, tenant.state, f"{tenant.credit_left_eur:f}") == ("prepaid", "active", "1.00")
    for proxy in proxies:
        answer = ask(proxy, key, max_tokens=20)
        assert answer.status_code == 200
        assert answer.headers["x-ratelimit-limit-credit"] == "1.00"


def test_suspension_and_tier_hold_at_every_replica_within_five_seconds(
    admin: AdminClient, gateway: Gateway, proxies: list[Proxy], tenant: Tenant
) -> None:
    key = key_of(admin, tenant)
    seconds_until(proxies, key, {200})
    gateway.suspend(tenant.id)
    assert seconds_until(proxies, key, {403}) < WITHIN_SECONDS
    gateway.resume(tenant.name)
    assert seconds_until(proxies, key, {200}) < WITHIN_SECONDS
    gateway.set_tier(tenant.id, "slow")
    assert seconds_until(proxies, key, {429}) < WITHIN_SECONDS  # three requests a minute, all used up above


def test_a_revoked_or_rotated_key_is_useless_at_every_replica_within_five_seconds(
    admin: AdminClient, proxies: list[Proxy], tenant: Tenant
) -> None:
    old = admin.create_key(tenant, f"app-{tenant.id}", KeyLimits(budget_eur="0.5", budget_period="month"), "1h")
    seconds_until(proxies, old.key, {200})
    new = admin.rotate_key(old.record.name)
    assert seconds_until(proxies, old.key, {401}) < WITHIN_SECONDS
    answers = [ask(proxy, new.key, max_tokens=20) for proxy in proxies]
    assert {answer.status_code for answer in answers} == {200}
    # the successor goes on with the budget of the first, which calls at every replica have used already
    left = {Decimal(answer.headers["x-ratelimit-remaining-key-budget-month"]) for answer in answers}
    assert max(left) < Decimal("0.5") - len(proxies) * Decimal("0.00005")
    admin.revoke_key(new.record)
    assert seconds_until(proxies, new.key, {401}) < WITHIN_SECONDS
    assert admin.list_keys(tenant) == ()


@pytest.mark.parametrize("back", [False, True], ids=["Redis is away", "Redis has just come back"])
def test_a_revoked_key_is_useless_at_every_replica_within_five_seconds_without_redis_too(
    stack: Stack,
    admin: AdminClient,
    proxies: list[Proxy],
    tenant: Tenant,
    back: bool,  # noqa: FBT001 - a column of the table
) -> None:
    key = admin.create_key(tenant, f"app-{tenant.id}", KeyLimits(), "1h")
    seconds_until(proxies, key.key, {200})
    stack.redis.kill()
    try:
        # Replicas notice, and listen again only after a while.
        time.sleep(2)
        if back:
            stack.redis.start()
        admin.revoke_key(key.record)
        assert seconds_until(proxies, key.key, {401}) < WITHIN_SECONDS
    finally:
        if not back:
            stack.redis.start()


def test_a_tenants_own_budget_holds_at_every_replica_within_five_seconds_and_counts_what_was_spent(
    admin: AdminClient, gateway: Gateway, proxies: list[Proxy], tenant: Tenant
) -> None:
    key = key_of(admin, tenant)
    seconds_until(proxies, key, {200})
    gateway.set_budget(tenant.id, "0.0001")  # less than these calls have cost
    assert seconds_until(proxies, key, {429}) < WITHIN_SECONDS
    refused = ask(proxies[0], key, max_tokens=5)
    assert (refused.json()["error"]["code"], "spend-month" in refused.text) == ("insufficient_quota", True)
    gateway.set_budget(tenant.id, None)
    assert seconds_until(proxies, key, {200}) < WITHIN_SECONDS


def test_a_further_team_has_its_own_budget_below_the_tenants(
    admin: AdminClient, gateway: Gateway, proxy: Proxy, tenant: Tenant
) -> None:
    body = {"name": "research", "budget_eur": "0.0001", "budget_window": "day"}
    team = gateway.create_team(tenant.id, body)["team"]
    key = admin.create_key(tenant, f"lab-{tenant.id}", KeyLimits(), None, team).key
    refused = ask(proxy, key, max_tokens=1000)
    assert refused.status_code == 429
    assert "team-budget-day" in refused.text


def test_a_tenants_key_sees_its_own_usage_and_administers_nothing(
    admin: AdminClient, gateway: Gateway, proxy: Proxy, tenant: Tenant, stack: Stack
) -> None:
    key = key_of(admin, tenant)
    for _ in range(3):
        assert ask(proxy, key, max_tokens=20).status_code == 200
    records = stack.wait_for_records(tenant.id, 3)
    cost = sum(record["nano_eur"] for record in records)
    own = httpx.get(f"{proxy.url}/v1/usage", headers=headers(key), timeout=60)
    assert own.status_code == 200, own.text
    assert sum(group["nano_eur"] for group in own.json()["data"]) == cost
    calls = httpx.get(f"{proxy.url}/v1/usage/requests", headers=headers(key), timeout=60).json()["data"]
    assert {call["request_id"] for call in calls} == {record["request_id"] for record in records}
    month = datetime.now(ZoneInfo("Europe/Paris")).strftime("%Y-%m")
    assert gateway.invoice(tenant.id, month)["total_nano_eur"] == cost
    with pytest.raises(AdminError, match="is not closed"):
        gateway.issue_invoice(tenant.id, month)
    for method, path in (("GET", "/llmaas/tenants"), ("POST", f"/llmaas/tenants/{tenant.id}/resume")):
        refused = httpx.request(method, f"{proxy.url}{path}", headers=headers(key), timeout=60)
        assert refused.status_code in {401, 403}


def test_counters_records_and_litellm_agree_after_calls(
    admin: AdminClient, gateway: Gateway, proxies: list[Proxy], tenant: Tenant, stack: Stack
) -> None:
    key = key_of(admin, tenant)
    for proxy in proxies:
        assert ask(proxy, key, max_tokens=20).status_code == 200
    stack.wait_for_records(tenant.id, len(proxies))
    result = gateway.reconcile()
    assert result["compared"]["redis"] > 0
    assert [finding for finding in result["findings"] if tenant.id in finding["subject"]] == []


def test_erasure_leaves_no_name_in_litellms_database_and_keeps_the_records(
    admin: AdminClient, gateway: Gateway, proxies: list[Proxy], tenant: Tenant, stack: Stack
) -> None:
    key = key_of(admin, tenant)
    seconds_until(proxies, key, {200})
    before = stack.wait_for_records(tenant.id, len(proxies))
    with pytest.raises(AdminError, match="confirm it with the tenant's name"):
        gateway.erase(tenant.id, "Jane")
    gateway.erase(tenant.id, tenant.name)
    assert seconds_until(proxies, key, {401, 403}) < WITHIN_SECONDS
    assert stack.records(tenant.id)[: len(before)] == before
    assert _tables_with(stack, tenant.name) == []
    with pytest.raises(AdminError, match="is erased"):
        key_of(admin, tenant)


def test_what_litellm_refuses_leaves_nothing_behind(admin: AdminClient, tenant: Tenant, stack: Stack) -> None:
    name = f"twice-{tenant.id}"
    admin.create_key(tenant, name, KeyLimits(), None)
    with pytest.raises(AdminError, match="already exists"):
        admin.create_key(tenant, name, KeyLimits(), None)
    assert [key.name for key in admin.list_keys(tenant)] == [name]
    other = f"other-{tenant.id}"
    with pytest.raises(AdminError, match="no model 'gpt'"):
        admin.create_tenant(other, KeyLimits(models=("gpt",)), tier="prepaid")
    assert _tables_with(stack, other) == []


def _tables_with(stack: Stack, text: str) -> list[str]:
    """Tables of any schema in which a text stands."""
    found: Callable[[str], str] = "SELECT count(*) FROM {} AS t WHERE position(%s IN t::text) > 0".format
    with stack.postgres.connect() as connection:
        tables = connection.execute(
            "SELECT quote_ident(schemaname) || '.' || quote_ident(tablename) FROM pg_tables"
            " WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
        ).fetchall()
        return [name for (name,) in tables if connection.execute(found(name).encode(), [text]).fetchone() != (0,)]
