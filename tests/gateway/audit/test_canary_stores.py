"""The canary's searches on a real PostgreSQL and Redis, reached through a program that stands for ``kubectl exec``."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
import redis
from data_servers import PostgresServer, memory_redis
from ports import free_port

from llmaas.verify.canary.marker import Canary
from llmaas.verify.canary.stores import SearchError, Stores

CANARY = Canary()
API_KEY, PASSWORD = "sk-caller", "a-password"
KUBECTL = """#!/bin/sh
while [ "$1" != "--" ]; do shift; done
shift
case "$1" in
  redis-cli) exec redis-cli --raw -p "$TEST_REDIS_PORT" ;;
  *) exec "/usr/lib/postgresql/15/bin/$@" ;;
esac
"""


class Cluster:
    """As much of a client of Kubernetes as finds the pods of the stores."""

    def list_namespaced_pod(self, namespace: str, label_selector: str) -> Any:
        name = label_selector.partition("=")[2] + "-0"
        container = SimpleNamespace(name="server")
        metadata = SimpleNamespace(name=name, namespace=namespace)
        return SimpleNamespace(items=[SimpleNamespace(metadata=metadata, spec=SimpleNamespace(containers=[container]))])


@pytest.fixture
def stores(server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stores:
    program = tmp_path / "bin" / "kubectl"
    program.parent.mkdir()
    program.write_text(KUBECTL)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("PGHOST", "127.0.0.1")
    monkeypatch.setenv("PGPORT", str(server.port))
    monkeypatch.setenv("PGUSER", "postgres")
    return Stores(tmp_path / "kubeconfig", Cluster(), CANARY, CANARY.patterns())


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch) -> Iterator[redis.Redis]:
    with memory_redis(PASSWORD) as client:
        monkeypatch.setenv("TEST_REDIS_PORT", str(client.connection_pool.connection_kwargs["port"]))
        yield client


@pytest.fixture
def tables(database: str) -> Iterator[psycopg.Connection[Any]]:
    """A database in which the caller's key is known, as LiteLLM keeps it."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute('CREATE TABLE "Keys" (token text)')
        connection.execute('INSERT INTO "Keys" VALUES (%s)', [hashlib.sha256(API_KEY.encode()).hexdigest()])
        yield connection
        connection.execute('DROP TABLE "Keys"')
        connection.execute("DROP TABLE IF EXISTS kept")


def test_a_clean_database_has_no_hit(stores: Stores, tables: psycopg.Connection[Any]) -> None:
    assert tables.info.status is not None
    assert stores.postgres(API_KEY) == []


@pytest.mark.parametrize(
    ("kind", "form"),
    [("text", "plain"), ("jsonb", "plain"), ("bytea", "hexadecimal"), ("text[]", "plain")],
)
def test_a_column_of_any_type_that_holds_the_marker_is_named_by_its_table(
    stores: Stores, tables: psycopg.Connection[Any], kind: str, form: str
) -> None:
    value: Any = f'{{"prompt": "{CANARY.text}"}}'
    value = {"bytea": value.encode(), "text[]": [value]}.get(kind, value)
    tables.execute(f"CREATE TABLE kept (number int, content {kind})".encode())
    tables.execute("INSERT INTO kept VALUES (1, %s)", [value])
    (hit,) = stores.postgres(API_KEY)
    assert hit.form == form
    assert hit.place.endswith("public.kept")
    assert CANARY.marker not in str(hit)


def test_a_database_in_which_the_caller_is_not_known_was_not_the_right_one(stores: Stores, database: str) -> None:
    assert database
    with pytest.raises(SearchError, match="the hash of the key"):
        stores.postgres("sk-another")


def test_a_database_that_cannot_be_read_is_told(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPORT", str(free_port()))
    with pytest.raises(SearchError, match=r"postgres-0: kubectl ended with code .*refused"):
        stores.postgres(API_KEY)


def test_a_clean_redis_has_no_hit(stores: Stores, cache: redis.Redis) -> None:
    for number in range(700):
        cache.hset(f"llmaas:counter:{number}", mapping={"settled": number, "held": "0"})
    assert stores.redis(PASSWORD) == []


@pytest.mark.parametrize("kind", ["key", "string", "hash", "list", "set", "zset", "stream"])
def test_a_key_or_value_of_any_type_that_holds_the_marker_is_a_hit(
    stores: Stores, cache: redis.Redis, kind: str
) -> None:
    for number in range(300):
        cache.set(f"other:{number}", "line\nline")
    text = f"... {CANARY.text} ..."
    {
        "key": lambda: cache.set(f"cache:{CANARY.marker}", 1),
        "string": lambda: cache.set("k", text),
        "hash": lambda: cache.hset("k", "field", text),
        "list": lambda: cache.rpush("k", "a", text),
        "set": lambda: cache.sadd("k", text),
        "zset": lambda: cache.zadd("k", {text: 1}),
        "stream": lambda: cache.xadd("k", {"record": text}),
    }[kind]()
    assert [hit.form for hit in stores.redis(PASSWORD)] == ["plain"]


def test_a_slow_command_that_holds_the_marker_is_a_hit(stores: Stores, cache: redis.Redis) -> None:
    cache.config_set("slowlog-log-slower-than", 0)
    cache.set("k", CANARY.text)
    cache.config_set("slowlog-log-slower-than", 1_000_000)
    cache.delete("k")
    assert [str(hit) for hit in stores.redis(PASSWORD)] == ["Redis redis-0, slow commands (plain)"]


def test_a_redis_that_refuses_the_password_is_told(stores: Stores, cache: redis.Redis) -> None:
    assert cache.ping()
    with pytest.raises(SearchError, match="refused the password"):
        stores.redis("another")


def test_a_program_that_is_not_there_is_told(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(SearchError, match="kubectl is not on PATH"):
        stores.redis(PASSWORD)
