"""Whether a call may pass: whose it is, what it can cost at most, and whether every limit has room for that."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final, Protocol
from zoneinfo import ZoneInfo

from llmaas_gateway.accounts.account import (
    TENANT,
    Account,
    AccountError,
    Budget,
    Tier,
    limits_of,
    requests_per_minute_of,
    tier_of,
)
from llmaas_gateway.accounts.directory import DirectoryUnavailableError, UnknownTenantError
from llmaas_gateway.isolation.requests import cache_salt
from llmaas_gateway.ledger.ledger import Ledger, LedgerUnavailableError, Refused
from llmaas_gateway.ledger.limits import Limit
from llmaas_gateway.ledger.records import CallRecord
from llmaas_gateway.prices import PriceError
from llmaas_gateway.proxy.answers import amount, bad_request, over_limit, unavailable
from llmaas_gateway.proxy.away import Allowances
from llmaas_gateway.proxy.call import Admitted, Call, Refusal
from llmaas_gateway.proxy.costs import Costs
from llmaas_gateway.proxy.settings import GatewaySettings, ServedModel
from llmaas_gateway.proxy.settlement import Settlement

# vLLM's queue: a lower number goes first.
_PRIORITIES: Final = {"high": 0, "normal": 10}


@dataclass(frozen=True, slots=True)
class KeyOwner:
    """What LiteLLM knows of the key that a call came with.

    Attributes:
        key: the hash that names it.
        key_requests_per_minute: a limit that was set at LiteLLM itself; ours are in the metadata.
        team: LiteLLM's id of its team.
    """

    key: str
    key_metadata: Mapping[str, Any]
    key_requests_per_minute: int | None
    team: str
    team_metadata: Mapping[str, Any]


class Accounts(Protocol):
    """Who a tenant is."""

    async def account(self, tenant: str) -> Account:
        """The tenant's account."""


class _RefusedError(Exception):
    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.code)
        self.refusal = refusal


def _served(call: Call) -> ServedModel:
    if call.fault is not None:
        raise _RefusedError(call.fault)
    if call.model is None:
        raise _RefusedError(bad_request("The model does not exist.", "model", status=404, code="model_not_found"))
    return call.model


def _never_settled(call: Call, wanted: Admitted) -> dict[str, Any]:
    """What is kept of the call if its proxy is killed: what it took is not known, and nothing is charged."""
    return CallRecord(
        request_id=call.identity,
        began_at=wanted.at.isoformat(),
        tenant=wanted.tenant,
        team=wanted.team,
        api_key=wanted.key,
        billing=wanted.billing,
        model=call.model.name if call.model else "",
        endpoint=call.endpoint,
        status="lapsed",
    ).payload()


class Admission:
    """Admits calls one by one."""

    def __init__(  # noqa: PLR0913, PLR0917 - the parts that a decision needs
        self,
        settings: GatewaySettings,
        salt_secret: bytes,
        accounts: Accounts,
        ledger: Ledger,
        costs: Costs,
        settlement: Settlement,
        allowances: Allowances,
        zone: ZoneInfo,
    ) -> None:
        """Takes the settings, what the decision rests on, and the time zone of prices and windows."""
        self._settings = settings
        self._secret = salt_secret
        self._accounts = accounts
        self._ledger = ledger
        self._costs = costs
        self._settlement = settlement
        self._allowances = allowances
        self._zone = zone
        self._lease = timedelta(seconds=settings.lease_seconds)

    async def admit(self, call: Call, owner: KeyOwner) -> Refusal | None:
        """Reserve what the call can take at most and note that in it; or why it may not pass."""
        try:
            model = _served(call)
            account, tier = await self._payer(owner)
            if model.tokenizer is None:
                wanted = self._wanted(call, model, owner, account, tier)
            else:
                # It may take seconds for a long prompt; other calls go on meanwhile.
                wanted = await asyncio.to_thread(self._wanted, call, model, owner, account, tier)
        except _RefusedError as error:
            if error.refusal.status != 503:
                await self.note_limits(call, owner)
            return error.refusal
        except (AccountError, PriceError) as error:
            await self.note_limits(call, owner)
            # Ours to mend: a budget, a tier or a price that cannot be used must not let the call pass as if free.
            return Refusal(500, "server_error", "misconfigured", str(error))
        return await self._reserve(call, wanted, tier)

    async def note_limits(self, call: Call, owner: KeyOwner) -> None:
        """Of a call that is refused for another reason: its limits, where they are known, and what they have left."""
        tenant = owner.team_metadata.get(TENANT)
        if not tenant:
            return
        try:
            account = await self._accounts.account(str(tenant))
            limits = self._limits(owner, account, tier_of(self._settings.tiers_by_name, account.tier))
        except (UnknownTenantError, DirectoryUnavailableError, AccountError):
            return
        at = datetime.now(self._zone)
        room: Sequence[int | None]
        try:
            room = await self._ledger.room(limits, at)
        except LedgerUnavailableError:
            room = [None] * len(limits)
        call.refused_room = (limits, room, at)

    @staticmethod
    def _limits(owner: KeyOwner, account: Account, tier: Tier) -> Sequence[Limit]:
        team, key = Budget.of(owner.team_metadata), Budget.of(owner.key_metadata)
        requests = requests_per_minute_of(owner.key_metadata, owner.key_requests_per_minute)
        return limits_of(tier, account, owner.team, team, owner.key, key, requests)

    async def _payer(self, owner: KeyOwner) -> tuple[Account, Tier]:
        tenant = owner.team_metadata.get(TENANT)
        if not tenant:
            raise _RefusedError(bad_request("This key belongs to no tenant.", status=403, code="no_tenant"))
        try:
            account = await self._accounts.account(str(tenant))
        except UnknownTenantError:
            refusal = bad_request("This key's tenant does not exist.", status=403, code="no_tenant")
            raise _RefusedError(refusal) from None
        except DirectoryUnavailableError:
            refusal = unavailable("Accounts cannot be read at the moment. Please retry.")
            raise _RefusedError(refusal) from None
        if account.suspended:
            raise _RefusedError(bad_request("This account is suspended.", status=403, code="account_suspended"))
        return account, tier_of(self._settings.tiers_by_name, account.tier)

    def _wanted(self, call: Call, model: ServedModel, owner: KeyOwner, account: Account, tier: Tier) -> Admitted:
        at = datetime.now(self._zone)
        most = self._costs.most(call, model, at, tier.price_factor)
        return Admitted(
            tenant=account.tenant,
            team=owner.team,
            key=owner.key,
            billing=tier.billing.value,
            at=at,
            limits=self._limits(owner, account, tier),
            room=(),
            nano_eur=most.nano_eur,
            output_tokens=most.output_tokens,
            factor=tier.price_factor,
            salt=cache_salt(self._secret, account.tenant, f"{at:%Y-%m}"),
            priority=self._priority(model, tier),
            held=True,
            shadow=self._settings.shadow,
        )

    @staticmethod
    def _priority(model: ServedModel, tier: Tier) -> int | None:
        return _PRIORITIES[tier.priority] if model.takes_priority else None

    async def _reserve(self, call: Call, wanted: Admitted, tier: Tier) -> Refusal | None:
        try:
            verdict = await self._ledger.reserve(
                call.identity,
                wanted.limits,
                nano_eur=wanted.nano_eur,
                output_tokens=wanted.output_tokens,
                at=wanted.at,
                lease=self._lease,
                shadow=wanted.shadow,
                record=_never_settled(call, wanted),
            )
        except LedgerUnavailableError as error:
            self._settlement.ledger_failed(error, cancel=call.identity)
            return self._admit_without_ledger(call, wanted, tier)
        except asyncio.CancelledError:
            self._settlement.gave_up(call.identity)
            raise
        if isinstance(verdict, Refused):
            call.over = verdict.limit.name
            call.refused_room = (wanted.limits, verdict.room, wanted.at)
            return over_limit(verdict, amount(verdict.limit, wanted.nano_eur, wanted.output_tokens), wanted.at)
        call.over = verdict.over.name if verdict.over else None
        call.admitted = replace(wanted, room=verdict.remaining)
        self._settlement.began(call)
        return None

    def _admit_without_ledger(self, call: Call, wanted: Admitted, tier: Tier) -> Refusal | None:
        if not self._allowances.take(wanted.tenant, tier, wanted.nano_eur):
            call.refused_room = (wanted.limits, [None] * len(wanted.limits), wanted.at)
            return unavailable("Limits cannot be read at the moment. Please retry.")
        # Its cancelled reservation keeps the id; the call goes on under another one.
        call.renew_identity()
        call.admitted = replace(wanted, held=False)
        return None
