"""Usage as operators and tenants see it: exact, one's own only, never a word of a call. Needs real stores."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from ports import free_port
from redis.asyncio import Redis

Run = Callable[[Callable[[Any], Awaitable[Any]]], Any]


async def two_tenants(platform: Any) -> tuple[str, str]:
    """Calls on two days of one tenant, one call of another."""
    acme, other = await platform.tenant("acme"), await platform.tenant("other", "monthly")
    await platform.call(acme, "a1", {"input": 100, "cached_input": 20, "output": 10})
    # 23:30 UTC is the next day in Paris
    await platform.call(acme, "a2", {"input": 7}, at=datetime(2096, 11, 25, 23, 30, tzinfo=UTC), model="llama3.2:3b")
    await platform.call(other, "b1", {"reasoning": 1_000})
    await platform.store_records()
    platform.now = datetime(2096, 11, 27, tzinfo=UTC)
    return acme, other


def test_usage_is_summed_by_what_is_asked_for(on_platform: Run) -> None:
    async def action(platform: Any) -> None:
        acme, other = await two_tenants(platform)
        groups = (await platform.ask("GET", "/llmaas/usage"))["groups"]
        found = {(g["name"], g["model"]): (g["calls"], g["units"], g["nano_eur"], g["output_tokens"]) for g in groups}
        assert found == {
            ("acme", "granite3.3:8b"): (1, {"input": 100, "cached_input": 20, "output": 10}, 120 * 1_800 + 80_000, 10),
            ("acme", "llama3.2:3b"): (1, {"input": 7}, 12_600, 0),
            ("other", "granite3.3:8b"): (1, {"reasoning": 1_000}, 8_000_000, 1_000),
        }
        days = (await platform.ask("GET", "/llmaas/usage", tenant="acme", by="day"))["groups"]
        assert [(day["day"], day["cost_eur"]) for day in days] == [
            ("2096-11-25", "0.000296"),
            ("2096-11-26", "0.0000126"),
        ]
        assert {acme, other} == {g["tenant"] for g in groups}

    on_platform(action)


@pytest.mark.parametrize(
    ("start", "end", "calls"),
    [
        ("2096-11-25", "2096-11-25", ["2096-11-25"]),
        ("2096-11-26", "2096-11-26", ["2096-11-26"]),
        ("2096-11-25", "2096-11-26", ["2096-11-25", "2096-11-26"]),
        ("2096-11-25T00:00:00+01:00", "2096-11-26T00:30:00+01:00", ["2096-11-25"]),
        ("2096-10-01", "2096-10-31", []),
    ],
)
def test_a_period_is_of_the_sellers_days_its_last_included(
    on_platform: Run, start: str, end: str, calls: list[str]
) -> None:
    async def action(platform: Any) -> None:
        await two_tenants(platform)
        query = {"from": start, "to": end, "tenant": "acme", "by": "day"}
        assert [group["day"] for group in (await platform.ask("GET", "/llmaas/usage", **query))["groups"]] == calls

    on_platform(action)


@pytest.mark.parametrize(
    ("query", "status", "words"),
    [
        ({"tenant": "nobody"}, 404, "no tenant 'nobody'"),
        (
            {"model": "gpt"},
            400,
            "'gpt' is not served, has no price of its own, and no call in this time; there are",
        ),
        ({"by": "colour"}, 400, "by: colour; group by one or more of tenant, team"),
        ({"from": "soon"}, 400, "from: 'soon' is no day like 2026-11-01"),
        ({"from": "2096-11-01T00:00:00"}, 400, "from: '2096-11-01T00:00:00' has no offset"),
        ({"to": "9999-12-31"}, 400, "to: '9999-12-31' is out of all time; take a year from 1970 to 9998"),
        ({"from": "0001-01-01T00:00:00+02:00"}, 400, "from: '0001-01-01T00:00:00+02:00' is out of all time"),
        ({"from": "2096-11-02", "to": "2096-11-01"}, 400, "is no time"),
    ],
)
def test_a_question_that_makes_no_sense_is_named(
    on_platform: Run, query: dict[str, str], status: int, words: str
) -> None:
    async def action(platform: Any) -> None:
        await platform.tenant("acme")
        answer = await platform.raw("GET", "/llmaas/usage", **query)
        assert answer.status_code == status
        assert words in answer.json()["error"]["message"]

    on_platform(action)


def test_a_tenant_sees_its_own_usage_and_credit_and_nobody_elses(on_platform: Run) -> None:
    async def action(platform: Any) -> None:
        await two_tenants(platform)
        key = (await platform.ask("POST", "/llmaas/tenants/acme/keys", {"name": "app"}))["key"]
        own = await platform.ask("GET", "/v1/usage", key=key)
        assert own["cost_eur"] == "0.0003086"
        assert {group["model"]: group["calls"] for group in own["data"]} == {"granite3.3:8b": 1, "llama3.2:3b": 1}
        assert (own["tier"], own["credit_left_eur"], own["credit_held_eur"]) == ("T1", "199.9996914", "0.00")
        other = (await platform.ask("POST", "/llmaas/tenants/other/keys", {"name": "other"}))["key"]
        theirs = await platform.ask("GET", "/v1/usage", key=other)
        assert theirs["cost_eur"] == "0.008"
        assert "credit_left_eur" not in theirs
        refused = await platform.raw("GET", "/v1/usage", key=key, by="tenant")
        assert refused.status_code == 400
        # a master key belongs to no tenant
        assert (await platform.raw("GET", "/v1/usage")).status_code == 403

    on_platform(action)


def test_a_credit_that_cannot_be_read_is_told_as_such_and_other_usage_needs_no_redis(on_platform: Run) -> None:
    async def action(platform: Any) -> None:
        await two_tenants(platform)
        keys = [
            (await platform.ask("POST", f"/llmaas/tenants/{name}/keys", {"name": name}))["key"]
            for name in ("acme", "other")
        ]
        away = Redis(port=free_port(), socket_connect_timeout=1)
        platform.services.ledger._redis = away  # noqa: SLF001 - a Redis that is not there
        prepaid, monthly = [await platform.raw("GET", "/v1/usage", key=key) for key in keys]
        await away.aclose()
        assert (prepaid.status_code, prepaid.json()["error"]["code"]) == (503, "unavailable")
        assert monthly.status_code == 200

    on_platform(action)


def test_the_history_has_every_call_once_newest_first_and_no_text(on_platform: Run) -> None:
    async def action(platform: Any) -> None:
        acme, _ = await two_tenants(platform)
        for number in range(7):
            at = platform.now - timedelta(hours=1)  # all at one moment: the request id decides
            await platform.call(acme, f"same-{number}", {"input": 1}, at=at)
        await platform.store_records()
        key = (await platform.ask("POST", "/llmaas/tenants/acme/keys", {"name": "app"}))["key"]
        seen, query = [], {"limit": "4"}
        while True:
            page = await platform.ask("GET", "/v1/usage/requests", key=key, **query)
            seen += page["data"]
            if page["next"] is None:
                break
            query["before"] = page["next"]
        names = [call["request_id"] for call in seen]
        assert names == [*(f"same-{n}" for n in reversed(range(7))), "a2", "a1"]
        assert set(seen[-1]) == {
            "request_id", "began_at", "model", "endpoint", "status", "counts", "nano_eur", "cost_eur", "output_tokens",
            "latency_ms", "api_key", "team",
        }  # fmt: skip
        assert (seen[-1]["cost_eur"], seen[-1]["latency_ms"], seen[-1]["status"]) == ("0.000296", 120, "success")
        assert (await platform.ask("GET", "/v1/usage/requests", key=key, scope="key"))["data"] == []
        for bad in ({"limit": "0"}, {"limit": "1001"}, {"before": "x"}):
            assert (await platform.raw("GET", "/v1/usage/requests", key=key, **bad)).status_code == 400

    on_platform(action)


def test_single_calls_are_shown_as_long_as_their_metadata_is_kept_and_sums_for_longer(on_platform: Run) -> None:
    async def action(platform: Any) -> None:
        acme = await platform.tenant("acme", "monthly")
        for days in (366, 364, 1):
            await platform.call(acme, f"{days} days ago", {"input": 1}, at=platform.now - timedelta(days=days))
        await platform.store_records()
        key = (await platform.ask("POST", "/llmaas/tenants/acme/keys", {"name": "app"}))["key"]
        found = await platform.ask("GET", "/v1/usage/requests", key=key, **{"from": "2095-01-01"})
        assert [call["request_id"] for call in found["data"]] == ["1 days ago", "364 days ago"]
        assert datetime.fromisoformat(found["from"]) == platform.now - timedelta(days=365)
        before = {"from": "2095-01-01", "to": "2095-11-01"}
        refused = await platform.raw("GET", "/v1/usage/requests", key=key, **before)
        assert (refused.status_code, refused.json()["error"]["code"]) == (410, "period_over")
        assert "single calls are shown for 365 days, those from 2095-11-26" in refused.json()["error"]["message"]
        sums = await platform.ask("GET", "/v1/usage", key=key, **{"from": "2095-01-01"})
        assert [group["calls"] for group in sums["data"]] == [3]

    on_platform(action)
