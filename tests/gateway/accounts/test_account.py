"""What a tier promises is what a call is held to."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from llmaas_gateway.accounts.account import (
    UNLIMITED,
    Account,
    AccountError,
    Budget,
    State,
    Tier,
    limits_of,
    requests_per_minute_of,
    tier_of,
)
from llmaas_gateway.ledger.limits import Kind, Limit, Window
from pydantic import ValidationError

ACCOUNT = Account("tn-a", "T1", State.ACTIVE, 250_000_000_000, 1)
EUR = 1_000_000_000


def test_a_prepaid_tier_is_held_to_its_credit_and_to_each_of_its_windows(tiers: dict[str, Tier]) -> None:
    assert limits_of(tiers["T1"], ACCOUNT, "team", None, "hash", None) == (
        Limit("credit", "tenant:tn-a", Kind.MONEY, Window.NONE, 250 * EUR),
        Limit("spend-month", "tenant:tn-a", Kind.MONEY, Window.MONTH, 1000 * EUR),
        Limit("output-tokens-day", "tenant:tn-a", Kind.OUTPUT, Window.DAY, 24 * 150_000),
        Limit("output-tokens-hour", "tenant:tn-a", Kind.OUTPUT, Window.HOUR, 150_000),
        Limit("requests-minute", "tenant:tn-a", Kind.REQUESTS, Window.MINUTE, 1000),
        Limit("parallel-requests", "tenant:tn-a", Kind.PARALLEL, Window.NONE, 20),
    )


def test_monthly_billing_is_counted_and_has_no_cap_on_money_or_tokens(tiers: dict[str, Tier]) -> None:
    caps = {limit.name: limit.cap for limit in limits_of(tiers["monthly"], ACCOUNT, "team", None, "hash", None)}
    assert caps == {
        "spend-month": UNLIMITED,
        "output-tokens-day": UNLIMITED,
        "output-tokens-hour": UNLIMITED,
        "requests-minute": 1000,
    }


@pytest.mark.parametrize(
    ("tier", "budget", "cap"),
    [
        ("T1", 5 * EUR, 5 * EUR),
        ("T1", 0, 0),
        ("T1", 5000 * EUR, 1000 * EUR),  # its tier allows no more
        ("T1", None, 1000 * EUR),
        ("monthly", 5000 * EUR, 5000 * EUR),
    ],
)
def test_of_a_tenants_own_budget_and_its_tiers_cap_the_lower_holds(
    tiers: dict[str, Tier], tier: str, budget: int | None, cap: int
) -> None:
    limits = limits_of(tiers[tier], replace(ACCOUNT, budget_nano_eur=budget), "team", None, "hash", None)
    assert [limit for limit in limits if limit.kind is Kind.MONEY and limit.window is Window.MONTH] == [
        Limit("spend-month", "tenant:tn-a", Kind.MONEY, Window.MONTH, cap)
    ]


def test_budgets_of_team_and_key_are_counters_of_their_own(tiers: dict[str, Tier]) -> None:
    team, key = Budget(9 * EUR, Window.MONTH), Budget(2 * EUR, Window.NONE)
    limits = limits_of(tiers["T1"], ACCOUNT, "team-1", team, "hash", key)
    assert limits[2:4] == (
        Limit("team-budget-month", "team:team-1", Kind.MONEY, Window.MONTH, 9 * EUR),
        Limit("key-budget", "key:hash", Kind.MONEY, Window.NONE, 2 * EUR),
    )


def test_requests_of_a_key_are_counted_beside_the_tenants(tiers: dict[str, Tier]) -> None:
    limits = limits_of(tiers["T1"], ACCOUNT, "team-1", None, "hash", None, 7)
    own = Limit("key-requests-minute", "key:hash", Kind.REQUESTS, Window.MINUTE, 7)
    assert own in limits
    assert tuple(limit for limit in limits if limit != own) == limits_of(
        tiers["T1"], ACCOUNT, "team-1", None, "hash", None
    )


@pytest.mark.parametrize(
    ("metadata", "at_litellm", "limit"),
    [
        (None, None, None),
        ({"tenant": "tn-a"}, None, None),
        ({"requests_per_minute": 7}, None, 7),
        ({}, 9, 9),
        ({"requests_per_minute": 7}, 9, 7),
        ({"requests_per_minute": 7}, 0, 0),
    ],
)
def test_the_lower_of_the_gateways_and_litellms_limit_of_a_key_holds(
    metadata: dict[str, object] | None, at_litellm: int | None, limit: int | None
) -> None:
    assert requests_per_minute_of(metadata, at_litellm) == limit


@pytest.mark.parametrize("wrong", [-1, 1.5, "10", True, UNLIMITED])
def test_a_limit_of_a_key_that_cannot_be_understood_is_an_error_not_a_call_without_one(wrong: object) -> None:
    with pytest.raises(AccountError, match=r"requests_per_minute: .* is no whole number from 0 on"):
        requests_per_minute_of({"requests_per_minute": wrong})


def test_a_rotated_key_goes_on_with_the_counter_of_the_first(tiers: dict[str, Tier]) -> None:
    budget = Budget.of({"budget_nano_eur": EUR, "budget_window": "month", "budget_scope": "first"})
    scopes = [limit.scope for limit in limits_of(tiers["T1"], ACCOUNT, "team", None, "second", budget)]
    assert "key:first" in scopes
    assert "key:second" not in scopes


@given(st.integers(0, 2**53), st.sampled_from(Window), st.none() | st.text("abc123", min_size=1))
def test_a_budget_survives_its_way_through_metadata(nano_eur: int, window: Window, scope: str | None) -> None:
    budget = Budget(nano_eur, window, scope)
    assert Budget.of(budget.metadata()) == budget


@pytest.mark.parametrize("metadata", [None, {}, {"tenant": "tn-a"}, {"budget_nano_eur": None}])
def test_no_budget_is_none(metadata: dict[str, object] | None) -> None:
    assert Budget.of(metadata) is None


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({"budget_nano_eur": -1}, "budget_nano_eur: -1 is no whole number"),
        ({"budget_nano_eur": 1.5}, r"budget_nano_eur: 1\.5"),
        ({"budget_nano_eur": "10"}, "budget_nano_eur: '10'"),
        ({"budget_nano_eur": True}, "budget_nano_eur: True"),
        ({"budget_nano_eur": 1, "budget_window": "week"}, "'week' is none of minute, hour, day, month, none"),
    ],
)
def test_a_budget_that_cannot_be_understood_is_an_error_not_a_call_without_one(
    metadata: dict[str, object], words: str
) -> None:
    with pytest.raises(AccountError, match=words):
        Budget.of(metadata)


def test_an_unknown_tier_is_named_with_those_there_are(tiers: dict[str, Tier]) -> None:
    with pytest.raises(AccountError, match="no tier 'T9'; the tiers are T1, monthly"):
        tier_of(tiers, "T9")


def test_what_holds_while_the_ledger_is_away_is_declared(tiers: dict[str, Tier]) -> None:
    assert tiers["T1"].nano_eur_while_ledger_is_away == 0
    assert tiers["monthly"].nano_eur_while_ledger_is_away == 5 * EUR
    for wrong in ("refuse", -1, 1.5, None):
        with pytest.raises(ValidationError):
            Tier.model_validate({**tiers["T1"].model_dump(mode="json"), "euros_while_ledger_is_away": wrong})


@pytest.mark.parametrize(("state", "suspended"), [("active", False), ("suspended", True), ("erased", True)])
def test_only_an_active_tenant_may_call(state: str, suspended: bool) -> None:  # noqa: FBT001 - a column of the table
    assert Account("tn-a", "T1", State(state), 0, 1).suspended is suspended
