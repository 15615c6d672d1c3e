"""Everything that is held on a tenant, as a document; and its erasure under the GDPR, which leaves the accounts.

Counters, records, invoices and payments know a tenant by an identifier without meaning, so they stay as they are. What
goes is the name, the keys with their names, the teams, and what LiteLLM copied of these into tables of its own.
"""

import json
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any, Final

from llmaas_gateway.accounts import tenants
from llmaas_gateway.accounts.account import AccountError, State
from llmaas_gateway.accounts.administration import Administration
from llmaas_gateway.accounts.database import Connection, rows
from llmaas_gateway.accounts.trail import Trail
from llmaas_gateway.audit.records import PLATFORM, Act
from llmaas_gateway.transactions import may_idle

# What LiteLLM keeps of teams and keys after they are deleted; the accounts need none of it.
_TRACES: Final = {
    "LiteLLM_DeletedTeamTable": 'DELETE FROM "LiteLLM_DeletedTeamTable" WHERE team_id = ANY(%s)',
    "LiteLLM_DeletedVerificationToken": 'DELETE FROM "LiteLLM_DeletedVerificationToken" WHERE team_id = ANY(%s)',
    "LiteLLM_SpendLogs": (
        """UPDATE "LiteLLM_SpendLogs" SET metadata = '{}', "user" = '', end_user = '', requester_ip_address = NULL"""
        """ WHERE team_id = ANY(%s) AND (metadata <> '{}' OR "user" <> '' OR end_user <> '' OR"""
        """ requester_ip_address IS NOT NULL)"""
    ),
    "LiteLLM_ToolTable": (
        'UPDATE "LiteLLM_ToolTable" SET key_alias = NULL, user_agent = NULL'
        " WHERE team_id = ANY(%s) AND (key_alias IS NOT NULL OR user_agent IS NOT NULL)"
    ),
}
_PAGE: Final = 1_000


async def sweep(connection: Connection, team_ids: list[str]) -> int:
    """Remove what LiteLLM's own tables still hold on the teams of erased tenants; how many rows had something.

    LiteLLM writes some of them minutes after a call, so one sweep at the erasure is not enough: reconciliation sweeps.
    """
    swept = 0
    for table, statement in _TRACES.items():
        known = await rows(connection, "SELECT to_regclass(%s) IS NOT NULL AS known", [f'"{table}"'])
        if known[0]["known"]:
            swept += (await connection.execute(statement.encode(), [team_ids])).rowcount
    return swept


async def sweep_erased(connection: Connection) -> int:
    """The same for all tenants that were ever erased."""
    query = "SELECT team FROM ledger.team JOIN ledger.tenant USING (tenant) WHERE state = 'erased'"
    return await sweep(connection, [row["team"] for row in await rows(connection, query)])


def _text(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


async def _joined(items: AsyncIterator[str]) -> AsyncIterator[str]:
    """Items of a JSON array, a line each."""
    separator = "\n"
    async for item in items:
        yield separator + item
        separator = ",\n"


class PersonalData:
    """Export and erasure."""

    def __init__(self, administration: Administration, trail: Trail | None = None) -> None:
        """Takes what the acts on tenants take, and the audit's records of a tenant."""
        self._all = administration
        self._trail = trail

    async def erase(self, actor: str, tenant: str, confirmed: str) -> str:
        """Remove the personal data of a tenant for good; the identifier under which its accounts stay.

        The tenant is suspended first. If LiteLLM fails in between, it stays so and the erasure is to be repeated: only
        when nothing personal is left is it marked as erased. Until then it is locked: whoever would give it a team or a
        key waits, and is refused.

        Raises:
            AccountError: the confirmation is not the tenant's name, or it is erased already.
            LiteLLMError: keys or teams could not be removed.
        """
        row = await self._all.find(tenant)
        identifier = str(row["tenant"])
        if row["state"] == State.ERASED:
            raise AccountError(f"tenant {identifier!r} is erased already")
        if confirmed != row["name"]:
            raise AccountError(f"erasure is for good: confirm it with the tenant's name, {row['name']!r}")
        await self._all.suspend(actor, identifier)
        async with self._all.database.change() as connection:
            # LiteLLM is asked for every key meanwhile.
            await may_idle(connection)
            await tenants.find(connection, identifier, lock=True)
            # Now that no more can be made: one that nobody saw would never be found again.
            teams = await tenants.teams(connection, identifier)
            if self._trail is not None:
                await self._trail.erase(identifier, actor)
            await self._remove_from_litellm(teams)
            await sweep(connection, teams)
            account = await tenants.erase(connection, identifier, self._all.now())
            # The identifier stands with the accounts anyway; the platform's own stream forgets nothing.
            act = Act(actor, "tenant.erase", identifier, self._all.now())
            await self._all.audit.append([act], connection)
        await self._all.tell(account)
        return identifier

    async def _remove_from_litellm(self, teams: list[str]) -> None:
        for team in teams:
            for key in await self._all.litellm.keys(team_id=team):
                await self._all.litellm.block_key(str(key["token"]))
            await self._all.litellm.delete_team(team)

    async def export(self, actor: str, tenant: str) -> AsyncIterator[str]:
        """One JSON object, piece by piece: the tenant, its history, payments, invoices, teams, keys, records, audit.

        That it was exported is recorded before anything leaves, whether or not it then arrives whole.

        Raises:
            UnknownTenantError: before the first piece.
            LiteLLMError, DatabaseUnavailableError: likewise, where what is held cannot be read, or the act be recorded.
        """
        row = await self._all.find(tenant)
        identifier = row["tenant"]
        mine = [team for name in row["teams"] if (team := await self._all.litellm.team(name)) is not None]
        keys = [key for team in row["teams"] for key in await self._all.litellm.keys(team_id=team)]
        head: dict[str, Any] = {"tenant": row}
        for name in ("tenant_history", "top_up", "invoice", "carried"):
            query = f"SELECT * FROM ledger.{name} WHERE tenant = %s ORDER BY 1, 2"  # noqa: S608 - names of ours
            head[name] = await self._all.database.read(query, [identifier])
        head |= {"teams": mine, "keys": keys}
        async with self._all.database.change() as connection:
            # An erased tenant gets no stream anew.
            whose = PLATFORM if row["state"] == State.ERASED else identifier
            act = Act(actor, "tenant.export", identifier, self._all.now(), whose)
            await self._all.audit.append([act], connection)
        text = json.dumps(head, default=_text, ensure_ascii=False)
        yield f'{text[:-1]}, "records": ['
        async for piece in _joined(self._records(identifier)):
            yield piece
        yield '\n], "audit": ['
        if self._trail is not None:
            async for piece in _joined(self._trail.export(identifier)):
                yield piece
        yield "\n]}\n"

    async def _records(self, tenant: str) -> AsyncIterator[str]:
        after: tuple[Any, ...] = ("-infinity", "")
        query = (
            "SELECT * FROM ledger.record WHERE tenant = %s AND (began_at, request_id) > (%s, %s)"
            " ORDER BY began_at, request_id LIMIT %s"
        )
        while page := await self._all.database.read(query, [tenant, *after, _PAGE]):
            for record in page:
                yield json.dumps(record, default=_text, ensure_ascii=False)
            after = (page[-1]["began_at"], page[-1]["request_id"])
