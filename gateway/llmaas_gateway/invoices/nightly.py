"""The reconciliation of every night: one replica does it, its result is kept and each difference is logged."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import asdict
from datetime import date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import psycopg
from psycopg.types.json import Jsonb

from llmaas_gateway.accounts.database import Database, DatabaseUnavailableError
from llmaas_gateway.accounts.litellm import LiteLLMError
from llmaas_gateway.invoices.reconcile import Reconciler, takes_turn
from llmaas_gateway.ledger.ledger import LedgerUnavailableError

# After midnight's windows have turned over, before the day's load.
_AT: Final = time(3, 0)
_AGAIN_AFTER: Final = timedelta(minutes=10)
_LOOK_EVERY_SECONDS: Final = 60.0

_log = logging.getLogger(__name__)


class Nightly:
    """Runs beside the proxy at every replica; the database decides whose turn it is."""

    def __init__(self, reconciler: Reconciler, database: Database, zone: ZoneInfo, now: Callable[[], datetime]) -> None:
        """Takes the comparison, and the time zone whose nights count."""
        self._reconciler = reconciler
        self._database = database
        self._zone = zone
        self._now = now
        self._not_before: datetime | None = None

    async def run(self) -> None:
        """Look every minute whether it is time, until cancelled."""
        while True:
            try:
                await self.look()
            except (DatabaseUnavailableError, LedgerUnavailableError, LiteLLMError, psycopg.Error) as error:
                self._not_before = self._now() + _AGAIN_AFTER
                _log.warning("reconciliation waits: %s", error)
            await asyncio.sleep(_LOOK_EVERY_SECONDS)

    async def look(self) -> bool:
        """Reconcile if this night's is not done yet; whether it was done now.

        Raises:
            DatabaseUnavailableError, LedgerUnavailableError, LiteLLMError: something to compare with is away.
        """
        now = self._now()
        local = now.astimezone(self._zone)
        if local.time() < _AT or (self._not_before is not None and now < self._not_before):
            return False
        if await self._done(local.date()):
            return False
        async with self._database.change() as connection:
            # Another replica that looks meanwhile goes away again.
            if not await takes_turn(connection) or await self._done(local.date()):
                return False
            result = await self._reconciler.run()
            findings = [asdict(finding) for finding in result.findings]
            await connection.execute(
                "INSERT INTO ledger.reconciliation (night, at, compared, findings) VALUES (%s, %s, %s, %s)",
                [local.date(), result.at, Jsonb(dict(result.compared)), Jsonb(findings)],
            )
        for finding in result.findings:
            _log.error("reconciliation: %s: %s: %s", finding.check, finding.subject, finding.message)
        _log.info("reconciliation: compared %s, %d differences", dict(result.compared), len(result.findings))
        return True

    async def _done(self, night: date) -> bool:
        return bool(await self._database.read("SELECT 1 FROM ledger.reconciliation WHERE night = %s", [night]))
