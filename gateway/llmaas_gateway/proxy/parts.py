"""The gateway's parts, made from its settings, and what of them runs as long as the proxy does."""

import asyncio
import contextlib
import hashlib
import json
import logging
import socket
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import httpx
import psycopg
from fastapi import FastAPI
from redis.exceptions import RedisError

from llmaas_gateway.accounts.database import Database, DatabaseUnavailableError
from llmaas_gateway.accounts.directory import Directory
from llmaas_gateway.accounts.litellm import LiteLLM
from llmaas_gateway.accounts.revocation import LiteLLMKeys, Revocation
from llmaas_gateway.accounts.trail import AuditTrail
from llmaas_gateway.api import Services, include, litellm_authentication
from llmaas_gateway.api.services import utc_now
from llmaas_gateway.audit.administration import AdministrationAudit
from llmaas_gateway.audit.api import AuditServices
from llmaas_gateway.audit.api import include as include_audit
from llmaas_gateway.audit.records import Act
from llmaas_gateway.audit.worker import Audit
from llmaas_gateway.invoices.nightly import Nightly
from llmaas_gateway.invoices.removal import AccountsRemoval
from llmaas_gateway.invoices.watch import ReconciliationWatch
from llmaas_gateway.ledger.ledger import Ledger, connect, epoch_key, lock_key
from llmaas_gateway.ledger.memory import RedisMemory
from llmaas_gateway.ledger.process import RedisProcess
from llmaas_gateway.ledger.rebuild import rebuild
from llmaas_gateway.ledger.records import RecordConsumer
from llmaas_gateway.lifecycle import read_lifecycle
from llmaas_gateway.metrics import Metrics, OverLimit, Unsettled
from llmaas_gateway.price_file import load_price_book
from llmaas_gateway.proxy import endpoints
from llmaas_gateway.proxy.admission import Admission
from llmaas_gateway.proxy.away import Allowances
from llmaas_gateway.proxy.costs import Costs
from llmaas_gateway.proxy.counting import InputCounter, tokenizer
from llmaas_gateway.proxy.lifetimes import Lifetimes
from llmaas_gateway.proxy.precedence import Precedence
from llmaas_gateway.proxy.settings import GatewaySettings, Secrets
from llmaas_gateway.proxy.settlement import Settlement
from llmaas_gateway.proxy.tables import Tables
from llmaas_gateway.proxy.wrapper import Gateway
from llmaas_gateway.tasks import end

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
            SettingsError: a tokenizer cannot be used.
            PriceError: the price book is wrong.
            KeyFormatError: the audit's key is none.
        """
        self.book = book = load_price_book(settings.prices)
        zone = ZoneInfo(book.time_zone)
        self._lifetimes = Lifetimes(read_lifecycle(settings.lifecycle) if settings.lifecycle else None)
        self.settings = settings
        self._secrets = secrets
        process = RedisProcess(epoch_key(settings.prefix), lock_key(settings.prefix))
        url, seconds = secrets.redis_url, settings.ledger_seconds
        for_calls = connect(url, timeout_seconds=seconds, each_step=False, connections=_CONNECTIONS, process=process)
        for_accounts = connect(url, timeout_seconds=seconds, process=process)
        self._patient = connect(url, timeout_seconds=_PATIENT_SECONDS, connections=4, process=process)
        self._redis_clients = (for_calls, for_accounts, self._patient)
        self.ledger = Ledger(for_calls, settings.prefix, timeout_seconds=seconds)
        self.database = Database(secrets.database_url)
        self._keys_database = Database(secrets.database_url)
        self._tables = Tables(self.database)
        self.directory = Directory(for_accounts, self.database, prefix=settings.prefix)
        counter = InputCounter(settings.models, tokenizer)
        costs = Costs(settings, book, counter)
        allowances = Allowances(settings.replicas)
        lease = timedelta(seconds=settings.lease_seconds)
        self.settlement = Settlement(self.ledger, costs, allowances, zone, lease, self._rebuild)
        process.restarted = self.settlement.redis_restarted
        self.admission = Admission(
            settings, secrets.salt_secret, self.directory, self.ledger, costs, self.settlement, allowances, zone
        )
        name = f"{socket.gethostname()}-{uuid.uuid4().hex[:8]}"
        self._consumer = RecordConsumer(self._patient, self.ledger.records_key, secrets.database_url, name)
        self.audit = Audit(secrets.database_url, secrets.audit_key, settings.audit)
        self.over_limit = OverLimit()
        self.precedence = Precedence()
        self._memory = RedisMemory(self._patient)
        self._reconciliation = ReconciliationWatch(self.database)
        unsettled = Unsettled(lambda: self.settlement.owed)
        self._metrics = Metrics(self.over_limit, self.audit.watch, self._memory, self._reconciliation, unsettled)
        self._clients: list[httpx.AsyncClient] = []
        self._beside: list[Nightly | AccountsRemoval | Revocation] = []

    def wrap(self, app: FastAPI) -> Gateway:
        """LiteLLM's application with our routes beside its own, its administration recorded, the gateway around it."""
        http = httpx.AsyncClient(
            transport=httpx.ASGITransport(app=app, raise_app_exceptions=False),
            base_url="http://litellm",
            headers={"Authorization": f"Bearer {self._secrets.master_key}"},
        )
        self._clients.append(http)
        authenticate = litellm_authentication()
        services = Services(
            tiers=self.settings.tiers_by_name,
            book=self.book,
            database=self.database,
            directory=self.directory,
            redis=self._patient,
            ledger=self.ledger,
            litellm=LiteLLM(http),
            audit=self.audit.log,
            trail=AuditTrail(self.audit.log, self.audit.signer, utc_now),
            authenticate=authenticate,
            vat_percent=self.settings.vat_percent,
            calls_shown=self.settings.audit.retention.requests,
            accounts=self.settings.accounts,
        )
        revocation = Revocation(self._keys_database, self.database, LiteLLMKeys(), self.directory)
        self._beside = [services.nightly, services.removal, revocation]
        include(app, services)
        include_audit(app, AuditServices(self.audit.log, self.audit.signer, authenticate))
        audited = AdministrationAudit(
            app, self.audit.log, lambda method, path: endpoints.model_endpoint(method, path) is not None
        )
        return Gateway(
            audited,
            self.settings,
            self.settlement,
            self.running,
            self._lifetimes,
            self._metrics.page,
            revocation.any_good,
            self.precedence,
        )

    def _in_force(self) -> tuple[Act, ...]:
        """Prices, catalogue and tiers that this replica runs with; the audit records a change of them."""
        at = datetime.now(UTC)
        digest = hashlib.sha256(self.settings.prices.read_bytes()).hexdigest()
        acts = [Act("system:gateway", "prices.in_force", "prices.yaml", at, details={"sha256": digest})]
        for what, entries in (("catalogue", self.settings.models), ("tiers", self.settings.tiers)):
            text = json.dumps([entry.model_dump(mode="json") for entry in entries], sort_keys=True)
            details = {
                "names": [entry.name for entry in entries],
                "sha256": hashlib.sha256(text.encode()).hexdigest(),
            }
            acts.append(Act("system:gateway", f"{what}.in_force", "gateway.yaml", at, details=details))
        return tuple(acts)

    async def _rebuild(self) -> bool:
        return await rebuild(self._patient, self.ledger, self._secrets.database_url)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """What runs beside the proxy: settlements that wait, the records' way to PostgreSQL, rebuilding."""
        try:
            await self._tables.make()
            await self._rebuild()
        except (RedisError, psycopg.Error, DatabaseUnavailableError, OSError) as error:
            # The proxy starts all the same and refuses, or allows what the tiers declare, until they are there.
            _log.warning("the ledger is not whole yet: %s", type(error).__name__)
        tasks = [asyncio.create_task(self.settlement.run()), asyncio.create_task(self._consumer.run())]
        beside = (self._tables, self._memory, self._reconciliation, *self._beside)
        tasks += [asyncio.create_task(each.run()) for each in beside]
        try:
            async with self.audit.running(*self._in_force()):
                yield
                await self.settlement.drain(_DRAIN_SECONDS)
        finally:
            await end(*tasks)
            for client in self._clients:
                await client.aclose()
            await self.directory.close()
            for database in (self.database, self._keys_database):
                await database.close()
            for redis in self._redis_clients:
                await redis.aclose()
