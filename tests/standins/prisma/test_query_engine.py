"""The query engine on a real database: what it stores, how it fails, and that it never talks without TLS 1.3."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ports import free_port
from standins.prisma.prisma_parts import SCHEMA, Database, Engine, wait_for

DOCUMENT = {"text": 'quotes " and \\ and {braces}', "list": [1, None, True], "deep": {"模型": "😀"}}
FIELDS = "{ id name document tags made_at large price team { id } }"


def create(number: int, document: Any = DOCUMENT, extra: str = "") -> str:
    data = f'id: {number}, name: "item-{number}", document: {json.dumps(json.dumps(document, ensure_ascii=False))}'
    rest = 'tags: ["a", "b c"], made_at: "2026-08-01T12:30:00.123Z", large: "9007199254740993", price: 0.5'
    return f"mutation {{ result: createOneItem(data: {{ {data}, {rest} {extra} }}) {FIELDS} }}"


def test_the_unit_tests_of_the_engine_pass(engine_program: Path) -> None:
    done = subprocess.run(
        ["node", "--test", "test/"], cwd=engine_program.parent, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_a_record_comes_back_as_it_was_written(engine: Engine, database: Database) -> None:
    made = engine.data(create(1, extra=', team: { create: { id: "t" } }'))
    read = engine.data(f"query {{ result: findUniqueItem(where: {{ id: 1 }}) {FIELDS} }}")
    assert made == read
    assert json.loads(read["document"]) == DOCUMENT
    assert (read["tags"], read["large"], read["price"], read["team"]) == (
        ["a", "b c"],
        "9007199254740993",
        0.5,
        {"id": "t"},
    )
    assert read["made_at"].startswith("2026-08-01T12:30:00.123")
    # encoded once: the database sees an object, not a string
    assert database.sql('SELECT jsonb_typeof(document) FROM "Item"').strip() == "object"


def test_filters_order_and_relations_work(engine: Engine) -> None:
    for number in range(5):
        engine.data(create(number, {"number": number}))
    found = engine.data(
        "query { result: findManyItem(where: { id: { gte: 2 } }, orderBy: [{ id: desc }], take: 2) { id } }"
    )
    assert found == [{"id": 4}, {"id": 3}]
    assert engine.data(
        'query { result: findFirstItem(where: { document: { path: ["number"], equals: "3" } }) { id } }'
    ) == {"id": 3}


def test_what_is_rolled_back_was_never_there(engine: Engine, database: Database) -> None:
    for step, expected in (("rollback", "0"), ("commit", "1")):
        options = {"max_wait": 5000, "timeout": 20000}
        transaction = engine.client.post("/transaction/start", json=options).json()["id"]
        engine.data(create(1), transaction)
        assert engine.client.post(f"/transaction/{transaction}/{step}").status_code == 200
        assert database.sql('SELECT count(*) FROM "Item"').strip() == expected


@pytest.mark.parametrize("unknown", ["short", "c" * 25, "not-an-id-" * 5])
def test_an_unknown_transaction_is_refused_and_ends_nothing(unknown: str, engine: Engine) -> None:
    assert engine.client.post(f"/transaction/{unknown}/commit").status_code == 404
    assert "errors" in engine.query("query { result: findManyItem { id } }", unknown)
    assert engine.data("query { result: findManyItem { id } }") == []


def test_a_batch_in_a_transaction_is_kept_whole_or_not_at_all(engine: Engine, database: Database) -> None:
    batch = [{"query": create(number), "variables": {}} for number in (1, 1)]
    answer = engine.client.post("/", json={"batch": batch, "transaction": True}).json()
    assert answer["errors"][0]["user_facing_error"]["error_code"] == "P2002"
    assert database.sql('SELECT count(*) FROM "Item"').strip() == "0"


def test_errors_have_the_codes_of_the_native_engine(engine: Engine) -> None:
    engine.data(create(1))
    assert engine.error_code(create(1)) == "P2002"
    assert engine.error_code("query { result: findManyItem(") == "P2009"
    assert engine.error_code("query { result: inventItem { id } }") == "P2009"


def test_the_session_is_tls_1_3_and_in_utc(engine: Engine) -> None:
    sql = "SELECT version, current_setting('TimeZone') AS zone FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
    rows = engine.data(f'mutation {{ result: queryRaw(query: {json.dumps(sql)}, parameters: "[]") }}')
    row = rows["rows"][0] if isinstance(rows, dict) else rows[0]
    assert "TLSv1.3" in json.dumps(row)
    assert "UTC" in json.dumps(row)


@pytest.mark.parametrize("case", ["unknown authority", "other host name"])
def test_a_server_that_cannot_prove_its_name_gets_no_query(
    case: str, database: Database, start_engine: Callable[[str], Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NODE_EXTRA_CA_CERTS", raising=False)
    other = database.folder / "tls.crt"
    url = database.url(sslrootcert=str(other)) if case == "unknown authority" else database.url(host="127.0.0.1")
    if case == "unknown authority":
        url = url.replace(f"&sslrootcert={other}", "")
    answer = start_engine(url).query("query { result: findManyItem { id } }")
    assert "errors" in answer
    assert not answer.get("data")


def test_an_engine_outlives_its_database(engine: Engine, database: Database) -> None:
    engine.data(create(1))
    database.control("-m", "immediate", "stop")
    try:
        codes = {engine.error_code("query { result: findManyItem { id } }") for _ in range(3)}
        assert codes <= {"P1001", "P1017"}
    finally:
        database.control("start")
    wait_for(lambda: "errors" not in engine.query("query { result: findManyItem { id } }"))
    assert engine.data("query { result: findManyItem { id } }") == [{"id": 1}]


def test_an_engine_ends_with_its_parent(engine_program: Path, database: Database) -> None:
    command = [str(engine_program), "-p", str(free_port())]
    script = f"import subprocess, time; print(subprocess.Popen({command}).pid, flush=True); time.sleep(600)"
    environment = {**os.environ, "PRISMA_DML_PATH": str(SCHEMA), "DATABASE_URL": database.url()}
    with subprocess.Popen([sys.executable, "-c", script], env=environment, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        wait_for(lambda: Path(f"/proc/{child}/comm").read_text().strip() == "query-engine")
        parent.send_signal(signal.SIGKILL)
    wait_for(lambda: not Path(f"/proc/{child}").exists())


def test_the_engine_says_what_it_is(engine: Engine, engine_program: Path) -> None:
    version = subprocess.run([str(engine_program), "--version"], capture_output=True, text=True, check=True).stdout
    information = engine.client.get("/server_info").json()
    assert version.strip() == f"query-engine {information['commit']}"
    engine.data("query { result: findManyItem { id } }")
    metrics = engine.client.get("/metrics", params={"format": "json"}).json()
    assert {item["key"] for item in metrics["gauges"]} >= {"prisma_pool_connections_busy", "prisma_client_queries_wait"}
    assert engine.client.get("/elsewhere").status_code == 404


def test_wrong_settings_end_the_engine_with_their_name(engine_program: Path) -> None:
    environment = {
        **os.environ,
        "PRISMA_DML_PATH": str(SCHEMA),
        "DATABASE_URL": "postgresql://u:hidden@h/d?sslmode=prefer",
    }
    done = subprocess.run(
        [str(engine_program), "-p", "0"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "sslmode" in done.stderr
    assert "hidden" not in done.stderr
