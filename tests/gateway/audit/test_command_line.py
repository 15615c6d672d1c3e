"""``llmaas audit``: export over the administration side, verification offline. Needs PostgreSQL 15's programs."""

import asyncio
import json
from datetime import date
from pathlib import Path

import httpx
import pytest
from gateway.audit.doing import act, export, in_database
from llmaas_gateway.audit.heads import seal
from llmaas_gateway.audit.log import AuditLog
from llmaas_gateway.audit.signing import Signer
from typer.testing import CliRunner

from llmaas.admin import AdminError
from llmaas.admin.audit import fetch_export
from llmaas.admin.calls import Calls
from llmaas.admin.gateway import Gateway
from llmaas.cli.audit import app

SINCE, UNTIL = date(2020, 1, 1), date(2100, 1, 1)
FILE = '{"file":"manifest.jsonl"}\n{"a":1}\n'


@pytest.fixture
def key(signer: Signer, tmp_path: Path) -> Path:
    path = tmp_path / "audit.pem"
    path.write_text(signer.public_pem(), encoding="utf-8")
    return path


@pytest.fixture
def exported(database: str, signer: Signer, tmp_path: Path) -> Path:
    asyncio.run(AuditLog(database).append([act(n) for n in range(3)]))
    in_database(database, lambda connection: seal(connection, signer))
    folder = tmp_path / "export"
    folder.mkdir()
    export(database, signer, folder)
    return folder


def test_an_export_that_holds_is_told_with_code_0(exported: Path, key: Path) -> None:
    result = CliRunner().invoke(app, ["verify", str(exported), "--key", str(key)])
    signed_at = json.loads((exported / "manifest.jsonl").read_text(encoding="utf-8"))["statement"]["signed_at"]
    span = "from 2020-01-01T00:00:00+00:00 until before 2100-01-01T00:00:00+00:00"
    assert (result.exit_code, result.stdout.splitlines()) == (
        0,
        [
            f"{exported / 'manifest.jsonl'}: everything recorded {span}, as on {signed_at}",
            "4 records in 3 files: holds",
        ],
    )


def test_an_altered_record_is_told_with_file_and_line_and_code_1(exported: Path, key: Path) -> None:
    path = next(path for path in exported.iterdir() if "key.create" in path.read_text(encoding="utf-8"))
    path.write_text(path.read_text(encoding="utf-8").replace("key.create", "key.revoke", 1), encoding="utf-8")
    result = CliRunner().invoke(app, ["verify", str(exported), "--key", str(key)])
    assert result.exit_code == 1
    assert f"{path}, line 2: record 1 was altered" in result.stderr.replace("\n", " ")
    assert "DOES NOT HOLD" in result.stdout
    result = CliRunner().invoke(app, ["verify", str(exported), "--key", str(key), "--json"])
    assert json.loads(result.stdout)["problems"][0]["line"] == 2


@pytest.mark.parametrize("content", [None, "no key"])
def test_a_key_that_is_none_is_told_with_code_2(exported: Path, tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "other.pem"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    result = CliRunner().invoke(app, ["verify", str(exported), "--key", str(path)])
    assert result.exit_code == 2
    assert "--key" in result.stderr


def test_the_public_key_is_that_of_the_environment_s_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLMAAS_STATE", str(tmp_path))
    first, second = (CliRunner().invoke(app, ["key", "-e", "sample"]).stdout for _ in range(2))
    assert first == second
    assert first.startswith("-----BEGIN PUBLIC KEY-----")
    secret = (tmp_path / "sample" / "secrets" / "audit-signing-key").read_text(encoding="utf-8")
    assert Signer.from_secret(secret).public_pem() == first


def _http(body: str | httpx.Response) -> httpx.Client:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/llmaas/tenants/acme":
            return httpx.Response(200, json={"tenant": "t-1"})
        if isinstance(body, httpx.Response):
            return body
        assert dict(request.url.params) == {"since": "2020-01-01", "until": "2100-01-01", "tenant": "t-1"}
        return httpx.Response(200, text=body)

    return httpx.Client(base_url="https://admin.test", transport=httpx.MockTransport(answer))


def test_an_export_is_written_whole(tmp_path: Path) -> None:
    http = _http(FILE + '{"file":"audit-x-acts-2026-11.jsonl"}\n{"b":"\u2028é"}\n{"end":true}\n')
    files = fetch_export(http, tmp_path / "a" / "new", since=SINCE, until=UNTIL, tenant="acme")
    assert [path.read_text(encoding="utf-8") for path in files] == ['{"a":1}\n', '{"b":"\u2028é"}\n']


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (FILE, "was cut"),
        ("<html>", "another version"),
        ('{"file":"../x.jsonl"}\n{"end":true}\n', "names a file"),
        (httpx.Response(404, json={"error": {"message": "no audit records"}}), "404: no audit records"),
        (httpx.Response(502, text="bad gateway"), "502: bad gateway"),
    ],
)
def test_an_export_that_fails_leaves_nothing(tmp_path: Path, body: str | httpx.Response, words: str) -> None:
    with pytest.raises(AdminError, match=words):
        fetch_export(_http(body), tmp_path / "new", since=SINCE, until=UNTIL, tenant="acme")
    assert list(tmp_path.iterdir()) == []


def test_an_act_from_a_bastion_is_sent_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(201, json={"stream": "s", "number": 7, "hash": "h"})

    http = httpx.Client(base_url="https://admin.test", transport=httpx.MockTransport(answer))
    monkeypatch.setattr("llmaas.cli.audit.open_http", lambda _: http)
    result = CliRunner().invoke(app, ["record", "deployment.update", "lab", "--detail", "commit=abc=d"])
    assert (result.exit_code, result.stdout.strip()) == (0, "record 7 of stream s")
    body = {"action": "deployment.update", "object": "lab", "details": {"commit": "abc=d"}}
    assert [(request.method, request.url.path, json.loads(request.content)) for request in seen] == [
        ("POST", "/llmaas/audit/acts", body)
    ]
    assert CliRunner().invoke(app, ["record", "deployment.update", "lab", "--detail", "abc"]).exit_code == 2


def test_a_folder_that_is_there_is_not_touched(tmp_path: Path) -> None:
    with pytest.raises(AdminError, match="--into"):
        fetch_export(_http(FILE), tmp_path, since=SINCE, until=UNTIL, tenant="acme")


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    for folder in (file / "new", file / "further" / "new", Path("/proc/new")):
        with pytest.raises(AdminError, match=r"/(file|proc).*; choose another --into"):
            fetch_export(_http(FILE + '{"end":true}\n'), folder, since=SINCE, until=UNTIL, tenant="acme")
    assert list(tmp_path.iterdir()) == [file]


def test_all_that_is_held_on_a_tenant_may_take_minutes_to_be_found(tmp_path: Path) -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, text="{}")

    http = httpx.Client(base_url="https://admin.test", transport=httpx.MockTransport(answer), timeout=30)
    Gateway(Calls(http)).export("acme", tmp_path / "acme.json")
    assert [request.extensions["timeout"]["read"] for request in seen] == [300]
