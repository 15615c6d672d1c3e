"""The work beside the requests, LiteLLM's administration and refused calls. Needs PostgreSQL 15's programs."""

import asyncio
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from data_servers import PostgresServer
from gateway.audit.doing import START, act, export, in_database, note_calls
from gateway.audit.watching import ALTER, change, told
from llmaas_gateway.asgi import Message, Receive, Scope, Send, answer
from llmaas_gateway.audit.administration import AdministrationAudit
from llmaas_gateway.audit.log import AuditLog
from llmaas_gateway.audit.refusals import Refusal, Refusals
from llmaas_gateway.audit.requests import chain_all
from llmaas_gateway.audit.signing import KeyFormatError, Signer, Verifier
from llmaas_gateway.audit.verify import verify_files
from llmaas_gateway.audit.worker import Audit, AuditSettings
from pydantic import ValidationError

SETTINGS = AuditSettings(acts_days=365, requests_days=90, seal_seconds=1)
REFUSAL = Refusal("acme", "team-1", "hash", "m", "/v1/chat/completions", 429, "rate_limit_exceeded")


def _facts(database: str) -> list[dict[str, Any]]:
    with psycopg.connect(database) as connection:
        rows = connection.execute("SELECT body FROM audit.record ORDER BY recorded_at, number").fetchall()
    return [json.loads(body)["facts"] for (body,) in rows]


async def _until(database: str, **wanted: str) -> None:
    """Wait for a record with these facts; a minute at most."""
    async with asyncio.timeout(60):
        while not any(wanted.items() <= facts.items() for facts in await asyncio.to_thread(_plain_facts, database)):  # noqa: ASYNC110 - nothing tells this process
            await asyncio.sleep(0.2)


def _plain_facts(database: str) -> list[dict[str, Any]]:
    """Facts that are text, of what is chained; nothing before there are tables."""
    try:
        return [{name: v for name, v in facts.items() if isinstance(v, str)} for facts in _facts(database)]
    except psycopg.errors.UndefinedTable:
        return []


def test_calls_refusals_and_what_is_in_force_are_chained_and_signed_beside_the_requests(
    database: str, signer: Signer, verifier: Verifier, tmp_path: Path
) -> None:
    async def work() -> None:
        replicas = [Audit(database, "A" * 43, SETTINGS) for _ in range(2)]
        async with replicas[0].running(act(0, "")), replicas[1].running(act(0, "")):
            await asyncio.to_thread(note_calls, database, ["a", "b"])
            await _until(database, action="audit.anchor")
            replicas[0].refusals.note(REFUSAL, START)

    asyncio.run(work())
    actions = [facts["action"] for facts in _facts(database)]
    assert sorted(action for action in actions if action != "audit.anchor") == [
        "key.create",
        "request",
        "request",
        "request.refused",
    ]
    assert "audit.anchor" in actions
    assert verify_files(export(database, signer, tmp_path), verifier).problems == []


def test_the_work_goes_on_when_the_database_has_no_tables_yet_or_was_away(
    server: PostgresServer, database: str
) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("DROP SCHEMA audit CASCADE")
        connection.execute("ALTER SCHEMA ledger RENAME TO later")

    async def work() -> None:
        async with Audit(database, "A" * 43, SETTINGS).running():
            await asyncio.sleep(0.5)
            with psycopg.connect(database, autocommit=True) as connection:
                connection.execute("ALTER SCHEMA later RENAME TO ledger")
            await asyncio.to_thread(note_calls, database, ["early"])
            await _until(database, request_id="early")
            with server.connect() as connection:
                connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname <> 'postgres'")
            await asyncio.to_thread(note_calls, database, ["late"])
            await _until(database, request_id="late")

    asyncio.run(work())


def test_work_that_fails_keeps_no_other_work_waiting_and_the_alert_least_of_all(filled: str) -> None:
    change(filled, ALTER)
    with psycopg.connect(filled, autocommit=True) as connection:
        connection.execute("INSERT INTO audit.pending (content) VALUES ('{}')")

    async def work() -> float | None:
        audit = Audit(filled, "A" * 43, SETTINGS)
        async with audit.running(), asyncio.timeout(60):
            while (intact := told(audit.watch)[0]) is None:  # noqa: ASYNC110 - nothing tells this process
                await asyncio.sleep(0.2)
        return intact

    with pytest.raises(KeyError, match="tenant"):
        in_database(filled, chain_all)
    assert asyncio.run(work()) == 0.0


def test_refusals_of_a_kind_are_one_record_with_their_number(database: str) -> None:
    refusals = Refusals()
    for second in range(5):
        refusals.note(REFUSAL, START + timedelta(seconds=second))
    assert in_database(database, refusals.flush) == 1
    assert in_database(database, refusals.flush) == 0
    (facts,) = _facts(database)
    assert (facts["count"], facts["last_at"]) == (5, (START + timedelta(seconds=4)).isoformat())


def test_refusals_that_cannot_be_chained_stay_counted(database: str) -> None:
    refusals = Refusals()
    refusals.note(REFUSAL, START)
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("ALTER TABLE audit.record RENAME TO away")
    with pytest.raises(psycopg.Error):
        in_database(database, refusals.flush)
    refusals.note(REFUSAL, START + timedelta(seconds=1))
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("ALTER TABLE audit.away RENAME TO record")
    in_database(database, refusals.flush)
    assert [facts["count"] for facts in _facts(database)] == [2]


async def _application(_: Scope, receive: Receive, send: Send) -> None:
    await answer(send, 200, [], (await receive())["body"])


def _call(database: str, method: str, path: str, body: bytes = b"{}") -> tuple[int, bytes]:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    headers = [(b"authorization", b"Bearer sk-master-secret"), (b"X-Llmaas-Operator", b"jeanne")]
    wrapped = AdministrationAudit(_application, AuditLog(database), lambda _, path: path.startswith("/v1/chat"))
    scope = {"type": "http", "method": method, "path": path, "headers": headers}
    asyncio.run(wrapped(scope, receive, send))
    return sent[0]["status"], sent[1]["body"]


def test_an_act_of_litellm_s_administration_is_recorded_before_and_after(database: str) -> None:
    body = b'{"key_alias": "Ada", "key": "sk-abcdefghijklmnop", "max_budget": 1.5}'
    assert _call(database, "POST", "/key/sk-abcdefghijklmnop/regenerate", body) == (200, body)
    begun, done = _facts(database)
    assert begun["actor"] == "operator:jeanne"
    assert begun["action"] == "litellm.key.x.regenerate"
    assert begun["details"]["fields"] == ["key", "key_alias", "max_budget"]
    assert done["details"]["outcome"] == 200
    assert not any(secret in json.dumps([begun, done]) for secret in ("Ada", "abcdefg", "sk-"))


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/key/list"), ("POST", "/v1/chat/completions"), ("POST", "/llmaas/tenants")]
)
def test_what_changes_nothing_or_records_itself_is_passed_on(database: str, method: str, path: str) -> None:
    assert _call(database, method, path) == (200, b"{}")
    assert _facts(database) == []


def test_an_act_that_cannot_be_recorded_is_not_done(database: str) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("DROP SCHEMA audit CASCADE")
    status, body = _call(database, "POST", "/key/generate")
    assert status == 503
    assert json.loads(body)["error"]["code"] == "audit_unavailable"


def test_a_wrong_key_or_period_is_refused_at_the_start() -> None:
    with pytest.raises(KeyFormatError, match="43 characters"):
        Audit("postgresql://nowhere", "short", SETTINGS)
    with pytest.raises(ValidationError, match="acts_days"):
        AuditSettings(acts_days=0, requests_days=1)
