"""Tiers, credit, usage and invoices through the entrances of a live environment whose LiteLLM carries the gateway."""

import secrets
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from zoneinfo import ZoneInfo

import httpx
import openai
import pytest
from api.environment import ENTRANCES, PLATFORM, SERVED
from llmaas_gateway.price_file import load_price_book

from llmaas.admin import AdminClient, AdminError, Tenant
from llmaas.admin.client import KeyLimits
from llmaas.admin.gateway import Gateway
from llmaas.cli.price import PRICES

Client = Callable[..., openai.OpenAI]
WITHIN_SECONDS = 5.0
QUESTION = [{"role": "user", "content": "Bonjour"}]
TIER = next(tier for tier in PLATFORM.tiers if tier.billing == "prepaid")


@pytest.fixture(scope="module")
def gateway(admin: AdminClient) -> Gateway:
    return admin.with_gateway()


@pytest.fixture(scope="module")
def account(admin: AdminClient, gateway: Gateway) -> Iterator[Tenant]:
    """A prepaid tenant of these tests alone; it is erased at the end, its records stay."""
    made = admin.create_tenant(f"accounts-{secrets.token_hex(4)}", KeyLimits(), tier=TIER.name)
    yield made
    gateway.erase(made.id, made.name)


@pytest.fixture(scope="module")
def text(admin: AdminClient, account: Tenant) -> str:
    """A key's text."""
    return admin.create_key(account, f"accounts-{secrets.token_hex(4)}", KeyLimits(), "1h").key


def _status(client: openai.OpenAI) -> int:
    try:
        client.chat.completions.create(model=SERVED[0], messages=QUESTION, max_tokens=2)  # type: ignore[arg-type]
    except openai.APIStatusError as error:
        return error.status_code
    return 200


def _month() -> str:
    return datetime.now(ZoneInfo(load_price_book(PRICES).time_zone)).strftime("%Y-%m")


def _settled(gateway: Gateway, tenant: Tenant, calls: int) -> dict[str, object]:
    """This month's draft once it has so many calls."""
    deadline = time.monotonic() + 30
    while True:
        draft = gateway.invoice(tenant.id, _month())
        if draft["calls"] >= calls or time.monotonic() > deadline:
            return draft
        time.sleep(0.5)


def test_answers_tell_the_limits_of_the_tier(web: httpx.Client, text: str) -> None:
    body = {"model": SERVED[0], "messages": QUESTION, "max_tokens": 2}
    answer = web.post("/v1/chat/completions", json=body, headers={"Authorization": f"Bearer {text}"}, timeout=120)
    assert answer.status_code == 200
    assert answer.headers["x-ratelimit-limit-credit"].startswith(f"{TIER.prepaid_eur}.")
    assert answer.headers["x-ratelimit-limit-requests-minute"] == str(TIER.requests_per_minute)
    assert answer.headers["x-ratelimit-limit-output-tokens-hour"] == str(TIER.output_tokens_per_hour)


def test_what_a_tenant_sees_is_what_its_invoice_says(
    gateway: Gateway, account: Tenant, web: httpx.Client, text: str, client_of: Client
) -> None:
    before = _settled(gateway, account, 0)["calls"]
    assert [_status(client_of(text, entrance)) for entrance in ENTRANCES] == [200] * len(ENTRANCES)
    draft = _settled(gateway, account, int(str(before)) + len(ENTRANCES))
    own = web.get("/v1/usage", headers={"Authorization": f"Bearer {text}"})
    assert own.status_code == 200, own.text
    assert sum(group["nano_eur"] for group in own.json()["data"]) == draft["total_nano_eur"]
    calls = web.get("/v1/usage/requests", headers={"Authorization": f"Bearer {text}"}).json()["data"]
    assert len(calls) == draft["calls"]
    assert sum(call["nano_eur"] for call in calls) == draft["total_nano_eur"]


def test_a_month_that_is_not_closed_has_no_invoice(gateway: Gateway, account: Tenant) -> None:
    with pytest.raises(AdminError, match="is not closed"):
        gateway.issue_invoice(account.id, _month())


def test_suspension_holds_at_every_entrance_within_five_seconds(
    gateway: Gateway, account: Tenant, text: str, client_of: Client
) -> None:
    # Every entrance spreads its calls over all replicas: several clients each reach all of them.
    clients = [client_of(text, entrance) for entrance in ENTRANCES for _ in range(4)]
    for act, status in ((gateway.suspend, 403), (gateway.resume, 200)):
        act(account.id)
        time.sleep(WITHIN_SECONDS)
        assert {_status(client) for client in clients} == {status}


@pytest.mark.usefixtures("account")
def test_counters_records_and_invoices_agree(gateway: Gateway) -> None:
    result = gateway.reconcile()
    assert [finding for finding in result["findings"] if finding["check"] != "spend"] == []
