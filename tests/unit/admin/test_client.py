import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from llmaas.admin import AdminClient, AdminError, connect
from llmaas.admin.client import KeyLimits
from llmaas.admin.connection import open_http
from llmaas.pki import open_authority

TEAM = {"team_id": "t1", "team_alias": "demo", "models": ["granite3.3:8b"], "rpm_limit": 60, "spend": 0.5}
BARE = httpx.Response(404, json={"detail": "Not Found"})
MODELS = {"data": [{"id": "granite3.3:8b"}, {"id": "llama3.2:3b"}]}


class Gateway:
    """Answers as LiteLLM does, and keeps what it was asked."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self.answers, self.asked = answers, []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content) if request.content else None
        self.asked.append((request.method, request.url.path, body))
        answer = self.answers[request.url.path]
        if callable(answer):
            answer = answer(request)
        return answer if isinstance(answer, httpx.Response) else httpx.Response(200, json=answer)


def client(answers: dict[str, Any]) -> tuple[AdminClient, Gateway]:
    gateway = Gateway(
        {"/llmaas/tiers": BARE, "/team/list": [TEAM], "/v1/models": MODELS, "/key/list": _page([]), **answers}
    )
    return AdminClient(httpx.Client(base_url="https://admin.test", transport=httpx.MockTransport(gateway))), gateway


def _page(keys: list[dict[str, Any]], total: int = 1) -> dict[str, Any]:
    return {"keys": keys, "total_pages": total}


def test_a_tenant_is_a_team_with_its_name_as_alias() -> None:
    admin, gateway = client({"/team/new": {**TEAM, "team_id": "t2", "team_alias": "new"}})
    made = admin.create_tenant("new", KeyLimits(("granite3.3:8b",), 60, "10", "30d"))
    assert (made.id, made.name, made.requests_per_minute) == ("t2", "new", 60)
    assert gateway.asked[-1] == (
        "POST",
        "/team/new",
        {
            "team_alias": "new",
            "metadata": {"made_by": "llmaas"},
            "models": ["granite3.3:8b"],
            "rpm_limit": 60,
            "max_budget": 10.0,
            "budget_duration": "30d",
        },
    )


def test_a_second_tenant_of_the_same_name_is_refused_before_anything_is_made() -> None:
    admin, gateway = client({})
    with pytest.raises(AdminError, match="'demo' exists already"):
        admin.create_tenant("demo", KeyLimits())
    assert {method for method, _, _ in gateway.asked} == {"GET"}


def test_an_unknown_tenant_is_named_with_the_remedy() -> None:
    admin, _ = client({})
    with pytest.raises(AdminError, match="llmaas tenant create other"):
        admin.tenant("other")


def test_a_model_that_is_not_served_is_refused() -> None:
    admin, _ = client({})
    with pytest.raises(AdminError, match=r"no model 'gpt-9'; there are granite3\.3:8b, llama3\.2:3b"):
        admin.create_key(admin.tenant("demo"), "k", KeyLimits(("gpt-9",)), None)


def test_a_key_is_not_granted_more_than_its_tenant() -> None:
    admin, _ = client({})
    with pytest.raises(AdminError, match=r"'demo' is not granted llama3\.2:3b; it has granite3\.3:8b"):
        admin.create_key(admin.tenant("demo"), "k", KeyLimits(("llama3.2:3b",)), None)


def test_a_new_key_is_shown_with_its_record() -> None:
    answer = {"key": "sk-text", "token": "hash", "key_alias": "k", "team_id": "t1", "expires": "2026-12-24T00:00:00Z"}
    admin, gateway = client({"/key/generate": answer})
    made = admin.create_key(admin.tenant("demo"), "k", KeyLimits(), "30d")
    assert (made.key, made.record.id, made.record.name) == ("sk-text", "hash", "k")
    assert made.record.expires is not None
    assert made.record.expires.isoformat() == "2026-12-24T00:00:00+00:00"
    assert gateway.asked[-1][2] == {"team_id": "t1", "key_alias": "k", "duration": "30d"}


def test_keys_of_every_page_are_listed() -> None:
    def page(request: httpx.Request) -> dict[str, Any]:
        number = request.url.params["page"]
        return _page([{"token": f"h{number}", "key_alias": f"k{number}", "team_id": "t1"}], 3)

    admin, _ = client({"/key/list": page})
    assert [key.name for key in admin.list_keys()] == ["k1", "k2", "k3"]


def test_a_key_is_blocked_everywhere_before_it_is_deleted() -> None:
    answers = {"/key/list": _page([{"token": "h", "key_alias": "k"}]), "/key/delete": {"deleted_keys": ["h"]}}
    admin, gateway = client({**answers, "/key/block": {}})
    admin.revoke_key(admin.list_keys()[0])
    assert gateway.asked[-2:] == [("POST", "/key/block", {"key": "h"}), ("POST", "/key/delete", {"keys": ["h"]})]


def test_a_key_that_the_gateway_did_not_delete_is_an_error() -> None:
    answers = {"/key/list": _page([{"token": "h", "key_alias": "k"}]), "/key/delete": {"deleted_keys": []}}
    admin, _ = client({**answers, "/key/block": {}})
    with pytest.raises(AdminError, match="was not revoked"):
        admin.revoke_key(admin.list_keys()[0])


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (httpx.Response(401, json={"error": {"message": "bad key"}}), "check LLMAAS_ADMIN_KEY"),
        (httpx.Response(400, json={"detail": {"error": "Team is broken"}}), "answered 400: Team is broken"),
        (httpx.Response(500, text="oops"), "answered 500: oops"),
        (httpx.Response(200, text="<html>"), "answered no JSON"),
    ],
)
def test_every_failure_says_what_to_do(answer: httpx.Response, words: str) -> None:
    admin, _ = client({"/team/list": answer})
    with pytest.raises(AdminError, match=words):
        admin.tenants()


def test_a_gateway_that_does_not_answer_is_an_error_with_its_address() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    admin, _ = client({"/team/list": refuse})
    with pytest.raises(AdminError, match=r"no answer from https://admin\.test/team/list"):
        admin.tenants()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "LLMAAS_ADMIN_URL and LLMAAS_ADMIN_KEY not set"),
        ({"LLMAAS_ADMIN_URL": "https://x"}, "LLMAAS_ADMIN_KEY not set"),
        ({"LLMAAS_ADMIN_URL": "http://x", "LLMAAS_ADMIN_KEY": "k"}, "only over https"),
        ({"LLMAAS_ADMIN_URL": "https://x", "LLMAAS_ADMIN_KEY": "k", "SSL_CERT_FILE": "/no"}, "/no, which is no file"),
    ],
)
def test_missing_variables_are_named(monkeypatch: pytest.MonkeyPatch, given: dict[str, str], words: str) -> None:
    for name in ("LLMAAS_ADMIN_URL", "LLMAAS_ADMIN_KEY", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(AdminError, match=words):
        connect(None)


def test_the_environments_variable_counts_where_no_address_is_given(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in {"LLMAAS_ENVIRONMENT": "production", "LLMAAS_STATE": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    for name in ("LLMAAS_ADMIN_URL", "LLMAAS_ADMIN_KEY", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(AdminError, match="environment 'production' has no certificates on this machine"):
        connect(None)
    open_authority("production")
    with open_http(None) as http:
        assert http.base_url == "https://10.20.0.21:8444"
    # an address that somebody gave is not overruled
    monkeypatch.setenv("LLMAAS_ADMIN_URL", "https://admin.test")
    with pytest.raises(AdminError, match="LLMAAS_ADMIN_KEY not set"):
        connect(None)
    monkeypatch.setenv("LLMAAS_ADMIN_KEY", "k")
    with open_http(None) as http:
        assert http.base_url == "https://admin.test"


def test_a_litellm_without_the_gateway_knows_no_tiers_and_says_so() -> None:
    admin, gateway = client({})
    for act in (lambda: admin.create_tenant("new", KeyLimits(), tier="T1"), lambda: admin.rotate_key("k")):
        with pytest.raises(AdminError, match="runs here without the gateway"):
            act()
    assert {method for method, _, _ in gateway.asked} == {"GET"}


def test_budgets_of_litellm_are_shown_without_the_noise_of_floating_point() -> None:
    admin, _ = client({"/key/list": _page([{"token": "h", "key_alias": "k", "max_budget": 0.1, "spend": 1e-06}])})
    key = admin.list_keys()[0]
    assert (f"{key.budget_eur:f}", f"{key.spend_eur:f}") == ("0.1", "0.000001")


def test_requests_a_minute_of_a_key_are_shown_wherever_they_are_kept() -> None:
    own = {"token": "a", "key_alias": "a", "metadata": {"requests_per_minute": 7}}
    older = {"token": "b", "key_alias": "b", "rpm_limit": 5, "metadata": {}}
    both = {"token": "c", "key_alias": "c", "rpm_limit": 5, "metadata": {"requests_per_minute": 4}}
    admin, _ = client({"/key/list": _page([own, older, both, {"token": "d", "key_alias": "d"}])})
    assert [key.requests_per_minute for key in admin.list_keys()] == [7, 5, 4, None]


@pytest.mark.parametrize(
    ("names", "header"),
    [
        ({"LLMAAS_OPERATOR": "ada"}, "ada"),
        ({"SUDO_USER": "Jean Dupont!"}, "Jean-Dupont"),
        ({"LLMAAS_OPERATOR": "!"}, "unknown"),
    ],
)
def test_the_audit_is_told_who_asks(monkeypatch: pytest.MonkeyPatch, names: dict[str, str], header: str) -> None:
    for name in ("LLMAAS_OPERATOR", "SUDO_USER", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"LLMAAS_ADMIN_URL": "https://x", "LLMAAS_ADMIN_KEY": "k", **names}.items():
        monkeypatch.setenv(name, value)
    with open_http(None) as http:
        assert http.headers["X-Llmaas-Operator"] == header
