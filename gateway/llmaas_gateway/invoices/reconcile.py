"""The nightly comparison of everything that counts money or knows a tenant; each difference is named."""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from llmaas_gateway.accounts.account import TENANT, State
from llmaas_gateway.accounts.database import Database
from llmaas_gateway.accounts.directory import Directory, account_of
from llmaas_gateway.accounts.litellm import LiteLLM
from llmaas_gateway.accounts.personal_data import sweep_erased
from llmaas_gateway.invoices.counters import Counters, Finding
from llmaas_gateway.invoices.pending import pending
from llmaas_gateway.ledger.ledger import LedgerUnavailableError
from llmaas_gateway.money import NANO_EUR_PER_EUR, format_euros

# LiteLLM writes its spend some time after the call, and counts in floating point.
_LAG: Final = timedelta(minutes=5)
_FLOAT_NANO_EUR: Final = 1_000
_FLOAT_SHARE: Final = 1e-9

_TEAMS: Final = """
SELECT t.team, t.tenant, state, coalesce(r.recent, 0)::text AS recent, (coalesce(r.nano_eur, 0) + coalesce((
    SELECT sum(nano_eur) FROM ledger.carried c WHERE c.team = t.team
), 0))::text AS nano_eur
FROM ledger.team t JOIN ledger.tenant USING (tenant) LEFT JOIN (
    SELECT team, sum(nano_eur) AS nano_eur, sum(nano_eur) FILTER (WHERE settled_at > %s) AS recent
    FROM ledger.record GROUP BY team
) r USING (team) ORDER BY t.team
"""
_INVOICES: Final = """
SELECT i.tenant, i.month, i.total_nano_eur, coalesce((
    SELECT sum(nano_eur) FROM ledger.record r WHERE r.tenant = i.tenant
      AND began_at >= (i.month || '-01')::timestamp AT TIME ZONE (i.document ->> 'time_zone')
      AND began_at < ((i.month || '-01')::timestamp + interval '1 month') AT TIME ZONE (i.document ->> 'time_zone')
), 0)::text AS nano_eur
FROM ledger.invoice i ORDER BY i.tenant, i.month
"""


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """What was compared, and what differs.

    Attributes:
        compared: how many things each check compared.
        findings: the differences; empty is the good case.
        swept: rows in which LiteLLM still had personal data of erased tenants, removed now.
    """

    at: datetime
    compared: Mapping[str, int]
    findings: tuple[Finding, ...]
    swept: int = 0


@dataclass(frozen=True)
class Reconciler:
    """Compares; mends only copies: of accounts in Redis, and of what LiteLLM keeps of erased tenants."""

    counters: Counters
    database: Database
    directory: Directory
    redis: Redis
    stream: str
    litellm: LiteLLM
    now: Callable[[], datetime]

    async def run(self) -> Reconciliation:
        """All checks, one after the other.

        Raises:
            LedgerUnavailableError: Redis is away or is being rebuilt; run it later.
            DatabaseUnavailableError: PostgreSQL is.
            LiteLLMError: LiteLLM is.
        """
        now = self.now()
        checks: dict[str, Callable[[], Awaitable[tuple[int, list[Finding]]]]] = {
            "redis": lambda: self.counters.against_redis(now),
            "records": lambda: self.counters.against_records(now),
            "invoices": self._invoices,
            "litellm": lambda: self._litellm(now),
            "directory": self._directory,
        }
        compared, findings = {}, []
        for name, check in checks.items():
            compared[name], found = await check()
            findings += found
        async with self.database.change() as connection:
            swept = await sweep_erased(connection)
        return Reconciliation(now, compared, tuple(findings), swept)

    async def _invoices(self) -> tuple[int, list[Finding]]:
        """Issued invoices against the records of their months."""
        issued = await self.database.read(_INVOICES)
        findings = [
            Finding(
                "invoices",
                f"{row['tenant']} {row['month']}",
                f"issued over {format_euros(row['total_nano_eur'])} EUR, its records come to"
                f" {format_euros(int(row['nano_eur']))} EUR; replay it to see the calls",
            )
            for row in issued
            if row["total_nano_eur"] != int(row["nano_eur"])
        ]
        return len(issued), findings

    async def _litellm(self, now: datetime) -> tuple[int, list[Finding]]:
        """LiteLLM's teams and their spend against ours."""
        theirs = {str(team["team_id"]): team for team in await self.litellm.teams()}
        waiting: dict[str, int] = defaultdict(int)
        for settlement in await pending(self.redis, self.stream):
            waiting[settlement.team] += settlement.nano_eur
        ours = {row["team"]: row for row in await self.database.read(_TEAMS, [now - _LAG])}
        findings = []
        for team, row in ours.items():
            if row["state"] == State.ERASED:
                if team in theirs:
                    findings.append(Finding("litellm", team, "the tenant is erased, its team is still in LiteLLM"))
            elif team not in theirs:
                findings.append(Finding("litellm", team, f"tenant {row['tenant']} has no such team in LiteLLM"))
            else:
                counted = _Counted(int(row["nano_eur"]), int(row["recent"]), waiting[team])
                findings += _spend(team, float(theirs[team].get("spend") or 0), counted)
        for team in sorted(set(theirs) - set(ours)):
            tenant = (theirs[team].get("metadata") or {}).get(TENANT)
            if tenant is not None:
                text = f"LiteLLM has this team for tenant {tenant}, which does not know it; remove it from LiteLLM"
                findings.append(Finding("litellm", team, text))
        return len(ours), findings

    async def _directory(self) -> tuple[int, list[Finding]]:
        """The copies in Redis against PostgreSQL; a wrong one is written anew."""
        findings = []
        accounts = [account_of(row) for row in await self.database.read("SELECT * FROM ledger.tenant_account")]
        for account in accounts:
            try:
                copy: Any = await self.redis.hget(self.directory.key(account.tenant), "revision")
                if copy is not None and int(copy) < account.revision:
                    text = f"the copy in Redis is of revision {int(copy)}, the tenant of {account.revision}; mended"
                    findings.append(Finding("directory", account.tenant, text))
                    await self.directory.publish(account)
            except RedisError as error:
                raise LedgerUnavailableError(f"the ledger's Redis: {type(error).__name__}: {error}") from error
        return len(accounts), findings


@dataclass(frozen=True, slots=True)
class _Counted:
    """What our records say of a team: in all, of that in the last minutes, and on its way to them."""

    nano_eur: int
    recent: int
    waiting: int


def _spend(team: str, spend: float, ours: _Counted) -> list[Finding]:
    difference = round(spend * NANO_EUR_PER_EUR) - ours.nano_eur
    tolerated = _FLOAT_NANO_EUR + abs(spend) * NANO_EUR_PER_EUR * _FLOAT_SHARE
    # What was settled just now may be missing there yet, or here.
    if -ours.recent - tolerated <= difference <= ours.waiting + tolerated:
        return []
    text = f"LiteLLM counts {spend:.9f} EUR, the records come to {format_euros(ours.nano_eur)} EUR"
    return [Finding("litellm", team, f"{text}, of which {format_euros(ours.recent)} in the last five minutes")]
