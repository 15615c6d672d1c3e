"""Needs: redis-server and PostgreSQL 15's programs, started here on free ports with nothing kept."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psycopg
import pytest
from data_servers import PostgresServer, postgres_server
from fastapi import FastAPI
from gateway.accounts.litellm_double import MASTER_KEY, LiteLLMDouble
from llmaas_gateway.accounts.account import Tier, limits_of
from llmaas_gateway.accounts.database import Connection, Database
from llmaas_gateway.accounts.directory import Directory, migrate
from llmaas_gateway.accounts.litellm import LiteLLM
from llmaas_gateway.accounts.trail import AuditTrail
from llmaas_gateway.api import Services, include
from llmaas_gateway.audit.log import AuditLog, Position
from llmaas_gateway.audit.log import migrate as migrate_audit
from llmaas_gateway.audit.records import Act
from llmaas_gateway.audit.signing import Signer
from llmaas_gateway.charging import Usage, charge
from llmaas_gateway.ledger import records
from llmaas_gateway.ledger.ledger import Held, Ledger, connect
from llmaas_gateway.ledger.records import CallRecord, RecordConsumer
from llmaas_gateway.price_file import load_price_book
from llmaas_gateway.prices import Unit
from redis.asyncio import Redis

T = TypeVar("T")
# Far ahead of any clock: Redis forgets windows by its own, and would forget those of a day gone by at once.
START = datetime(2096, 11, 25, 12, 0, tzinfo=UTC)
PRICES = Path(__file__).parents[3] / "stacks" / "prices.yaml"


@pytest.fixture(scope="session")
def tiers() -> dict[str, Tier]:
    """One of each way of billing."""
    common = {"requests_per_minute": 1000}
    bounds = {"prepaid_eur": 200, "monthly_cap_eur": 1000, "output_tokens_per_hour": 150_000, "parallel_requests": 20}
    some = (
        {"name": "T1", "billing": "prepaid", "priority": "normal", **common, **bounds},
        {"name": "monthly", "billing": "monthly", "priority": "high", **common, "euros_while_ledger_is_away": 5},
    )
    return {str(tier["name"]): Tier.model_validate(tier) for tier in some}


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


@dataclass(frozen=True)
class Stores:
    """Redis and PostgreSQL with nothing of another test in them."""

    redis: Redis
    redis_url: str
    database_url: str
    database: Database
    prefix: str

    def directory(self, **options: float) -> Directory:
        """As another replica would have it."""
        return Directory(self.redis, self.database, prefix=self.prefix, **options)  # type: ignore[arg-type]


@pytest.fixture
def in_stores(redis_port: int, postgres: PostgresServer) -> Callable[[Callable[[Stores], Awaitable[T]]], T]:
    """Runs a coroutine with fresh stores."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[Stores]:
        redis_url, database_url = f"redis://127.0.0.1:{redis_port}", postgres.new_database()
        redis, database = connect(redis_url, timeout_seconds=5), Database(database_url)
        async with await psycopg.AsyncConnection.connect(database_url) as connection:
            await records.migrate(connection)
        await migrate(database)
        try:
            yield Stores(redis, redis_url, database_url, database, f"t{uuid.uuid4().hex}")
        finally:
            await database.close()
            await redis.aclose()

    def run(action: Callable[[Stores], Awaitable[T]]) -> T:
        async def body() -> T:
            async with opened() as stores:
                return await action(stores)

        return asyncio.run(body())

    return run


class RecordingAudit(AuditLog):
    """The audit's own log, and beside it the acts as they were given."""

    def __init__(self, database: str) -> None:
        super().__init__(database)
        self.acts: list[Act] = []

    async def append(self, acts: Sequence[Act], connection: Connection | None = None) -> list[Position]:
        self.acts += acts
        return await super().append(acts, connection)


@dataclass
class Platform:
    """The routes over real stores, with LiteLLM's API in memory and a clock that a test moves."""

    stores: Stores
    litellm: LiteLLMDouble
    services: Services
    client: httpx.AsyncClient
    acts: list[Act]
    now: datetime = START

    async def ask(self, method: str, path: str, body: Any = None, key: str = MASTER_KEY, **query: str) -> Any:
        """A call that must succeed."""
        answer = await self.raw(method, path, body, key, **query)
        assert answer.is_success, answer.text
        return answer.json()

    async def raw(
        self, method: str, path: str, body: Any = None, key: str = MASTER_KEY, **query: str
    ) -> httpx.Response:
        """A call as it is answered."""
        headers = {"Authorization": f"Bearer {key}", "X-Llmaas-Operator": "ada"}
        return await self.client.request(method, path, json=body, params=query, headers=headers)

    async def tenant(self, name: str = "acme", tier: str = "T1", **more: Any) -> str:
        """A new tenant's identifier."""
        return str((await self.ask("POST", "/llmaas/tenants", {"name": name, "tier": tier, **more}))["tenant"])

    async def call(self, tenant: str, identity: str, counts: dict[str, int], **facts: Any) -> int:
        """A call through the ledger, settled and moved to PostgreSQL; what it was charged."""
        at = facts.pop("at", self.now).astimezone(self.services.zone)
        account = await self.services.directory.account(tenant)
        tier = self.services.tiers[account.tier]
        limits = limits_of(tier, account, tenant, None, "hash", None, 1000)
        usage = Usage({Unit(unit): count for unit, count in counts.items()})
        charged = charge(self.services.book, "granite3.3:8b", usage, at, *facts.pop("factors", ()))
        record = CallRecord(
            request_id=identity,
            began_at=at.isoformat(),
            tenant=tenant,
            team=tenant,
            api_key="hash",
            billing=tier.billing,
            model="granite3.3:8b",
            endpoint="/v1/chat/completions",
            status="success",
            counts={line.unit: line.count for line in charged.lines},
            price_ids={line.unit: line.price_id for line in charged.lines},
            factor=str(charged.factor),
            nano_eur=charged.nano_eur,
            latency_ms=120,
        )
        ledger, most = self.services.ledger, facts.pop("most", charged.nano_eur)
        held = await ledger.reserve(
            identity, limits, nano_eur=most, output_tokens=usage.output_tokens, at=at, lease=timedelta(minutes=5)
        )
        assert isinstance(held, Held)
        settled = await ledger.settle(
            identity,
            nano_eur=charged.nano_eur,
            output_tokens=usage.output_tokens,
            record=replace(record, **facts).payload(),
            at=at,
        )
        return settled.nano_eur

    async def store_records(self) -> None:
        """Move what the ledger enqueued to PostgreSQL."""
        consumer = RecordConsumer(
            self.stores.redis, self.services.ledger.records_key, self.stores.database_url, "consumer"
        )
        async with await psycopg.AsyncConnection.connect(self.stores.database_url) as connection:
            while await consumer.consume(connection, wait_ms=1):
                pass


@pytest.fixture
def on_platform(
    in_stores: Callable[[Callable[[Stores], Awaitable[T]]], T], tiers: dict[str, Tier]
) -> Callable[[Callable[[Platform], Awaitable[T]]], T]:
    """Runs a coroutine against the routes."""

    async def opened(stores: Stores, action: Callable[[Platform], Awaitable[T]]) -> T:
        litellm, audit = LiteLLMDouble(), RecordingAudit(stores.database_url)
        async with audit.connect() as connection:
            await migrate_audit(connection)

        app, ledger = FastAPI(), Ledger(stores.redis, stores.prefix)
        await stores.redis.set(ledger.epoch_key, "1")
        inside = httpx.AsyncClient(transport=httpx.ASGITransport(litellm.app()), base_url="http://litellm.test")
        async with inside, httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://t") as client:
            services = Services(
                tiers=tiers,
                book=load_price_book(PRICES),
                database=stores.database,
                directory=stores.directory(cache_seconds=0),
                redis=stores.redis,
                ledger=ledger,
                litellm=LiteLLM(inside),
                audit=audit,
                trail=AuditTrail(audit, Signer.from_secret("A" * 43), lambda: datetime.now(UTC)),
                authenticate=litellm.authenticate,
                now=lambda: platform.now,
            )
            platform = Platform(stores, litellm, services, client, audit.acts)
            include(app, services)
            return await action(platform)

    def run(action: Callable[[Platform], Awaitable[T]]) -> T:
        return in_stores(lambda stores: opened(stores, action))

    return run
