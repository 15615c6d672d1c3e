"""When the reconciliation last came to its end, and how much it found, for Prometheus."""

import asyncio
import logging
from collections.abc import Iterable
from datetime import datetime
from typing import Final

import psycopg
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from llmaas_gateway.accounts.database import Database, DatabaseUnavailableError

_LOOK_SECONDS: Final = 60.0
_LAST: Final = """
SELECT at, jsonb_array_length(findings) AS findings FROM ledger.reconciliation ORDER BY night DESC LIMIT 1
"""

_log = logging.getLogger(__name__)


class ReconciliationWatch(Collector):
    """The last reconciliation that was complete, whichever replica made it, as this one last saw it."""

    def __init__(self, database: Database) -> None:
        """Takes where the results are; nothing is asked yet."""
        self._database = database
        self._seen: tuple[datetime, int] | None = None

    def collect(self) -> Iterable[Metric]:
        """As Prometheus reads it; nothing before the first one."""
        meaning = "When the last complete reconciliation began."
        at = GaugeMetricFamily("llmaas_gateway_reconciliation_timestamp_seconds", meaning)
        meaning = "Differences that the last complete reconciliation found."
        findings = GaugeMetricFamily("llmaas_gateway_reconciliation_findings", meaning)
        if self._seen is not None:
            at.add_metric((), self._seen[0].timestamp())
            findings.add_metric((), self._seen[1])
        yield at
        yield findings

    async def look(self) -> None:
        """Ask once; while PostgreSQL is away what was seen stays, and grows old."""
        try:
            for row in await self._database.read(_LAST):
                self._seen = (row["at"], row["findings"])
        except (DatabaseUnavailableError, psycopg.Error) as error:
            _log.warning("the last reconciliation cannot be read: %s", error)

    async def run(self) -> None:
        """Look every minute until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(_LOOK_SECONDS)
