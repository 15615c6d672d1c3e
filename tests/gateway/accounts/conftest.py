"""Needs: redis-server and PostgreSQL 15's programs, started here on free ports with nothing kept."""

import asyncio
import os
import pwd
import shutil
import subprocess
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import psycopg
import pytest
from llmaas_gateway.accounts.account import Tier
from llmaas_gateway.accounts.database import Database
from llmaas_gateway.accounts.directory import Directory, migrate
from llmaas_gateway.ledger import records
from llmaas_gateway.ledger.ledger import connect
from ports import free_port
from redis.asyncio import Redis

T = TypeVar("T")


@pytest.fixture(scope="session")
def tiers() -> dict[str, Tier]:
    """One of each way of billing."""
    common = {"requests_per_minute": 1000, "when_ledger_is_away": "refuse"}
    bounds = {"prepaid_eur": 200, "monthly_cap_eur": 1000, "output_tokens_per_hour": 150_000, "parallel_requests": 20}
    some = (
        {"name": "T1", "billing": "prepaid", "priority": "normal", **common, **bounds},
        {"name": "monthly", "billing": "monthly", "priority": "high", **common, "when_ledger_is_away": 5},
    )
    return {str(tier["name"]): Tier.model_validate(tier) for tier in some}


class Postgres:
    """A PostgreSQL of its own in a folder, started and stopped at will."""

    def __init__(self, folder: Path) -> None:
        self.programs, self.data, self.port = Path("/usr/lib/postgresql/15/bin"), folder / "data", free_port()
        if not self.programs.exists():
            pytest.fail("PostgreSQL 15 is not installed; apt-get install postgresql-15")
        # initdb refuses to run as root
        self.user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        if self.user:
            os.chown(folder, pwd.getpwnam("postgres").pw_uid, pwd.getpwnam("postgres").pw_gid)
        self.run("initdb", "-D", str(self.data), "-A", "trust", "-U", "postgres", "--no-sync")

    def run(self, program: str, *arguments: str) -> None:
        subprocess.run([*self.user, str(self.programs / program), *arguments], check=True, stdout=subprocess.DEVNULL)

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self.data} -c fsync=off"
        self.run("pg_ctl", "-D", str(self.data), "-o", options, "-l", str(self.data / "log"), "-w", "start")

    def stop(self) -> None:
        self.run("pg_ctl", "-D", str(self.data), "-m", "immediate", "-w", "stop")

    def fresh_database(self) -> str:
        """A database of its own; its URL."""
        name = f"d{uuid.uuid4().hex}"
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return self.url(name)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    folder = Path(f"/tmp/llmaas-test-accounts-{uuid.uuid4().hex}")  # noqa: S108 - another user must reach it
    folder.mkdir(mode=0o755)
    server = Postgres(folder)
    server.start()
    yield server
    server.stop()
    shutil.rmtree(folder)


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
def in_stores(redis_port: int, postgres: Postgres) -> Callable[[Callable[[Stores], Awaitable[T]]], T]:
    """Runs a coroutine with fresh stores."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[Stores]:
        redis_url, database_url = f"redis://127.0.0.1:{redis_port}", postgres.fresh_database()
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
