"""Administrative acts on tenants: each is done whole, in PostgreSQL, in LiteLLM and in the audit, or not at all."""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar

from llmaas_gateway.accounts import tenants
from llmaas_gateway.accounts.account import BUDGET, TENANT, Account, AccountError, Billing, Budget, State, Tier, tier_of
from llmaas_gateway.accounts.database import Connection, Database, Row
from llmaas_gateway.accounts.directory import Directory
from llmaas_gateway.accounts.litellm import LiteLLM, LiteLLMError
from llmaas_gateway.audit.records import Act
from llmaas_gateway.money import NANO_EUR_PER_EUR, format_euros

_log = logging.getLogger(__name__)
T = TypeVar("T")


class Audit(Protocol):
    """Where administrative acts are recorded."""

    async def append(self, acts: Sequence[Act], connection: Connection | None = None) -> Any:
        """Record acts within the transaction that they happen in."""
        ...


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Administration:
    """What the operators of the service may do to tenants.

    Attributes:
        tiers: by name.
        database: where tenants are kept.
        directory: that tells the replicas.
        litellm: that has the teams and keys.
        audit: that records every act.
        now: aware.
    """

    tiers: Mapping[str, Tier]
    database: Database
    directory: Directory
    litellm: LiteLLM
    audit: Audit
    now: Callable[[], datetime] = field(default=_utc_now)

    async def check_models(self, models: Sequence[str]) -> None:
        """Refuse a model that is not served, and name those that are."""
        if not models:
            return
        served = await self.litellm.models()
        if unknown := sorted(set(models) - served):
            raise AccountError(f"no model {', '.join(map(repr, unknown))}; there are {', '.join(sorted(served))}")

    async def tell(self, account: Account) -> None:
        """Push a committed change to the replicas; without Redis they ask PostgreSQL."""
        await self.directory.tell(account)

    async def create(  # noqa: PLR0913 - each is a fact of the tenant
        self,
        actor: str,
        name: str,
        tier: str,
        *,
        models: Sequence[str] = (),
        top_up_nano_eur: int | None = None,
        budget_nano_eur: int | None = None,
    ) -> Account:
        """A tenant with its first team; a prepaid one begins with what its tier costs, unless told otherwise.

        Raises:
            AccountError: unknown tier or model, a name that is taken, a negative amount.
            LiteLLMError: LiteLLM refused; neither tenant nor team remains.
        """
        chosen = tier_of(self.tiers, tier)
        first = top_up_nano_eur
        if first is None:
            first = (chosen.prepaid_eur or 0) * NANO_EUR_PER_EUR if chosen.billing is Billing.PREPAID else 0
        if first < 0:
            raise AccountError(f"{format_euros(first)} EUR is no first payment; it must be zero or more")
        await self.check_models(models)
        tenant, at = tenants.new_identifier(), self.now()

        async def rows(connection: Connection) -> Account:
            account = await tenants.create(
                connection,
                tenant,
                name=name,
                tier=tier,
                top_up_nano_eur=first,
                at=at,
                budget_nano_eur=budget_nano_eur,
            )
            await tenants.add_team(connection, tenant, tenant, at)
            return account

        details = {"tier": tier, "models": list(models), "first_payment_nano_eur": first}
        if budget_nano_eur is not None:
            details[BUDGET] = budget_nano_eur
        act = Act(actor, "tenant.create", tenant, at, tenant, details)
        metadata = {TENANT: tenant, "made_by": "llmaas"}
        account = await self._with_team(rows, tenant, name, models, metadata, act)
        await self.tell(account)
        return account

    async def create_team(
        self, actor: str, tenant: str, name: str, *, models: Sequence[str] = (), budget: Budget | None = None
    ) -> str:
        """A further team of a tenant, with a budget of its own if given; its identifier."""
        await self.check_models(models)
        team, at = tenants.new_identifier().replace("tn-", "tm-"), self.now()
        async with self.database.change() as connection:
            found = (await tenants.find(connection, tenant))["tenant"]

        async def rows(connection: Connection) -> str:
            _refuse_erased(await tenants.find(connection, found, lock=True))
            await tenants.add_team(connection, found, team, at)
            return team

        details = {"models": list(models), **(budget.metadata() if budget else {})}
        act = Act(actor, "team.create", team, at, found, details)
        metadata = {TENANT: found, "made_by": "llmaas", **(budget.metadata() if budget else {})}
        return await self._with_team(rows, team, name, models, metadata, act)

    async def _with_team(  # noqa: PLR0913, PLR0917 - each is a part of the act
        self,
        rows: Callable[[Connection], Awaitable[T]],
        team: str,
        name: str,
        models: Sequence[str],
        metadata: Mapping[str, Any],
        act: Act,
    ) -> T:
        """Rows of ours and a team of LiteLLM, both or neither."""
        asked = False
        try:
            async with self.database.change() as connection:
                result = await rows(connection)
                await self.audit.append([act], connection)
                asked = True
                await self.litellm.create_team(team, name, models, metadata)
        except BaseException:
            if asked:
                await self._remove_team(team)
            raise
        return result

    async def _remove_team(self, team: str) -> None:
        try:
            await self.litellm.delete_team(team)
        except LiteLLMError as error:
            _log.error("team %s may remain in LiteLLM without a tenant (%s); llmaas reconcile names it", team, error)

    async def list(self) -> "list[Row]":
        """All tenants with their credit, those with a name by name, then the erased."""
        return await self.database.read("SELECT * FROM ledger.tenant_account ORDER BY name NULLS LAST, tenant")

    async def find(self, tenant: str) -> Row:
        """A tenant by identifier or name, with its credit and teams."""
        async with self.database.change() as connection:
            found = (await tenants.find(connection, tenant))["tenant"]
            teams = await tenants.teams(connection, found)
        row = (await self.database.read("SELECT * FROM ledger.tenant_account WHERE tenant = %s", [found]))[0]
        return {**row, "teams": teams}

    async def set_tier(self, actor: str, tenant: str, tier: str) -> Account:
        """Another tier from now on; credit and what was used in the running windows stay."""
        tier_of(self.tiers, tier)
        return await self._change(
            actor, "tenant.set_tier", tenant, {"tier": tier}, lambda c, t: tenants.set_tier(c, t, tier, self.now())
        )

    async def set_budget(self, actor: str, tenant: str, nano_eur: int | None) -> Account:
        """The most it may spend in a calendar month, this one included; None for what its tier allows."""
        return await self._change(
            actor,
            "tenant.set_budget",
            tenant,
            {BUDGET: nano_eur},
            lambda c, t: tenants.set_budget(c, t, nano_eur, self.now()),
        )

    async def suspend(self, actor: str, tenant: str) -> Account:
        """Refuse the tenant's calls at every replica."""
        return await self._change(
            actor, "tenant.suspend", tenant, {}, lambda c, t: tenants.set_state(c, t, State.SUSPENDED, self.now())
        )

    async def resume(self, actor: str, tenant: str) -> Account:
        """Let a suspended tenant call again."""
        return await self._change(
            actor, "tenant.resume", tenant, {}, lambda c, t: tenants.set_state(c, t, State.ACTIVE, self.now())
        )

    async def top_up(self, actor: str, tenant: str, nano_eur: int, reference: str) -> tuple[Account, datetime | None]:
        """Add credit for a payment, once; the tenant, and when the payment was booked before, if it was.

        Whoever got no answer sends it again, and learns whether it was booked.
        """
        return await self._once(
            actor,
            "tenant.top_up",
            tenant,
            {"nano_eur": nano_eur, "reference": reference},
            lambda c, t: tenants.booked(c, t, nano_eur, reference),
            lambda c, t: tenants.top_up(c, t, nano_eur, reference, self.now()),
        )

    async def take_back(self, actor: str, tenant: str, payment: str, reference: str) -> tuple[Account, datetime | None]:
        """Take a payment's credit away again, once; the tenant, and when it was taken back before, if it was."""
        details: dict[str, Any] = {"payment": payment, "reference": reference}

        async def change(connection: Connection, found: str) -> Account:
            details["nano_eur"] = -await tenants.paid(connection, found, payment)
            return await tenants.take_back(connection, found, payment, reference, self.now())

        return await self._once(
            actor, "tenant.take_back", tenant, details, lambda c, t: tenants.taken_back(c, t, payment), change
        )

    async def payments(self, tenant: str) -> Sequence[Row]:
        """What a tenant paid, and what of it was taken back."""
        async with self.database.change() as connection:
            found = (await tenants.find(connection, tenant))["tenant"]
            return await tenants.payments(connection, found)

    async def _change(
        self,
        actor: str,
        action: str,
        tenant: str,
        details: Mapping[str, Any],
        change: Callable[[Connection, str], Awaitable[Account]],
    ) -> Account:
        account, _ = await self._once(actor, action, tenant, details, _never, change)
        return account

    async def _once(  # noqa: PLR0913, PLR0917 - who does what to whom, and how
        self,
        actor: str,
        action: str,
        tenant: str,
        details: Mapping[str, Any],
        done: Callable[[Connection, str], Awaitable[datetime | None]],
        change: Callable[[Connection, str], Awaitable[Account]],
    ) -> tuple[Account, datetime | None]:
        """A change with its record, unless it was done before; the tenant, and when that was."""
        async with self.database.change() as connection:
            found = (await tenants.find(connection, tenant, lock=True))["tenant"]
            before = await done(connection, found)
            if before is None:
                account = await change(connection, found)
                await self.audit.append([Act(actor, action, found, self.now(), found, details)], connection)
            else:
                account = await tenants.account(connection, found)
        # Of what was done before as well: the replica that did it may not have come to this.
        await self.tell(account)
        return account, before


async def _never(_: Connection, __: str) -> datetime | None:
    return None


def _refuse_erased(row: Row) -> None:
    if row["state"] == State.ERASED:
        raise AccountError(f"tenant {row['tenant']!r} is erased; nothing of it changes any more")
