"""What a tenant bought and what follows from it: the limits that each of its calls must keep."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from llmaas_gateway.ledger.limits import Kind, Limit, Window
from llmaas_gateway.money import MAX_NANO_EUR, NANO_EUR_PER_EUR

BUDGET: Final = "budget_nano_eur"
BUDGET_WINDOW: Final = "budget_window"
BUDGET_SCOPE: Final = "budget_scope"
REQUESTS_PER_MINUTE: Final = "requests_per_minute"
TENANT: Final = "tenant"
# The cap of what is counted without being limited, so that a later tier finds what was used before. Not for headers.
UNLIMITED: Final = MAX_NANO_EUR


class AccountError(ValueError):
    """An account, tier or budget that cannot be used, and what to do about it."""


class Billing(StrEnum):
    """How a tenant pays."""

    PREPAID = "prepaid"
    """From credit that was topped up before."""
    MONTHLY = "monthly"
    """By an invoice after the month."""


class State(StrEnum):
    """Whether a tenant may call."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    ERASED = "erased"
    """Its personal data is gone for good; its accounts stay."""


class Tier(BaseModel):
    """What a tenant bought, in the words of the stack file's ``llmaas:tiers``; amounts in whole euros.

    Attributes:
        prepaid_eur: what is paid on joining; booked as the first top-up.
        monthly_cap_eur: the most that can be spent in a calendar month; None for no cap.
        output_tokens_per_hour: reasoning included; a day has 24 times that. None for no limit.
        parallel_requests: calls under way at once; None for no limit.
        price_factor: a factor of the price book that every call is charged with; None for full price.
        euros_while_ledger_is_away: what one tenant may spend while counters cannot be read; at 0 its calls are refused.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: str = Field(min_length=1)
    billing: Annotated[Billing, Field(strict=False)]
    priority: Literal["normal", "high"]
    requests_per_minute: int = Field(ge=1)
    parallel_requests: int | None = Field(default=None, ge=1)
    prepaid_eur: int | None = Field(default=None, ge=0)
    monthly_cap_eur: int | None = Field(default=None, ge=1)
    output_tokens_per_hour: int | None = Field(default=None, ge=1)
    price_factor: str | None = None
    euros_while_ledger_is_away: int = Field(default=0, ge=0)

    @property
    def output_tokens_per_day(self) -> int | None:
        """24 times the hourly allowance."""
        return None if self.output_tokens_per_hour is None else 24 * self.output_tokens_per_hour

    @property
    def nano_eur_while_ledger_is_away(self) -> int:
        """What one tenant may spend without counters; 0 where its calls are refused."""
        return self.euros_while_ledger_is_away * NANO_EUR_PER_EUR


@dataclass(frozen=True, slots=True)
class Account:
    """A tenant as every replica knows it.

    Attributes:
        tenant: the identifier under which counters, records and audit know it; never its name.
        tier: name of its tier.
        state: whether it may call.
        credit_nano_eur: all that was paid in advance and not taken back; what is left is this less what was charged.
        revision: grows by one with every change.
        budget_nano_eur: the most it may spend in a calendar month; None for what its tier allows, the lower of both
            holds.
    """

    tenant: str
    tier: str
    state: State
    credit_nano_eur: int
    revision: int
    budget_nano_eur: int | None = None

    @property
    def suspended(self) -> bool:
        """Whether its calls are refused."""
        return self.state is not State.ACTIVE


@dataclass(frozen=True, slots=True)
class Budget:
    """What a key or team may spend in a window.

    Attributes:
        nano_eur: the most.
        window: when it begins anew.
        scope: whose counter it is; None for the key or team itself. A rotated key goes on with that of the first.
    """

    nano_eur: int
    window: Window
    scope: str | None = None

    def metadata(self) -> dict[str, Any]:
        """As it stands in LiteLLM's metadata of a key or team."""
        fields = {BUDGET: self.nano_eur, BUDGET_WINDOW: self.window.value}
        return fields if self.scope is None else {**fields, BUDGET_SCOPE: self.scope}

    @classmethod
    def of(cls, metadata: Mapping[str, Any] | None) -> "Budget | None":
        """The budget in LiteLLM's metadata of a key or team; None where there is none.

        Raises:
            AccountError: it is there but cannot be understood; the call must not pass as if there were none.
        """
        amount = (metadata or {}).get(BUDGET)
        if amount is None:
            return None
        if isinstance(amount, bool) or not isinstance(amount, int) or not 0 <= amount <= MAX_NANO_EUR:
            raise AccountError(f"{BUDGET}: {amount!r} is no whole number of nano-euros from 0 to {MAX_NANO_EUR}")
        window = (metadata or {}).get(BUDGET_WINDOW, Window.NONE)
        if window not in set(Window):
            raise AccountError(f"{BUDGET_WINDOW}: {window!r} is none of {', '.join(Window)}")
        scope = (metadata or {}).get(BUDGET_SCOPE)
        return cls(amount, Window(window), None if scope is None else str(scope))


def requests_per_minute_of(metadata: Mapping[str, Any] | None, at_litellm: int | None = None) -> int | None:
    """The calls that a key may begin in a minute; None for no limit of its own.

    Args:
        metadata: LiteLLM's of the key.
        at_litellm: LiteLLM's own limit of the key, where somebody set one; the lower of both holds.

    Raises:
        AccountError: it is there but cannot be understood; the call must not pass as if there were none.
    """
    limits = []
    for limit in ((metadata or {}).get(REQUESTS_PER_MINUTE), at_litellm):
        if limit is None:
            continue
        if isinstance(limit, bool) or not isinstance(limit, int) or not 0 <= limit < UNLIMITED:
            raise AccountError(f"{REQUESTS_PER_MINUTE}: {limit!r} is no whole number from 0 on")
        limits.append(limit)
    return min(limits, default=None)


def tier_of(tiers: Mapping[str, Tier], name: str) -> Tier:
    """The tier of that name.

    Raises:
        AccountError: there is none; the text names those there are.
    """
    if name not in tiers:
        raise AccountError(f"there is no tier {name!r}; the tiers are {', '.join(sorted(tiers))}")
    return tiers[name]


def _budget(level: str, identity: str, budget: Budget) -> Limit:
    # The window is part of the name: on the first of a month a daily and a monthly counter begin at the same moment.
    name = f"{level}-budget" if budget.window is Window.NONE else f"{level}-budget-{budget.window}"
    return Limit(name, f"{level}:{budget.scope or identity}", Kind.MONEY, budget.window, budget.nano_eur)


def limits_of(  # noqa: PLR0913, PLR0917 - whose limits they are, level by level
    tier: Tier,
    account: Account,
    team: str,
    team_budget: Budget | None,
    key: str,
    key_budget: Budget | None,
    key_requests_per_minute: int | None = None,
) -> tuple[Limit, ...]:
    """Every limit that a call must keep, those that waiting does not mend first.

    Windows that the tier does not limit are counted all the same, with the cap ``UNLIMITED``.

    Args:
        tier: of the tenant.
        account: of the tenant.
        team: LiteLLM's id of the team.
        team_budget: of that team.
        key: the hash that names the key.
        key_budget: of that key.
        key_requests_per_minute: of that key; None for what its tenant may send.
    """
    scope = f"tenant:{account.tenant}"

    def tokens(name: str, window: Window, cap: int | None) -> Limit:
        return Limit(name, scope, Kind.OUTPUT, window, UNLIMITED if cap is None else cap)

    limits = []
    if tier.billing is Billing.PREPAID:
        limits.append(Limit("credit", scope, Kind.MONEY, Window.NONE, account.credit_nano_eur))
    cap = UNLIMITED if tier.monthly_cap_eur is None else tier.monthly_cap_eur * NANO_EUR_PER_EUR
    if account.budget_nano_eur is not None:
        cap = min(cap, account.budget_nano_eur)
    limits.append(Limit("spend-month", scope, Kind.MONEY, Window.MONTH, cap))
    if team_budget is not None:
        limits.append(_budget("team", team, team_budget))
    if key_budget is not None:
        limits.append(_budget("key", key, key_budget))
    limits.append(tokens("output-tokens-day", Window.DAY, tier.output_tokens_per_day))
    limits.append(tokens("output-tokens-hour", Window.HOUR, tier.output_tokens_per_hour))
    if key_requests_per_minute is not None:
        own = Limit("key-requests-minute", f"key:{key}", Kind.REQUESTS, Window.MINUTE, key_requests_per_minute)
        limits.append(own)
    limits.append(Limit("requests-minute", scope, Kind.REQUESTS, Window.MINUTE, tier.requests_per_minute))
    if tier.parallel_requests is not None:
        limits.append(Limit("parallel-requests", scope, Kind.PARALLEL, Window.NONE, tier.parallel_requests))
    return tuple(limits)
