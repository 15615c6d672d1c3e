"""Changes of tenants in PostgreSQL: each a few statements of a transaction that the caller holds.

A tenant is known by an identifier without meaning to counters, records, audit and LiteLLM alike; its name stands in one
row only. So erasing a tenant is deleting its name: the accounts stay as they are, under what was a pseudonym all along.
"""

import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import errors

from llmaas_gateway.accounts.account import Account, AccountError, State
from llmaas_gateway.accounts.database import Connection, Row, rows
from llmaas_gateway.accounts.directory import UnknownTenantError, account_of
from llmaas_gateway.money import MAX_NANO_EUR, NANO_EUR_PER_EUR, format_euros

_HISTORY = """
INSERT INTO ledger.tenant_history (tenant, revision, act, tier, state, at, budget_nano_eur)
SELECT tenant, revision, %s, tier, state, changed_at, budget_nano_eur FROM ledger.tenant WHERE tenant = %s
"""


def new_identifier() -> str:
    """An identifier that says nothing about the tenant."""
    return f"tn-{secrets.token_hex(6)}"


async def _one(connection: Connection, query: str, *parameters: Any) -> Row | None:
    found = await rows(connection, query, parameters)
    return found[0] if found else None


async def account(connection: Connection, tenant: str) -> Account:
    """The tenant as it is in the transaction.

    Raises:
        UnknownTenantError: there is none.
    """
    row = await _one(connection, "SELECT * FROM ledger.tenant_account WHERE tenant = %s", tenant)
    if row is None:
        raise UnknownTenantError(f"there is no tenant {tenant!r}")
    return account_of(row)


async def create(  # noqa: PLR0913 - each is a fact of the tenant
    connection: Connection,
    tenant: str,
    *,
    name: str,
    tier: str,
    top_up_nano_eur: int,
    at: datetime,
    budget_nano_eur: int | None = None,
) -> Account:
    """A new tenant, with its first top-up unless that is zero, and a monthly budget of its own if it has one.

    Raises:
        AccountError: the name is taken or cannot be one, or the budget is negative.
    """
    _check_budget(budget_nano_eur)
    try:
        await connection.execute(
            "INSERT INTO ledger.tenant (tenant, name, tier, state, revision, created_at, changed_at, budget_nano_eur)"
            " VALUES (%s, %s, %s, 'active', 1, %s, %s, %s)",
            [tenant, name, tier, at, at, budget_nano_eur],
        )
    except errors.UniqueViolation:
        raise AccountError(f"tenant {name!r} exists already; names are unique") from None
    except errors.CheckViolation:
        raise AccountError(
            f"{name!r} cannot be a tenant's name; take letters, digits, spaces, dots, dashes, at most 63 of them"
        ) from None
    await connection.execute(_HISTORY, ["created", tenant])
    if top_up_nano_eur:
        await _book(connection, tenant, _Entry("joining", top_up_nano_eur), at)
    return await account(connection, tenant)


async def _locked(connection: Connection, tenant: str) -> State:
    """Whoever changes a tenant waits for whoever does already."""
    row = await _one(connection, "SELECT state FROM ledger.tenant WHERE tenant = %s FOR UPDATE", tenant)
    if row is None:
        raise UnknownTenantError(f"there is no tenant {tenant!r}")
    state = State(row["state"])
    if state is State.ERASED:
        raise AccountError(f"tenant {tenant!r} is erased; nothing of it changes any more")
    return state


async def _changed(connection: Connection, tenant: str, act: str, at: datetime) -> Account:
    await connection.execute(
        "UPDATE ledger.tenant SET revision = revision + 1, changed_at = %s WHERE tenant = %s", [at, tenant]
    )
    await connection.execute(_HISTORY, [act, tenant])
    return await account(connection, tenant)


async def set_tier(connection: Connection, tenant: str, tier: str, at: datetime) -> Account:
    """Another tier from now on; what was used in the windows that run counts on."""
    await _locked(connection, tenant)
    await connection.execute("UPDATE ledger.tenant SET tier = %s WHERE tenant = %s", [tier, tenant])
    return await _changed(connection, tenant, "tier", at)


async def set_budget(connection: Connection, tenant: str, nano_eur: int | None, at: datetime) -> Account:
    """Another budget for each calendar month, this one included; None for what the tier allows.

    Raises:
        AccountError: a negative amount, or more than a counter holds.
    """
    _check_budget(nano_eur)
    await _locked(connection, tenant)
    await connection.execute("UPDATE ledger.tenant SET budget_nano_eur = %s WHERE tenant = %s", [nano_eur, tenant])
    return await _changed(connection, tenant, "budget", at)


def _check_budget(nano_eur: int | None) -> None:
    if nano_eur is not None and not 0 <= nano_eur <= MAX_NANO_EUR:
        most = MAX_NANO_EUR // NANO_EUR_PER_EUR
        raise AccountError(f"{format_euros(nano_eur)} EUR is no budget; it must be from zero to {most} EUR")


async def set_state(connection: Connection, tenant: str, state: State, at: datetime) -> Account:
    """Suspend or resume a tenant; one that is in that state already is left alone."""
    if await _locked(connection, tenant) is state:
        return await account(connection, tenant)
    await connection.execute("UPDATE ledger.tenant SET state = %s WHERE tenant = %s", [state.value, tenant])
    return await _changed(connection, tenant, state.value, at)


async def erase(connection: Connection, tenant: str, at: datetime) -> Account:
    """Remove the name and shut the tenant, for good."""
    await _locked(connection, tenant)
    await connection.execute("UPDATE ledger.tenant SET name = NULL, state = 'erased' WHERE tenant = %s", [tenant])
    return await _changed(connection, tenant, State.ERASED.value, at)


@dataclass(frozen=True)
class _Entry:
    """A payment, or what takes one back."""

    reference: str
    nano_eur: int
    takes_back: str | None = None


async def _book(connection: Connection, tenant: str, entry: _Entry, at: datetime) -> None:
    reference = entry.reference
    row = {"tenant": tenant, "reference": reference, "nano_eur": entry.nano_eur, "at": at}
    if entry.takes_back is not None:
        # named only where it is needed: the column comes with this version, and its tables may still have to be changed
        row["takes_back"] = entry.takes_back
    columns, values = ", ".join(row), ", ".join(["%s"] * len(row))
    try:
        await connection.execute(f"INSERT INTO ledger.top_up ({columns}) VALUES ({values})", [*row.values()])  # noqa: S608
    except errors.UniqueViolation:
        raise AccountError(f"payment {reference!r} of tenant {tenant!r} is booked already; nothing was added") from None
    except errors.CheckViolation:
        raise AccountError(
            f"reference {reference!r}: take letters, digits and . _ / -, at most 64, and no personal data"
        ) from None


async def booked(connection: Connection, tenant: str, nano_eur: int, reference: str) -> datetime | None:
    """When a payment was booked; None if it was not.

    Args:
        connection: of a transaction in which the tenant is locked.
        tenant: its identifier.
        nano_eur: the amount.
        reference: names the payment.

    Raises:
        AccountError: the reference is booked with another amount, or was taken back since.
    """
    row = await _one(
        connection, "SELECT nano_eur, at FROM ledger.top_up WHERE tenant = %s AND reference = %s", tenant, reference
    )
    if row is None:
        return None
    if (gone := await taken_back(connection, tenant, reference)) is not None:
        raise AccountError(
            f"payment {reference!r} of tenant {tenant!r} was taken back on {gone:%Y-%m-%d}; nothing was added: book"
            " another one under a reference of its own"
        )
    if row["nano_eur"] != nano_eur:
        raise AccountError(
            f"payment {reference!r} of tenant {tenant!r} is booked already, over {format_euros(row['nano_eur'])} EUR on"
            f" {row['at']:%Y-%m-%d}; nothing was added"
        )
    at: datetime = row["at"]
    return at


async def top_up(connection: Connection, tenant: str, nano_eur: int, reference: str, at: datetime) -> Account:
    """Add credit; a payment reference is booked once, however often it is sent.

    Raises:
        AccountError: no positive amount, a reference that is booked already, or more credit than a counter holds.
    """
    if nano_eur <= 0:
        raise AccountError(f"{format_euros(nano_eur)} EUR is no amount to top up with; it must be above zero")
    await _locked(connection, tenant)
    before = (await account(connection, tenant)).credit_nano_eur
    if before + nano_eur > MAX_NANO_EUR:
        most = MAX_NANO_EUR // NANO_EUR_PER_EUR
        raise AccountError(f"tenant {tenant!r} has {format_euros(before)} EUR; no more than {most} EUR can be held")
    await _book(connection, tenant, _Entry(reference, nano_eur), at)
    return await _changed(connection, tenant, "top-up", at)


async def taken_back(connection: Connection, tenant: str, payment: str) -> datetime | None:
    """When a payment was taken back; None if it was not."""
    # as JSON, in which a column that is not there yet (see _book) is null
    query = "SELECT at FROM ledger.top_up u WHERE tenant = %s AND to_jsonb(u) ->> 'takes_back' = %s"
    row = await _one(connection, query, tenant, payment)
    return None if row is None else row["at"]


async def take_back(connection: Connection, tenant: str, payment: str, reference: str, at: datetime) -> Account:
    """Take a payment back, the whole of it and once: it was booked by mistake, or a bank took the money back.

    What was spent of it stays spent: then calls are refused until as much was paid again.

    Raises:
        AccountError: there is no such payment, or the reference of its taking back is one already.
    """
    await _locked(connection, tenant)
    await _book(connection, tenant, _Entry(reference, -await paid(connection, tenant, payment), payment), at)
    return await _changed(connection, tenant, "take-back", at)


async def paid(connection: Connection, tenant: str, payment: str) -> int:
    """The nano-euros of a payment.

    Raises:
        AccountError: there is none of that reference.
    """
    query = "SELECT nano_eur FROM ledger.top_up WHERE tenant = %s AND reference = %s AND nano_eur > 0"
    row = await _one(connection, query, tenant, payment)
    if row is None:
        raise AccountError(f"tenant {tenant!r} has no payment {payment!r}; see: llmaas tenant payments")
    return int(row["nano_eur"])


async def payments(connection: Connection, tenant: str) -> list[Row]:
    """What was paid and what was taken back, the oldest first."""
    query = (
        "SELECT reference, nano_eur, at, to_jsonb(u) ->> 'takes_back' AS takes_back FROM ledger.top_up u"
        " WHERE tenant = %s ORDER BY at, reference"
    )
    return await rows(connection, query, [tenant])


async def find(connection: Connection, tenant: str, *, lock: bool = False) -> Row:
    """The row of a tenant by its identifier or its name.

    Args:
        connection: of a transaction, if the tenant is to be locked.
        tenant: identifier or name.
        lock: hold it until the transaction ends, so that nobody changes or erases it meanwhile.

    Raises:
        UnknownTenantError: there is none.
    """
    query = "SELECT * FROM ledger.tenant WHERE tenant = %s OR name = %s ORDER BY tenant = %s DESC LIMIT 1"
    row = await _one(connection, f"{query} FOR UPDATE" if lock else query, tenant, tenant, tenant)
    if row is None:
        raise UnknownTenantError(f"there is no tenant {tenant!r}; see: llmaas tenant list")
    return row


async def add_team(connection: Connection, tenant: str, team: str, at: datetime) -> None:
    """Note a team of LiteLLM as the tenant's."""
    await connection.execute("INSERT INTO ledger.team (team, tenant, made_at) VALUES (%s, %s, %s)", [team, tenant, at])


async def teams(connection: Connection, tenant: str) -> list[str]:
    """The tenant's teams, the first of them first."""
    found = await rows(
        connection, "SELECT team FROM ledger.team WHERE tenant = %s ORDER BY team <> tenant, made_at, team", [tenant]
    )
    return [row["team"] for row in found]


async def tenant_of_team(connection: Connection, team: str) -> str:
    """Whose team it is.

    Raises:
        UnknownTenantError: nobody's.
    """
    row = await _one(connection, "SELECT tenant FROM ledger.team WHERE team = %s", team)
    if row is None:
        raise UnknownTenantError(f"team {team!r} belongs to no tenant")
    return str(row["tenant"])
