"""The gateway's tables at a start of the proxy, and later where they could not be made then."""

import asyncio
import logging

import psycopg

from llmaas_gateway.accounts import directory
from llmaas_gateway.accounts.database import Database, DatabaseUnavailableError
from llmaas_gateway.ledger import records
from llmaas_gateway.schemas import LOCKED_RETRY_SECONDS

_log = logging.getLogger(__name__)


class Tables:
    """Those of the records and of the accounts; the audit makes its own."""

    def __init__(self, database: Database, *, retry_seconds: float = LOCKED_RETRY_SECONDS) -> None:
        """Takes the database, and how long a failure waits before it is tried again."""
        self._database = database
        self._retry_seconds = retry_seconds
        self._made = False

    async def make(self) -> None:
        """Make what is missing.

        Raises:
            DatabaseUnavailableError: PostgreSQL is away, or somebody uses what would be changed.
            psycopg.Error: something else is wrong with what is there.
        """
        async with self._database.change() as connection:
            await records.migrate(connection)
        await directory.migrate(self._database)
        self._made = True

    async def run(self) -> None:
        """Again and again until they are made: the proxy has started without them."""
        while not self._made:
            await asyncio.sleep(self._retry_seconds)
            try:
                await self.make()
            except (DatabaseUnavailableError, psycopg.Error) as error:
                _log.warning("tables are not up to date: %s; trying again in %s s", error, self._retry_seconds)
