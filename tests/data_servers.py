"""Real Redis and PostgreSQL of a test's own, on free ports, killed and started again at will."""

import os
import pwd
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
import pytest
import redis
from ports import free_port

_POSTGRES_PROGRAMS = Path("/usr/lib/postgresql/15/bin")
_START_SECONDS = 20


def _redis_program() -> str:
    return shutil.which("redis-server") or pytest.fail("redis-server is not installed; bin/install-packages")


def _wait_for_redis(client: redis.Redis) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            client.ping()
            break
        except (redis.ConnectionError, redis.exceptions.BusyLoadingError):
            if time.monotonic() > deadline:
                pytest.fail(f"redis-server did not answer within {_START_SECONDS} s")
            time.sleep(0.05)


@contextmanager
def memory_redis(password: str = "") -> Iterator[redis.Redis]:
    """A client of a Redis with nothing on disk, which is there until it is left."""
    port = free_port()
    command = [_redis_program(), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    options = ["--requirepass", password] if password else []
    server = subprocess.Popen([*command, *options], stdout=subprocess.DEVNULL)
    client = redis.Redis(port=port, password=password or None)
    try:
        _wait_for_redis(client)
        yield client
    finally:
        client.close()
        server.terminate()
        server.wait(10)


@contextmanager
def open_folder(name: str) -> Iterator[Path]:
    """A new folder that other accounts can reach, PostgreSQL's among them; removed when it is left."""
    folder = Path(f"/tmp/llmaas-test-{name}-{uuid.uuid4().hex}")  # noqa: S108 - pytest's own are closed to others
    folder.mkdir(mode=0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


class RedisServer:
    """A Redis that writes every change to a file, as production's does."""

    def __init__(self, folder: Path) -> None:
        self._program, self._folder, self.port = _redis_program(), folder, free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        self._process = subprocess.Popen(
            [
                self._program, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._folder),
                "--save", "", "--appendonly", "yes", "--appendfsync", "everysec",
            ],
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        with redis.Redis(port=self.port) as client:
            _wait_for_redis(client)

    def kill(self) -> None:
        """End it at once; what it wrote last may be missing, and a lost host loses more."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def saved(self, into: Path) -> None:
        """A copy of what is on the disk now."""
        shutil.copytree(self._folder / "appendonlydir", into)

    def cut_power(self, saved: Path) -> None:
        """End it as a lost host does: what was written after the copy is gone."""
        self.kill()
        self.forget()
        shutil.copytree(saved, self._folder / "appendonlydir")

    def forget(self) -> None:
        """Lose all that was written; only while it is down."""
        shutil.rmtree(self._folder / "appendonlydir", ignore_errors=True)

    def hang(self) -> None:
        """Stop answering without closing a connection."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)

    def wake(self) -> None:
        """Answer again, what has queued up included."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)


class PostgresServer:
    """A PostgreSQL in a folder that its own account can reach."""

    def __init__(self, folder: Path) -> None:
        if not _POSTGRES_PROGRAMS.exists():
            pytest.fail("PostgreSQL 15 is not installed; bin/install-packages")
        self._data, self.port = folder / "data", free_port()
        # initdb refuses to run as root
        self._user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        if self._user:
            account = pwd.getpwnam("postgres")
            os.chown(folder, account.pw_uid, account.pw_gid)
        self._run("initdb", "-D", str(self._data), "-A", "trust", "-U", "postgres", "--no-sync")

    def _run(self, program: str, *arguments: str) -> None:
        command = [*self._user, str(_POSTGRES_PROGRAMS / program), *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self._data} -c fsync=off"
        self._run("pg_ctl", "-D", str(self._data), "-o", options, "-l", str(self._data / "log"), "-w", "start")

    def kill(self) -> None:
        """End it at once."""
        self._run("pg_ctl", "-D", str(self._data), "-m", "immediate", "-w", "stop")

    def _signal(self, number: signal.Signals) -> None:
        parent = int((self._data / "postmaster.pid").read_text(encoding="utf-8").split()[0])
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text(encoding="utf-8").split()
        for pid in (parent, *map(int, children)):
            # the one of a connection that was closed may end meanwhile
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def hang(self) -> None:
        """Stop answering without closing a connection; new ones are taken by the system, and not answered either."""
        self._signal(signal.SIGSTOP)

    def wake(self) -> None:
        """Answer again."""
        self._signal(signal.SIGCONT)

    def connect(self) -> psycopg.Connection[tuple[object, ...]]:
        """A connection that commits each statement."""
        return psycopg.connect(self.url, autocommit=True)

    def new_database(self) -> str:
        """An empty database; its URL."""
        name = f"d{uuid.uuid4().hex}"
        with self.connect() as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return self.url.removesuffix("postgres") + name


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL that runs until it is left."""
    with open_folder("postgres") as folder:
        server = PostgresServer(folder)
        server.start()
        try:
            yield server
        finally:
            server.kill()
