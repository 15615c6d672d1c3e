"""The gateway's parts, made from its settings, and what of them runs as long as the proxy does."""

import asyncio
import contextlib
import logging
import socket
import uuid
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Final
from zoneinfo import ZoneInfo

import psycopg
from redis.exceptions import RedisError

from llmaas_gateway.accounts import directory
from llmaas_gateway.accounts.database import Database, DatabaseUnavailableError
from llmaas_gateway.accounts.directory import Directory
from llmaas_gateway.ledger.ledger import Ledger, connect
from llmaas_gateway.ledger.rebuild import rebuild
from llmaas_gateway.ledger.records import RecordConsumer
from llmaas_gateway.prices import load_price_book
from llmaas_gateway.proxy.admission import Admission
from llmaas_gateway.proxy.away import Allowances
from llmaas_gateway.proxy.costs import Costs
from llmaas_gateway.proxy.counting import InputCounter, tokenizer
from llmaas_gateway.proxy.settings import GatewaySettings, Secrets
from llmaas_gateway.proxy.settlement import Settlement

_CONNECTIONS: Final = 50
# Reading a stream waits for records on purpose, and a rebuild writes many keys at once.
_PATIENT_SECONDS: Final = 10.0
_DRAIN_SECONDS: Final = 20.0

_log = logging.getLogger(__name__)


class Parts:
    """Everything of the gateway in one process."""

    def __init__(self, settings: GatewaySettings, secrets: Secrets) -> None:
        """Makes the parts; nothing is connected yet.

        Raises:
            PriceError: the price book is wrong.
        """
        book = load_price_book(settings.prices)
        zone = ZoneInfo(book.time_zone)
        self.settings = settings
        self.database_url = secrets.database_url
        self.redis = connect(secrets.redis_url, timeout_seconds=settings.ledger_seconds, connections=_CONNECTIONS)
        self._patient = connect(secrets.redis_url, timeout_seconds=_PATIENT_SECONDS, connections=4)
        self.ledger = Ledger(self.redis, settings.prefix, timeout_seconds=settings.ledger_seconds)
        self.database = Database(secrets.database_url)
        self.directory = Directory(self.redis, self.database, prefix=settings.prefix)
        counter = InputCounter(settings.models, tokenizer)
        costs = Costs(settings, book, counter)
        allowances = Allowances(settings.replicas)
        lease = timedelta(seconds=settings.lease_seconds)
        self.settlement = Settlement(self.ledger, costs, allowances, zone, lease, self._rebuild)
        self.admission = Admission(
            settings, secrets.salt_secret, self.directory, self.ledger, costs, self.settlement, allowances, zone
        )
        name = f"{socket.gethostname()}-{uuid.uuid4().hex[:8]}"
        self._consumer = RecordConsumer(self._patient, self.ledger.records_key, secrets.database_url, name)

    async def _rebuild(self) -> bool:
        return await rebuild(self._patient, self.ledger, self.database_url)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """What runs beside the proxy: settlements that wait, the records' way to PostgreSQL, rebuilding."""
        try:
            await self._rebuild()
            await directory.migrate(self.database)
        except (RedisError, psycopg.Error, DatabaseUnavailableError, OSError) as error:
            # The proxy starts all the same and refuses, or allows what the tiers declare, until they are there.
            _log.warning("the ledger is not whole yet: %s", type(error).__name__)
        tasks = [asyncio.create_task(self.settlement.run()), asyncio.create_task(self._consumer.run())]
        try:
            yield
        finally:
            await self.settlement.drain(_DRAIN_SECONDS)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.database.close()
            await self._patient.aclose()
            await self.redis.aclose()
