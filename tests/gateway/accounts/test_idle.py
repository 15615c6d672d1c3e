"""A peer that is lost, or forgot its transaction, is noticed; who works elsewhere within one is not taken for it."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from data_servers import PostgresServer, postgres_server
from llmaas_gateway.audit.export import Span, export_lines
from llmaas_gateway.audit.log import AuditLog
from llmaas_gateway.audit.signing import Signer
from llmaas_gateway.invoices.reconcile import Reconciler
from llmaas_gateway.ledger import rebuild as rebuilding
from llmaas_gateway.proxy.settings import read_secrets

Run = Callable[[Callable[[Any], Awaitable[Any]]], Any]
CONFIGURATION = Path(__file__).parents[3] / "images/postgres/postgresql.conf"
IMPATIENT = "2s"
ELSEWHERE_SECONDS = 5


@pytest.fixture(scope="module")
def own_server() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


def declared() -> dict[str, str]:
    lines = [line.partition("=") for line in CONFIGURATION.read_text(encoding="utf-8").splitlines() if line[:1] != "#"]
    return {name.strip(): value.strip().strip("'") for name, _, value in lines}


def test_the_images_server_notices_clients_that_are_lost(own_server: PostgresServer) -> None:
    wanted = {
        "tcp_keepalives_idle": "30",
        "tcp_keepalives_interval": "10",
        "tcp_keepalives_count": "3",
        "tcp_user_timeout": "60000",
        "client_connection_check_interval": "30s",
        "idle_in_transaction_session_timeout": "1min",
    }
    with own_server.connect() as connection:
        for name in wanted:
            connection.execute(f"ALTER SYSTEM SET {name} = '{declared()[name]}'".encode())
        connection.execute("SELECT pg_reload_conf()")
    with own_server.connect() as connection:
        # a connection takes what was read before it; the server reads it in its own time
        for _ in range(600):
            shown = {name: connection.execute(f"SHOW {name}".encode()).fetchone() for name in wanted}
            if shown == {name: (value,) for name, value in wanted.items()}:
                break
            connection.execute("SELECT pg_sleep(0.1)")
        assert shown == {name: (value,) for name, value in wanted.items()}


def test_the_gateways_connections_notice_a_server_that_is_lost(own_server: PostgresServer) -> None:
    environment = dict.fromkeys(("LLMAAS_REDIS_URL", "LLMAAS_CACHE_SALT_SECRET", "LLMAAS_AUDIT_KEY"), "x" * 43)
    url = f"{own_server.url}?connection_limit=5&keepalives_count=4"
    environment |= {"DATABASE_URL": url, "LITELLM_MASTER_KEY": "sk-x"}
    with (
        psycopg.connect(read_secrets(environment).database_url) as connection,
        socket.socket(fileno=connection.fileno()) as wire,
    ):
        options = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT, socket.TCP_USER_TIMEOUT)
        found = [wire.getsockopt(socket.IPPROTO_TCP, option) for option in options]
        alive = wire.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        wire.detach()
    # what the environment says itself stays
    assert (alive, found) == (1, [30, 10, 4, 60_000])


async def impatient(platform: Any) -> None:
    """The server ends who idles in a transaction; the connections of before do not know it yet."""
    name = urlsplit(platform.stores.database_url).path[1:]
    async with platform.stores.database.change() as connection:
        await connection.execute(f"ALTER DATABASE {name} SET idle_in_transaction_session_timeout = '{IMPATIENT}'")
    await platform.stores.database.close()


async def elsewhere(*_: Any) -> None:
    await asyncio.sleep(ELSEWHERE_SECONDS)


def test_a_transaction_in_which_nobody_works_is_ended(on_platform: Run) -> None:
    async def action(platform: Any) -> None:
        await impatient(platform)
        async with await psycopg.AsyncConnection.connect(platform.stores.database_url) as connection:
            await connection.execute("SELECT 1")
            await elsewhere()
            with pytest.raises(psycopg.errors.IdleInTransactionSessionTimeout):
                await connection.execute("SELECT 1")

    on_platform(action)


@pytest.mark.parametrize("by_night", [False, True])
def test_a_reconciliation_keeps_its_turn_while_it_compares(
    on_platform: Run, monkeypatch: pytest.MonkeyPatch, *, by_night: bool
) -> None:
    async def action(platform: Any) -> None:
        await impatient(platform)
        original = Reconciler.run

        async def slow(reconciler: Reconciler, *actor: str) -> Any:
            await elsewhere()
            return await original(reconciler, *actor)

        monkeypatch.setattr(Reconciler, "run", slow)
        services = platform.services
        assert await (services.nightly.look() if by_night else services.reconciler.run_alone("operator:ada"))

    on_platform(action)


def test_an_erasure_keeps_the_tenant_locked_however_long_litellm_takes(
    on_platform: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def action(platform: Any) -> None:
        tenant = await platform.tenant("acme")
        await impatient(platform)
        monkeypatch.setattr(type(platform.services.litellm), "delete_team", elsewhere)
        answer = await platform.ask("POST", f"/llmaas/tenants/{tenant}/erase", {"confirm": "acme"})
        assert answer["state"] == "erased"

    on_platform(action)


def test_an_export_goes_on_for_a_slow_reader(on_platform: Run) -> None:
    async def action(platform: Any) -> None:
        await platform.tenant("acme")
        await impatient(platform)
        span = Span(datetime(2000, 1, 1, tzinfo=UTC), datetime.now(UTC) + timedelta(days=1))
        async with AuditLog(platform.stores.database_url).connect() as connection:
            lines = export_lines(connection, Signer.from_secret("A" * 43), span)
            first = await anext(lines)
            await elsewhere()
            assert len([first, *[line async for line in lines]]) > 1

    on_platform(action)


def test_a_rebuild_goes_on_however_long_redis_takes(on_platform: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def action(platform: Any) -> None:
        tenant = await platform.tenant("acme")
        await platform.call(tenant, "r", {"output": 5})
        await platform.store_records()
        await impatient(platform)
        original = rebuilding._restore_counters  # noqa: SLF001 - it is made slow

        async def slow(*arguments: Any) -> int:
            count = await original(*arguments)
            await elsewhere()
            return count

        monkeypatch.setattr(rebuilding, "_restore_counters", slow)
        await platform.stores.redis.delete(platform.services.ledger.epoch_key)
        assert await rebuilding.rebuild(platform.stores.redis, platform.services.ledger, platform.stores.database_url)

    on_platform(action)
