import datetime as dt
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import openai
import pytest
from api.environment import ENTRANCES, PLATFORM, SERVED, TENANT, MakeKey

from llmaas.admin import AdminClient, Tenant

Client = Callable[..., openai.OpenAI]
QUESTION = [{"role": "user", "content": "Bonjour"}]
REVOKED_WITHIN_SECONDS = 5.0
LIMIT = 3


def _refusal(client: openai.OpenAI, model: str = SERVED[0]) -> openai.APIStatusError | None:
    try:
        client.chat.completions.create(model=model, messages=QUESTION, max_tokens=2)
    except openai.APIStatusError as error:
        return error
    return None


def _ask(client: openai.OpenAI, model: str = SERVED[0]) -> int:
    refusal = _refusal(client, model)
    return 200 if refusal is None else refusal.status_code


def test_over_the_limit_is_429(client_of: Client, make_key: MakeKey) -> None:
    limited = make_key(requests_per_minute=LIMIT).key
    clients = [client_of(limited, ENTRANCES[n % len(ENTRANCES)]) for n in range(4 * LIMIT)]
    with ThreadPoolExecutor(len(clients)) as pool:
        refusals = [refusal for refusal in pool.map(_refusal, clients) if refusal is not None]
    # A minute may turn over in between: then twice the limit pass, never more.
    assert LIMIT <= len(clients) - len(refusals) <= 2 * LIMIT
    for refusal in refusals:
        assert isinstance(refusal, openai.RateLimitError)
        assert (refusal.type, refusal.code) == ("requests", "rate_limit_exceeded")
        assert "key-requests-minute" in refusal.message
        assert 0 < int(refusal.response.headers["retry-after"]) <= 60


def test_a_model_that_is_not_granted_is_refused(client_of: Client, make_key: MakeKey) -> None:
    client = client_of(make_key(models=(SERVED[0],)).key)
    assert _ask(client, SERVED[0]) == 200
    assert _ask(client, SERVED[1]) in {401, 403}


def test_a_spent_budget_is_429(client_of: Client, make_key: MakeKey) -> None:
    client = client_of(make_key(budget_eur="0.000001").key)
    deadline = time.monotonic() + 60
    status = _ask(client)
    while status == 200 and time.monotonic() < deadline:
        time.sleep(1)
        status = _ask(client)
    assert status == 429


def test_a_revoked_key_stops_within_seconds_at_every_replica(
    client_of: Client, make_key: MakeKey, admin: AdminClient
) -> None:
    made = make_key()
    clients = [client_of(made.key, entrance) for entrance in ENTRANCES for _ in range(4)]
    assert {_ask(client) for client in clients} == {200}
    admin.revoke_key(made.record)
    revoked = time.monotonic()
    last_answer = revoked
    while time.monotonic() - revoked < 3 * REVOKED_WITHIN_SECONDS:
        if 200 in {_ask(client) for client in clients}:
            last_answer = time.monotonic()
        elif time.monotonic() - last_answer > REVOKED_WITHIN_SECONDS:
            break
        time.sleep(0.5)
    assert last_answer - revoked < REVOKED_WITHIN_SECONDS


def test_a_key_ends_when_it_was_said_to_end(client_of: Client, make_key: MakeKey) -> None:
    made = make_key(expires="5s")
    assert made.record.expires is not None
    assert made.record.expires - dt.datetime.now(dt.UTC) < dt.timedelta(seconds=10)
    time.sleep(6)
    assert _ask(client_of(made.key)) == 401


def test_keys_are_listed_by_hash_and_never_by_text(admin: AdminClient, make_key: MakeKey, tenant: Tenant) -> None:
    made = make_key(models=(SERVED[0],), requests_per_minute=7, budget_eur="1.5")
    (listed,) = [key for key in admin.list_keys(tenant) if key.name == made.record.name]
    assert (listed.models, listed.requests_per_minute, listed.budget_eur) == ((SERVED[0],), 7, Decimal("1.5"))
    assert made.key.removeprefix("sk-") not in repr(admin.list_keys())


def test_the_command_line_makes_lists_and_revokes_a_key(tenant: Tenant, client_of: Client) -> None:
    made = json.loads(_llmaas("key", "create", "--tenant", TENANT, "--expires", "1h", "--json"))
    try:
        assert _ask(client_of(made["key"])) == 200
        assert made["name"] in {key["name"] for key in json.loads(_llmaas("key", "list", "--json"))}
        assert tenant.name in {entry["name"] for entry in json.loads(_llmaas("tenant", "list", "--json"))}
    finally:
        _llmaas("key", "revoke", made["name"])
    assert made["name"] not in {key["name"] for key in json.loads(_llmaas("key", "list", "--json"))}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("key", "create", "--tenant", "nobody"), "there is no tenant 'nobody'"),
        (("key", "create", "--tenant", TENANT, "--model", "gpt-9"), "no model 'gpt-9'"),
        (("key", "revoke", "no-such-key"), "there is no key 'no-such-key'"),
        (("tenant", "create", TENANT), "exists already"),
    ],
)
@pytest.mark.usefixtures("tenant")
def test_a_mistake_on_the_command_line_is_told_in_plain_words(arguments: tuple[str, ...], words: str) -> None:
    done = _run(*arguments)
    assert done.returncode == 1
    assert words in done.stderr


def _llmaas(*arguments: str) -> str:
    done = _run(*arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "llmaas.cli", *arguments, "-e", PLATFORM.environment]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "COLUMNS": "500"})
