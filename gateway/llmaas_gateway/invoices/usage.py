"""Usage out of the records: sums by tenant, team, key, model, day or month, and the single calls of a tenant.

Sums are accounts, and can be had as long as these are kept. Single calls, with their time, key and status, are metadata
of requests: the records hold them for longer, but they are shown for the period of that metadata only.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from llmaas_gateway.accounts.account import AccountError
from llmaas_gateway.accounts.database import Database, Row, rows
from llmaas_gateway.invoices.kept import LAST_REMOVED, PeriodOverError, check_kept

# Expressions over ledger.record; %(zone)s is the time zone of the price book.
GROUPINGS: Final = {
    "tenant": "tenant",
    "team": "team",
    "key": "api_key",
    "model": "model",
    "day": "to_char(began_at AT TIME ZONE %(zone)s, 'YYYY-MM-DD')",
    "month": "to_char(began_at AT TIME ZONE %(zone)s, 'YYYY-MM')",
}
HISTORY_MOST: Final = 1_000

_CHOSEN: Final = """
    FROM ledger.record
    WHERE began_at >= %(start)s AND began_at < %(end)s
      AND (%(tenant)s::text IS NULL OR tenant = %(tenant)s)
      AND (%(model)s::text IS NULL OR model = %(model)s)
"""


@dataclass(frozen=True, slots=True)
class Period:
    """Calls that began from ``start`` on and before ``end``; ``zone`` names the days and months.

    Raises:
        AccountError: it is empty.
    """

    start: datetime
    end: datetime
    zone: str

    def __post_init__(self) -> None:
        if self.end <= self.start:
            raise AccountError(f"from {self.start.isoformat()} to {self.end.isoformat()} is no time: end after start")


def _parameters(period: Period, tenant: str | None, model: str | None) -> dict[str, Any]:
    return {"start": period.start, "end": period.end, "zone": period.zone, "tenant": tenant, "model": model}


def shown(period: Period, now: datetime, kept: timedelta) -> Period:
    """What of a period single calls are shown of: those that began no longer ago than their metadata is kept.

    Raises:
        PeriodOverError: all of it is longer ago.
    """
    oldest = now - kept
    if period.end <= oldest:
        raise PeriodOverError(
            f"single calls are shown for {kept.days} days, those from {oldest.isoformat()} on; of what was before there"
            " are sums, at /v1/usage"
        )
    return Period(max(period.start, oldest), period.end, period.zone)


async def usage(
    database: Database, period: Period, *, tenant: str | None = None, model: str | None = None, by: Sequence[str]
) -> list[Row]:
    """Sums of calls, units, output tokens and charges, a row a group, in the order of the groups.

    Args:
        database: with the records.
        period: when the calls began.
        tenant: identifier; None for all.
        model: None for all.
        by: names of ``GROUPINGS``, at least one.

    Raises:
        AccountError: an unknown grouping.
        PeriodOverError: the accounts of the period's beginning are deleted.
        DatabaseBusyError: too many sums are being made, or this one takes too long.
    """
    if not by or set(by) - set(GROUPINGS):
        raise AccountError(f"by: {', '.join(by) or 'nothing'}; group by one or more of {', '.join(GROUPINGS)}")
    columns = ", ".join(f'{GROUPINGS[name]} AS "{name}"' for name in by)
    places = ", ".join(str(number) for number in range(1, len(by) + 1))
    parameters = _parameters(period, tenant, model)
    async with database.summing(tenant) as connection:
        # Columns and places are made of names of ours, values are parameters.
        totals = await rows(
            connection,
            f"SELECT {columns}, count(*) AS calls, sum(nano_eur)::text AS nano_eur,"
            f" sum(unbilled_nano_eur)::text AS unbilled_nano_eur, sum(output_tokens)::text AS output_tokens"
            f" {_CHOSEN} GROUP BY {places} ORDER BY {places}",
            parameters,
        )
        units = await rows(
            connection,
            f"SELECT {columns}, unit, sum(count::bigint)::text AS count"
            f" {_CHOSEN.replace('ledger.record', 'ledger.record, jsonb_each_text(counts) AS u (unit, count)')}"
            f" GROUP BY {places}, unit ORDER BY unit",
            parameters,
        )
        # Looked up after the sums: what goes while they are made is told too.
        check_kept("usage", period.start, await rows(connection, LAST_REMOVED))
    counted: dict[tuple[Any, ...], dict[str, int]] = {}
    for row in units:
        counted.setdefault(tuple(row[name] for name in by), {})[row["unit"]] = int(row["count"])
    numbers = ("nano_eur", "unbilled_nano_eur", "output_tokens")
    return [
        {**row, **{n: int(row[n]) for n in numbers}, "units": counted.get(tuple(row[name] for name in by), {})}
        for row in totals
    ]


async def history(  # noqa: PLR0913 - each narrows the answer
    database: Database,
    period: Period,
    tenant: str,
    *,
    key: str | None = None,
    model: str | None = None,
    most: int = 100,
    before: tuple[datetime, str] | None = None,
) -> list[Row]:
    """Single calls, the newest first: time, model, units, charge, latency and status; there is no text to be had.

    Args:
        database: with the records.
        period: when the calls began; of ``shown``.
        tenant: identifier.
        key: only the calls of this key, by its hash.
        model: only this model's.
        most: calls at once, up to 1,000.
        before: beginning and request id of the last call of the page before.

    Raises:
        AccountError: more than can be had at once.
        DatabaseBusyError: too many sums are being made, or this takes as long as one.
    """
    if not 1 <= most <= HISTORY_MOST:
        raise AccountError(f"limit: {most} calls at once; take 1 to {HISTORY_MOST} and ask again for the rest")
    parameters = {**_parameters(period, tenant, model), "key": key, "most": most}
    parameters |= {"before": before[0] if before else None, "before_id": before[1] if before else None}
    # Where few calls are of this key or model, all others are passed over: that takes as long as a sum.
    async with database.summing(tenant) as connection:
        return await rows(
            connection,
            "SELECT request_id, began_at, model, endpoint, status, counts, nano_eur, output_tokens, latency_ms,"
            f" api_key, team {_CHOSEN}"
            " AND (%(key)s::text IS NULL OR api_key = %(key)s)"
            " AND (%(before)s::timestamptz IS NULL OR (began_at, request_id) < (%(before)s, %(before_id)s))"
            " ORDER BY began_at DESC, request_id DESC LIMIT %(most)s",
            parameters,
        )
