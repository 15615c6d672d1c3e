"""A real PostgreSQL that speaks TLS 1.3 only, and the query engine in front of it."""

import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

SCHEMA = Path(__file__).with_name("schema.prisma")
BINARIES = Path("/usr/lib/postgresql/15/bin")
_START_SECONDS = 60
TABLES = """
CREATE TABLE "Team" (id TEXT PRIMARY KEY);
CREATE TABLE "Item" (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, document JSONB NOT NULL DEFAULT '{}', tags TEXT[],
    made_at TIMESTAMP(3) NOT NULL, large BIGINT NOT NULL, price DOUBLE PRECISION, team_id TEXT REFERENCES "Team" (id)
);
"""


@dataclass(frozen=True)
class Database:
    """A PostgreSQL 15 of its own, run by the account that Debian made for it."""

    folder: Path
    port: int
    authority: Path

    def url(self, host: str = "localhost", **parameters: str) -> str:
        query = {"sslmode": "verify-full", "sslrootcert": str(self.authority), **parameters}
        text = "&".join(f"{name}={value}" for name, value in query.items())
        return f"postgresql://postgres:p%40ss@{host}:{self.port}/postgres?{text}"

    def control(self, *arguments: str) -> None:
        data = self.folder / "data"
        self.run(str(BINARIES / "pg_ctl"), "-D", str(data), "-l", str(self.folder / "log"), "-w", *arguments)

    def sql(self, text: str) -> str:
        psql = [str(BINARIES / "psql"), "-qAt", "-v", "ON_ERROR_STOP=1"]
        return self.run(*psql, "-h", str(self.folder), "-p", str(self.port), "-U", "postgres", "-c", text)

    def run(self, *command: str) -> str:
        as_postgres = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        # the server keeps what it inherits: output goes to a file, or reading it would wait for the server's end
        with tempfile.TemporaryFile() as output:
            done = subprocess.run(
                [*as_postgres, *command], check=False, stdout=output, stderr=subprocess.STDOUT, cwd=self.folder
            )
            output.seek(0)
            text = output.read().decode()
        assert done.returncode == 0, text
        return text


@dataclass(frozen=True)
class Engine:
    """A running query engine, asked as prisma-client-py asks it."""

    process: subprocess.Popen[bytes]
    client: httpx.Client

    def query(self, text: str, transaction: str | None = None) -> dict[str, Any]:
        headers = {"x-transaction-id": transaction} if transaction else {}
        answer = self.client.post("/", json={"query": text, "variables": {}}, headers=headers)
        assert answer.status_code == 200
        return dict(answer.json())

    def data(self, text: str, transaction: str | None = None) -> Any:
        answer = self.query(text, transaction)
        assert "errors" not in answer, answer
        return answer["data"]["result"]

    def error_code(self, text: str) -> str:
        return str(self.query(text)["errors"][0]["user_facing_error"]["error_code"])


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"not so after {_START_SECONDS} s"
        time.sleep(0.1)


def answers(engine: Engine) -> bool:
    assert engine.process.poll() is None, "the engine ended"
    try:
        return engine.client.get("/status").json() == {"status": "ok"}
    except httpx.TransportError:
        return False
