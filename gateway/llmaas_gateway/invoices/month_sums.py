"""What calls were charged since ever, without reading all records each night: a month long over is summed up once.

Each night one of these months is read again, in turn, and its sums are compared: a record that was changed behind the
program's back shows up then.
"""

import logging
from datetime import datetime, timedelta
from typing import Any, Final

import psycopg
from psycopg import sql

from llmaas_gateway.accounts.database import Connection, Database, Row, one_moment, rows
from llmaas_gateway.invoices.finding import Finding
from llmaas_gateway.money import format_euros

# Records come seconds after their calls. One that comes later than this is no mistake: its month is summed up anew.
_OVER: Final = timedelta(days=7)
_LIMIT: Final = "SET LOCAL statement_timeout = '30min'"
_TO_SUM: Final = """
SELECT p.name, p.first FROM ledger.partition p LEFT JOIN ledger.summed_month s USING (first)
WHERE p.after < %s AND s.at IS NULL ORDER BY p.first
"""
# Everybody who has put a record in has finished after this, and whoever does so later finds the month on the list.
_BEGIN: Final = """
INSERT INTO ledger.summed_month (first) VALUES (%s) ON CONFLICT (first) DO UPDATE SET at = NULL
"""
_SUM: Final = sql.SQL("""
INSERT INTO ledger.month_sum (first, tenant, team, billing, nano_eur)
SELECT %s, tenant, team, billing, sum(nano_eur) FROM {} GROUP BY tenant, team, billing
""")
_END: Final = "UPDATE ledger.summed_month SET at = %s WHERE first = %s"
_SUMMED: Final = """
SELECT p.name, p.first FROM ledger.partition p JOIN ledger.summed_month s USING (first)
WHERE s.at IS NOT NULL ORDER BY p.first
"""
_AGAIN: Final = sql.SQL("""
SELECT tenant, team, billing, coalesce(m.nano_eur, 0)::text AS kept, coalesce(r.nano_eur, 0)::text AS found
FROM (SELECT * FROM ledger.month_sum WHERE first = %s) AS m FULL JOIN (
    SELECT tenant, team, billing, sum(nano_eur) AS nano_eur FROM {} GROUP BY tenant, team, billing
) AS r USING (tenant, team, billing)
WHERE coalesce(m.nano_eur, 0) <> coalesce(r.nano_eur, 0) ORDER BY tenant, team, billing
""")
# Records are read from the oldest month on that has no sum.
_SINCE: Final = """
SELECT coalesce(min(p.first), 'infinity')::text AS since FROM ledger.partition p
LEFT JOIN ledger.summed_month s USING (first) WHERE s.at IS NULL
"""
_CHARGED: Final = """
SELECT tenant, team, billing, sum(nano_eur)::text AS nano_eur, sum(recent)::text AS recent FROM (
    SELECT tenant, team, billing, nano_eur, 0 AS recent FROM ledger.carried
    UNION ALL
    SELECT tenant, team, billing, nano_eur, 0 FROM ledger.month_sum WHERE first < %(since)s::timestamptz
    UNION ALL
    SELECT tenant, team, billing, sum(nano_eur), coalesce(sum(nano_eur) FILTER (WHERE settled_at > %(recent)s), 0)
    FROM ledger.record WHERE began_at >= %(since)s::timestamptz GROUP BY tenant, team, billing
) AS charged GROUP BY tenant, team, billing
"""

_log = logging.getLogger(__name__)


async def sum_up(database: Database, now: datetime) -> int:
    """Sum up the months that are over and have no sums yet, the oldest first; how many.

    Raises:
        DatabaseUnavailableError: PostgreSQL is away, or one month takes longer than half an hour.
    """
    done = 0
    for month in await database.read(_TO_SUM, [now - _OVER]):
        table = sql.Identifier("ledger", month["name"])
        async with database.change() as connection:
            await connection.execute("SET LOCAL lock_timeout = '5s'")
            await connection.execute(sql.SQL("LOCK TABLE {} IN SHARE MODE").format(table))
            await connection.execute(_BEGIN, [month["first"]])
        try:
            async with database.change() as connection:
                await connection.execute(_LIMIT)
                await connection.execute("DELETE FROM ledger.month_sum WHERE first = %s", [month["first"]])
                await connection.execute(_SUM.format(table), [month["first"]])
                await connection.execute(_END, [now, month["first"]])
        except psycopg.errors.ForeignKeyViolation:
            _log.info("records: %s was added to while it was summed up; next night again", month["name"])
        else:
            done += 1
    return done


async def charged(connection: Connection, recent: datetime) -> list[Row]:
    """What each tenant and team was charged since ever by each way of billing, and what of that since a moment.

    Args:
        connection: in a transaction that sees one moment.
        recent: the moment.
    """
    await connection.execute(_LIMIT)
    since = (await rows(connection, _SINCE))[0]["since"]
    found = await rows(connection, _CHARGED, {"since": since, "recent": recent})
    return [{**row, "nano_eur": int(row["nano_eur"]), "recent": int(row["recent"])} for row in found]


async def in_turn(database: Database, now: datetime) -> dict[str, Any] | None:
    """The summed month whose turn it is this day; None where there is none yet."""
    summed = await database.read(_SUMMED)
    return summed[now.toordinal() % len(summed)] if summed else None


async def check(database: Database, month: Row) -> list[Finding]:
    """Where the records of a summed month no longer come to its sums."""
    async with database.change() as connection:
        await one_moment(connection)
        await connection.execute(_LIMIT)
        query = _AGAIN.format(sql.Identifier("ledger", month["name"])).as_string(connection)
        differing = await rows(connection, query, [month["first"]])
    return [
        Finding(
            "months",
            f"{row['tenant']} {month['first']:%Y-%m}",
            f"team {row['team']}, {row['billing']}: the records of the month (UTC) came to"
            f" {format_euros(int(row['kept']))} EUR when it was over, now to {format_euros(int(row['found']))} EUR",
        )
        for row in differing
    ]
