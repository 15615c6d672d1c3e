"""Keys of tenants: LiteLLM makes and holds them, the tenant's state and the audit go with every act."""

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from llmaas_gateway.accounts import tenants
from llmaas_gateway.accounts.account import REQUESTS_PER_MINUTE, AccountError, Budget, State, requests_per_minute_of
from llmaas_gateway.accounts.administration import Administration
from llmaas_gateway.accounts.database import Connection
from llmaas_gateway.accounts.directory import UnknownTenantError
from llmaas_gateway.accounts.litellm import LiteLLMError
from llmaas_gateway.audit.records import Act

_log = logging.getLogger(__name__)
_ROTATED = re.compile(r"(.*)-r([0-9]+)")
# What a rotated key takes over from the one before, by LiteLLM's names.
_KEPT = ("models",)


@dataclass(frozen=True, slots=True)
class KeyOrder:
    """What a new key may do; None or empty means what its team may.

    Attributes:
        name: how lists call it, unique; no personal data, though it is erased with the tenant.
        team: one of the tenant's; None for its first.
        duration: such as ``90d``; None for a key that never ends.
        budget: its own.
        requests_per_minute: of its own, besides the tenant's.
    """

    name: str
    team: str | None = None
    models: Sequence[str] = ()
    duration: str | None = None
    budget: Budget | None = None
    requests_per_minute: int | None = None


@dataclass(frozen=True, slots=True)
class MadeKey:
    """A key that was just made: the only time its text is seen."""

    text: str
    record: dict[str, Any]


class Keys:
    """Create, rotate and revoke."""

    def __init__(self, administration: Administration) -> None:
        """Takes what the acts on tenants take."""
        self._all = administration

    async def find(self, key: str) -> dict[str, Any]:
        """A key by its hash or its name.

        Raises:
            AccountError: there is none.
        """
        for name in ("key_hash", "key_alias"):
            found = await self._all.litellm.keys(**{name: key})
            if found:
                return found[0]
        raise AccountError(f"there is no key {key!r}; see: llmaas key list")

    async def create(self, actor: str, tenant: str, order: KeyOrder) -> MadeKey:
        """A key under a tenant.

        Raises:
            AccountError: the tenant is erased or unknown, the team is not its own, a model is not granted.
            LiteLLMError: LiteLLM refused, for instance a name that is taken; no key remains.
        """
        await self._all.check_models(order.models)
        body = {
            "key_alias": order.name,
            "models": list(order.models),
            "metadata": _limits(order.budget, order.requests_per_minute),
            "duration": order.duration,
        }
        body = {name: value for name, value in body.items() if value is not None}
        return await self._make(actor, "key.create", tenant, order.team, body)

    async def _make(self, actor: str, action: str, tenant: str, team: str | None, body: dict[str, Any]) -> MadeKey:
        made: dict[str, Any] | None = None
        try:
            async with self._all.database.change() as connection:
                owner, chosen = await _owner(connection, tenant, team)
                await self._check_granted(chosen, body.get("models") or ())
                made = await self._all.litellm.create_key({**body, "team_id": chosen})
                details = {"team": chosen, "models": body.get("models", [])}
                act = Act(actor, action, str(made["token"]), self._all.now(), owner, details)
                await self._all.audit.append([act], connection)
        except BaseException:
            if made is not None:
                await self._remove(str(made["token"]))
            raise
        return MadeKey(str(made["key"]), {name: value for name, value in made.items() if name != "key"})

    async def _check_granted(self, team: str, models: Sequence[str]) -> None:
        if not models:
            return
        granted = (await self._all.litellm.team(team) or {}).get("models") or ()
        if granted and (refused := sorted(set(models) - set(granted))):
            raise AccountError(
                f"team {team!r} is not granted {', '.join(refused)}; it has {', '.join(sorted(granted))}"
            )

    async def revoke(self, actor: str, key: str) -> dict[str, Any]:
        """Make a key useless at every replica, for good; what it was.

        Raises:
            AccountError: there is no such key.
        """
        found = await self.find(key)
        identity = str(found["token"])
        async with self._all.database.change() as connection:
            tenant = await self._tenant_of(connection, found)
            act = Act(actor, "key.revoke", identity, self._all.now(), tenant)
            await self._all.audit.append([act], connection)
            await self._all.litellm.block_key(identity)
        # From here on the key is useless; if the removal fails, the next revocation repeats it.
        await self._all.litellm.delete_key(identity)
        return found

    async def rotate(self, actor: str, key: str) -> MadeKey:
        """A new key in place of another, which is revoked: same team, models, end and limits, what is spent included.

        Raises:
            AccountError: there is no such key, its tenant is erased, or its limits cannot be understood.
        """
        old = await self.find(key)
        identity = str(old["token"])
        async with self._all.database.change() as connection:
            tenant = await tenants.tenant_of_team(connection, str(old.get("team_id")))
        metadata = dict(old.get("metadata") or {})
        budget = Budget.of(metadata)
        if budget is not None:
            budget = replace(budget, scope=budget.scope or identity)
        metadata |= _limits(budget, requests_per_minute_of(metadata, old.get("rpm_limit")))
        kept = {name: old[name] for name in _KEPT if old.get(name) is not None}
        kept |= {"key_alias": _next_name(str(old.get("key_alias") or identity[:8])), "metadata": metadata}
        if old.get("expires") is not None:
            kept["duration"] = self._time_left(str(old["expires"]))
        made = await self._make(actor, "key.rotate", tenant, str(old["team_id"]), kept)
        try:
            await self._all.litellm.block_key(identity)
        except LiteLLMError:
            await self._remove(str(made.record["token"]))
            raise
        await self._remove(identity)
        return made

    def _time_left(self, expires: str) -> str:
        moment = datetime.fromisoformat(expires)
        left = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - self._all.now()
        if left.total_seconds() < 1:
            raise AccountError(f"the key ended at {moment.isoformat()}; create a new one")
        return f"{int(left.total_seconds())}s"

    async def _tenant_of(self, connection: Connection, key: dict[str, Any]) -> str:
        try:
            return await tenants.tenant_of_team(connection, str(key.get("team_id")))
        except UnknownTenantError:
            return ""  # a key without a tenant must be revocable too; the act concerns the platform

    async def _remove(self, identity: str) -> None:
        try:
            await self._all.litellm.block_key(identity)
            await self._all.litellm.delete_key(identity)
        except LiteLLMError as error:
            _log.error("key %s is not removed (%s); revoke it again", identity, error)


def _limits(budget: Budget | None, requests_per_minute: int | None) -> dict[str, Any]:
    """A key's own limits as metadata, which the ledger keeps; LiteLLM's own fields stay empty."""
    fields = budget.metadata() if budget else {}
    return fields if requests_per_minute is None else {**fields, REQUESTS_PER_MINUTE: requests_per_minute}


async def _owner(connection: Connection, tenant: str, team: str | None) -> tuple[str, str]:
    """Whom a new key is for, and under which team; locked, so that a tenant that is being erased gets no new key."""
    row = await tenants.find(connection, tenant, lock=True)
    if row["state"] == State.ERASED:
        raise AccountError(f"tenant {tenant!r} is erased; it gets no key")
    own = await tenants.teams(connection, row["tenant"])
    chosen = team or own[0]
    if chosen not in own:
        raise AccountError(f"team {chosen!r} is not one of tenant {tenant!r}; it has {', '.join(own)}")
    return str(row["tenant"]), chosen


def _next_name(name: str) -> str:
    """The name of a key's successor: ``app``, ``app-r2``, ``app-r3``."""
    match = _ROTATED.fullmatch(name)
    return f"{match[1]}-r{int(match[2]) + 1}" if match else f"{name}-r2"
