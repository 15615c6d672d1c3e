"""Needs: PostgreSQL 15's programs; a server of its own on a free port, a database of its own for each test."""

import os
import pwd
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from gateway.audit.doing import new_database
from llmaas_gateway.audit.signing import Signer, Verifier
from ports import free_port

PROGRAMS = Path("/usr/lib/postgresql/15/bin")


def _run(program: str, *arguments: str) -> None:
    # initdb refuses to run as root
    user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    subprocess.run([*user, str(PROGRAMS / program), *arguments], check=True, stdout=subprocess.DEVNULL)


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """The URL of a running server, without a database's name."""
    if not PROGRAMS.exists():
        pytest.fail("PostgreSQL 15 is not installed; apt-get install postgresql-15")
    folder = Path(f"/tmp/llmaas-test-audit-{uuid.uuid4().hex}")  # noqa: S108 - another user must reach it
    folder.mkdir(mode=0o755)
    data, port = str(folder / "data"), free_port()
    if os.geteuid() == 0:
        os.chown(folder, pwd.getpwnam("postgres").pw_uid, pwd.getpwnam("postgres").pw_gid)
    _run("initdb", "-D", data, "-A", "trust", "-U", "postgres", "--no-sync")
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={data} -c fsync=off"
    _run("pg_ctl", "-D", data, "-o", options, "-l", f"{data}/log", "-w", "start")
    yield f"postgresql://postgres@127.0.0.1:{port}"
    _run("pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
    shutil.rmtree(folder)


@pytest.fixture
def database(server: str) -> str:
    """The URL of an empty database with the tables of ledger and audit."""
    return new_database(server)


@pytest.fixture(scope="session")
def signer() -> Signer:
    return Signer.from_secret("A" * 43)


@pytest.fixture(scope="session")
def verifier(signer: Signer) -> Verifier:
    return Verifier.from_pems([signer.public_pem()])
