"""Fixtures: a real PostgreSQL that speaks TLS 1.3 only, and the query engine in front of it."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from ports import free_port
from standins.prisma.prisma_parts import BINARIES, SCHEMA, TABLES, Database, Engine, answers, wait_for

from lab.images.litellm_packages import ENGINE, ENGINE_PROGRAM
from llmaas.pki import open_authority


@pytest.fixture(scope="session")
def database() -> Iterator[Database]:
    folder = Path(tempfile.mkdtemp(prefix="llmaas-test-postgres-"))
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("LLMAAS_STATE", str(folder / "state"))
            leaf = open_authority("test").ensure_leaf("postgres", dns=["localhost"], addresses=[], usage="server")
            for source, name in ((leaf.certificate, "tls.crt"), (leaf.key, "tls.key"), (leaf.ca, "ca.crt")):
                shutil.copy(source, folder / name)
        database = Database(folder=folder, port=free_port(), authority=folder / "ca.crt")
        for path in (folder, folder / "tls.crt", folder / "tls.key", folder / "ca.crt"):
            shutil.chown(path, "postgres", "postgres")
        (folder / "tls.key").chmod(0o600)
        database.run(str(BINARIES / "initdb"), "-D", str(folder / "data"), "-A", "trust", "-U", "postgres")
        settings = {
            "port": database.port,
            "listen_addresses": "'127.0.0.1'",
            "unix_socket_directories": f"'{folder}'",
            "ssl": "on",
            "ssl_cert_file": f"'{folder}/tls.crt'",
            "ssl_key_file": f"'{folder}/tls.key'",
            "ssl_min_protocol_version": "'TLSv1.3'",
        }
        with (folder / "data/postgresql.conf").open("a") as stream:
            stream.writelines(f"{name} = {value}\n" for name, value in settings.items())
        (folder / "data/pg_hba.conf").write_text("local all all trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n")
        database.control("start")
        try:
            database.sql(TABLES)
            database.sql("ALTER ROLE postgres PASSWORD 'p@ss'")
            yield database
        finally:
            database.control("-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def engine_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The engine with its locked packages, outside the source tree."""
    folder = tmp_path_factory.mktemp("prisma-engine") / "engine"
    shutil.copytree(ENGINE, folder, ignore=shutil.ignore_patterns("node_modules"))
    npm = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    done = subprocess.run(npm, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / ENGINE_PROGRAM


@pytest.fixture
def start_engine(engine_program: Path) -> Iterator[Callable[[str], Engine]]:
    """Starts engines on a database URL and ends them after the test."""
    started: list[Engine] = []

    def start(url: str) -> Engine:
        port = free_port()
        environment = {**os.environ, "PRISMA_DML_PATH": str(SCHEMA), "DATABASE_URL": url}
        process = subprocess.Popen([str(engine_program), "-p", str(port), "--enable-raw-queries"], env=environment)
        engine = Engine(process, httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30))
        started.append(engine)
        wait_for(lambda: answers(engine))
        return engine

    yield start
    for engine in started:
        engine.client.close()
        engine.process.terminate()
        engine.process.wait(timeout=10)


@pytest.fixture
def engine(database: Database, start_engine: Callable[[str], Engine]) -> Engine:
    database.sql('TRUNCATE "Item", "Team"')
    return start_engine(database.url())
