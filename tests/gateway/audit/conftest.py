"""Needs: PostgreSQL 15's programs; a server of its own on a free port, a database of its own for each test."""

from collections.abc import Iterator

import pytest
from data_servers import PostgresServer, postgres_server
from gateway.audit.doing import new_database
from llmaas_gateway.audit.signing import Signer, Verifier


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
