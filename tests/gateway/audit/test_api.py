"""The routes of the audit, as an operator's command line calls them. Needs PostgreSQL 15's programs."""

import asyncio
from dataclasses import dataclass
from typing import Annotated, Any

import httpx
import psycopg
import pytest
from fastapi import FastAPI, Header
from gateway.audit.doing import act
from llmaas_gateway.audit.api import AuditServices, include
from llmaas_gateway.audit.log import AuditLog
from llmaas_gateway.audit.signing import Signer

SPAN = {"since": "2020-01-01", "until": "2100-01-01"}


@dataclass
class Caller:
    user_role: str
    api_key: str | None = None
    team_metadata: None = None


async def authenticate(authorization: Annotated[str, Header()] = "") -> Caller:
    return Caller("proxy_admin" if authorization == "Bearer sk-master" else "internal_user")


def _ask(database: str, signer: Signer, method: str, path: str, *, key: str = "sk-master", **options: Any) -> Any:
    app = FastAPI()

    @app.get("/{path:path}")
    async def swallow(path: str) -> str:
        return path

    include(app, AuditServices(AuditLog(database), signer, authenticate))

    async def ask() -> httpx.Response:
        headers = {"authorization": f"Bearer {key}", "x-llmaas-operator": "jeanne"}
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://x", headers=headers) as client:
            return await client.request(method, f"/llmaas/audit{path}", **options)

    return asyncio.run(ask())


def test_an_export_ends_with_its_end_and_is_an_act_itself(database: str, signer: Signer) -> None:
    asyncio.run(AuditLog(database).append([act(1)]))
    answer = _ask(database, signer, "GET", "/export", params={**SPAN, "tenant": "acme"})
    lines = answer.text.splitlines()
    assert answer.status_code == 200
    assert lines[0] == '{"file":"manifest.jsonl"}'
    assert lines[-1] == '{"end":true}'
    with psycopg.connect(database) as connection:
        bodies = connection.execute("SELECT body FROM audit.record ORDER BY number").fetchall()
    assert [("audit.export" in body) for (body,) in bodies] == [False, True]


@pytest.mark.parametrize(
    ("query", "status", "words"),
    [
        ({**SPAN, "tenant": "nobody"}, 404, "nobody"),
        ({"since": "2026-12-01", "until": "2026-11-01"}, 400, "is not before"),
        ({"since": "yesterday", "until": "2026-11-01"}, 400, "since"),
    ],
)
def test_an_export_of_nothing_is_refused_and_leaves_no_record(
    database: str, signer: Signer, query: dict[str, str], status: int, words: str
) -> None:
    answer = _ask(database, signer, "GET", "/export", params=query)
    assert answer.status_code == status
    assert words in answer.json()["error"]["message"]
    with psycopg.connect(database) as connection:
        assert connection.execute("SELECT count(*) FROM audit.stream").fetchone() == (0,)


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/export?since=2026-01-01&until=2026-02-01"), ("GET", "/key"), ("POST", "/acts")]
)
def test_a_tenant_s_key_opens_nothing(database: str, signer: Signer, method: str, path: str) -> None:
    body = {"action": "prices.record", "object": "prices.yaml"} if method == "POST" else None
    assert _ask(database, signer, method, path, key="sk-tenant", json=body).status_code == 403


def test_an_act_from_a_bastion_is_recorded_with_who_did_it(database: str, signer: Signer) -> None:
    body = {"action": "deployment.update", "object": "lab", "details": {"stack": "a" * 64}}
    answer = _ask(database, signer, "POST", "/acts", json=body)
    assert (answer.status_code, answer.json()["number"]) == (201, 1)
    with psycopg.connect(database) as connection:
        row = connection.execute("SELECT body FROM audit.record").fetchone()
    assert row is not None
    assert '"actor":"operator:jeanne"' in row[0]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"action": "key.create", "object": "x"}, "action"),
        ({"action": "prices.record", "object": ""}, "object"),
        ({"action": "prices.record", "object": "x", "details": {"price": 1.5}}, "details.price"),
        ({"action": "prices.record", "object": "x", "actor": "somebody"}, "actor"),
    ],
)
def test_an_act_that_must_not_come_this_way_is_refused(
    database: str, signer: Signer, body: dict[str, Any], words: str
) -> None:
    answer = _ask(database, signer, "POST", "/acts", json=body)
    assert answer.status_code == 400
    assert words in answer.json()["error"]["message"]


def test_the_public_key_is_told(database: str, signer: Signer) -> None:
    answer = _ask(database, signer, "GET", "/key").json()
    assert answer == {"id": signer.key, "public_key": signer.public_pem()}
