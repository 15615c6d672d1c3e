"""The nightly comparison of everything that counts money or knows a tenant; each difference is named."""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from redis.asyncio import Redis

from llmaas_gateway.accounts.account import TENANT, State
from llmaas_gateway.accounts.administration import Audit
from llmaas_gateway.accounts.database import (
    Connection,
    Database,
    DatabaseBusyError,
    Row,
    long_statements,
    one_moment,
    rows,
)
from llmaas_gateway.accounts.directory import Directory, account_of
from llmaas_gateway.accounts.litellm import LiteLLM
from llmaas_gateway.accounts.personal_data import sweep_erased
from llmaas_gateway.audit.records import Act
from llmaas_gateway.invoices import month_sums
from llmaas_gateway.invoices.counters import Counters
from llmaas_gateway.invoices.finding import Finding
from llmaas_gateway.invoices.months import Month
from llmaas_gateway.invoices.pending import ledgers_redis, pending
from llmaas_gateway.money import NANO_EUR_PER_EUR, format_euros
from llmaas_gateway.transactions import may_idle

# LiteLLM writes its spend some time after the call, and counts in floating point.
_LAG: Final = timedelta(minutes=5)
_FLOAT_NANO_EUR: Final = 1_000
_FLOAT_SHARE: Final = 1e-9

_TEAMS: Final = "SELECT team, tenant, state FROM ledger.team JOIN ledger.tenant USING (tenant) ORDER BY team"
_INVOICED: Final = """
SELECT DISTINCT month, document ->> 'time_zone' AS zone FROM ledger.invoice ORDER BY month, zone
"""
_INVOICES: Final = """
SELECT i.tenant, i.month, i.total_nano_eur, coalesce(r.nano_eur, 0)::text AS nano_eur
FROM ledger.invoice i LEFT JOIN (
    SELECT tenant, sum(nano_eur) AS nano_eur FROM ledger.record
    WHERE began_at >= %(start)s AND began_at < %(end)s GROUP BY tenant
) r USING (tenant)
WHERE i.month = %(month)s AND i.document ->> 'time_zone' = %(zone)s ORDER BY i.tenant
"""
# Of the months that have invoices these are compared every night, one of those before them in turn.
_NEWEST_MONTHS: Final = 2
_TURN: Final = "SELECT pg_try_advisory_xact_lock(hashtext('ledger.reconciliation')) AS got"


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


async def takes_turn(connection: Connection) -> bool:
    """Whether nobody reconciles, here or at another replica; nobody else does until the end of the transaction."""
    # What is compared is read by other connections, for hours.
    await may_idle(connection)
    return bool((await rows(connection, _TURN))[0]["got"])


@dataclass(frozen=True)
class Reconciler:
    """Compares; mends only copies: of accounts in Redis, and of what LiteLLM keeps of erased tenants."""

    counters: Counters
    database: Database
    directory: Directory
    redis: Redis
    stream: str
    litellm: LiteLLM
    audit: Audit
    now: Callable[[], datetime]

    async def run(self, actor: str = "system:reconciliation") -> Reconciliation:
        """All checks, one after the other; what is swept then is an act of whoever asked for them.

        Raises:
            LedgerUnavailableError: Redis is away or is being rebuilt; run it later.
            DatabaseUnavailableError: PostgreSQL is, or too many records wait for it.
            LiteLLMError: LiteLLM is.
        """
        now = self.now()
        await month_sums.sum_up(self.database, now)
        checks: dict[str, Callable[[], Awaitable[tuple[int, list[Finding]]]]] = {
            "redis": lambda: self.counters.against_redis(now),
            "records": lambda: self.counters.against_records(now),
            "months": lambda: self._months(now),
            "invoices": lambda: self._invoices(now),
            "litellm": lambda: self._litellm(now),
            "directory": self._directory,
        }
        compared, findings = {}, []
        for name, check in checks.items():
            compared[name], found = await check()
            findings += found
        async with self.database.change() as connection:
            swept = await sweep_erased(connection)
            if swept:
                act = Act(actor, "tenant.sweep", "what LiteLLM kept of erased tenants", now, details={"rows": swept})
                await self.audit.append([act], connection)
        return Reconciliation(now, compared, tuple(findings), swept)

    async def run_alone(self, actor: str) -> Reconciliation:
        """All checks, unless they run already, here or at another replica.

        Raises:
            DatabaseBusyError: they do.
            LedgerUnavailableError, DatabaseUnavailableError, LiteLLMError: as for ``run``.
        """
        async with self.database.change() as connection:
            if not await takes_turn(connection):
                raise DatabaseBusyError("a reconciliation runs already; ask again when it has ended")
            return await self.run(actor)

    async def _months(self, now: datetime) -> tuple[int, list[Finding]]:
        """A month that was summed up against its records, in turn."""
        month = await month_sums.in_turn(self.database, now)
        return (0, []) if month is None else (1, await month_sums.check(self.database, month))

    async def _invoices(self, now: datetime) -> tuple[int, list[Finding]]:
        """Issued invoices against the records of their months: of the newest months, and of one before them in turn."""
        invoiced = await self.database.read(_INVOICED)
        months = sorted({row["month"] for row in invoiced})
        chosen, before = months[-_NEWEST_MONTHS:], months[:-_NEWEST_MONTHS]
        if before:
            chosen.append(before[now.toordinal() % len(before)])
        issued: list[Row] = []
        for month, zone in ((row["month"], row["zone"]) for row in invoiced if row["month"] in chosen):
            span = Month.parse(month)
            bounds = {"start": span.start(ZoneInfo(zone)), "end": span.end(ZoneInfo(zone))}
            async with self.database.change() as connection:
                await long_statements(connection)
                issued += await rows(connection, _INVOICES, {"month": month, "zone": zone, **bounds})
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
        async with self.database.change() as connection:
            await one_moment(connection)
            ours = {row["team"]: row for row in await rows(connection, _TEAMS)}
            sums: dict[str, list[int]] = {team: [0, 0] for team in ours}
            for row in await month_sums.charged(connection, now - _LAG):
                if row["team"] in sums:
                    sums[row["team"]][0] += row["nano_eur"]
                    sums[row["team"]][1] += row["recent"]
        findings = []
        for team, row in ours.items():
            if row["state"] == State.ERASED:
                if team in theirs:
                    findings.append(Finding("litellm", team, "the tenant is erased, its team is still in LiteLLM"))
            elif team not in theirs:
                findings.append(Finding("litellm", team, f"tenant {row['tenant']} has no such team in LiteLLM"))
            else:
                counted = _Counted(sums[team][0], sums[team][1], waiting[team])
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
            with ledgers_redis():
                copy: Any = await self.redis.hget(self.directory.key(account.tenant), "revision")
                if copy is not None and int(copy) < account.revision:
                    text = f"the copy in Redis is of revision {int(copy)}, the tenant of {account.revision}; mended"
                    findings.append(Finding("directory", account.tenant, text))
                    await self.directory.publish(account)
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
    return [Finding("spend", team, f"{text}, of which {format_euros(ours.recent)} in the last five minutes")]
