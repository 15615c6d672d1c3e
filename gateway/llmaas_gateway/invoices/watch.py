"""When the reconciliation last came to its end, and how much it found, for Prometheus."""

import asyncio
import logging
from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from typing import Final

import psycopg
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from llmaas_gateway.accounts.database import Database, DatabaseUnavailableError
from llmaas_gateway.invoices.finding import CHECKS

_LOOK_SECONDS: Final = 60.0
_LAST: Final = """
SELECT at, ARRAY(SELECT finding ->> 'check' FROM jsonb_array_elements(findings) AS finding) AS checks
FROM ledger.reconciliation ORDER BY night DESC LIMIT 1
"""

_log = logging.getLogger(__name__)


class ReconciliationWatch(Collector):
    """The last reconciliation that was complete, whichever replica made it, as this one last saw it."""

    def __init__(self, database: Database) -> None:
        """Takes where the results are; nothing is asked yet."""
        self._database = database
        self._seen: tuple[datetime, Counter[str]] | None = None

    def collect(self) -> Iterable[Metric]:
        """As Prometheus reads it; nothing before the first one."""
        meaning = "When the last complete reconciliation began."
        at = GaugeMetricFamily("llmaas_gateway_reconciliation_timestamp_seconds", meaning)
        meaning = "Differences that the last complete reconciliation found."
        findings = GaugeMetricFamily("llmaas_gateway_reconciliation_findings", meaning, labels=("check",))
        if self._seen is not None:
            at.add_metric((), self._seen[0].timestamp())
            for check in CHECKS:
                findings.add_metric((check,), self._seen[1][check])
        yield at
        yield findings

    async def look(self) -> None:
        """Ask once; while PostgreSQL is away what was seen stays, and grows old."""
        try:
            for row in await self._database.read(_LAST):
                self._seen = (row["at"], Counter(row["checks"]))
        except (DatabaseUnavailableError, psycopg.Error) as error:
            _log.warning("the last reconciliation cannot be read: %s", error)

    async def run(self) -> None:
        """Look every minute until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(_LOOK_SECONDS)
