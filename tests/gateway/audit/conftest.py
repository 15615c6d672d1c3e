"""Needs: PostgreSQL 15's programs; a server of its own on a free port, a database of its own for each test."""

import asyncio
from collections.abc import Iterator

import pytest
from data_servers import PostgresServer, postgres_server
from gateway.audit.doing import act, in_database, new_database, note_calls
from gateway.audit.watching import Clock
from llmaas_gateway.audit.heads import seal
from llmaas_gateway.audit.log import AuditLog
from llmaas_gateway.audit.requests import chain_all
from llmaas_gateway.audit.signing import Signer, Verifier
from llmaas_gateway.audit.watch import ChainWatch


@pytest.fixture(scope="session")
def server() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


@pytest.fixture
def database(server: PostgresServer) -> str:
    """The URL of an empty database with the tables of ledger and audit."""
    return new_database(server)


@pytest.fixture(scope="session")
def signer() -> Signer:
    return Signer.from_secret("A" * 43)


@pytest.fixture(scope="session")
def verifier(signer: Signer) -> Verifier:
    return Verifier.from_pems([signer.public_pem()])


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def watch(signer: Signer, clock: Clock) -> ChainWatch:
    return ChainWatch(signer, 900, clock)


@pytest.fixture
def filled(database: str, signer: Signer) -> str:
    """Eight acts each of two tenants and the platform, calls of one, signed twice; the letters are no plain ones."""
    log = AuditLog(database)
    for first in (0, 4):
        for number in range(first, first + 4):
            asyncio.run(log.append([act(number, tenant, note='é "ß" \\ 漢') for tenant in ("acme", "globex", "")]))
        note_calls(database, [f"call-{number}" for number in range(first, first + 4)])
        in_database(database, chain_all)
        in_database(database, lambda connection: seal(connection, signer))
    return database
