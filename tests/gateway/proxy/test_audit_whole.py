"""The audit and the canary on real proxies: every call is chained once, what is exported holds, no text is kept."""

import json
import time
import uuid
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

import httpx
import psycopg
from llmaas_gateway.audit.signing import Signer, Verifier
from llmaas_gateway.audit.verify import verify_files

from llmaas.admin.audit import fetch_export
from llmaas.verify.canary.calls import (
    ANSWERED,
    CHAT,
    COMPLETIONS,
    EMBEDDINGS,
    MESSAGES,
    RESPONSES,
    CanaryCall,
    calls,
    send,
)
from llmaas.verify.canary.marker import Canary
from llmaas.verify.canary.search import Finder, search_files

from .client import ask, hang_up, request, wait_for_room_in_the_minute
from .stack import MASTER_KEY, Proxy, Stack, wait_until

NewKey = Callable[..., tuple[str, str]]
VERIFIER = Verifier.from_pems([Signer.from_secret("A" * 43).public_pem()])
# What is the model server's to refuse, and ours answers whatever it is asked; and faster than a client can leave.
NOT_HERE = {
    "client gone before the answer",
    "messages of a wrong type",
    "more than the context",
    "parameter of a wrong type",
    "value that the model server refuses",
    "wrong completion",
    "wrong embedding",
}


def _chained(stack: Stack, tenant: str) -> list[dict[str, object]]:
    query = (
        "SELECT body FROM audit.record JOIN audit.stream ON id = stream"
        " WHERE tenant = %s AND kind = 'requests' ORDER BY record.number"
    )
    with stack.postgres.connect() as connection:
        return [json.loads(body)["facts"] for (body,) in connection.execute(query, [tenant]).fetchall()]


def _export(proxy: Proxy, folder: Path, tenant: str | None = None) -> tuple[Path, ...]:
    headers = {"authorization": f"Bearer {MASTER_KEY}"}
    with httpx.Client(base_url=proxy.url, headers=headers, timeout=60) as http:
        return fetch_export(http, folder, since=date(2020, 1, 1), until=date(2100, 1, 1), tenant=tenant)


def test_every_replica_tells_prometheus_that_the_audit_is_intact(stack: Stack, proxies: list[Proxy]) -> None:
    def told() -> bool:
        lines = [httpx.get(f"{proxy.url}/metrics").text.splitlines() for proxy in proxies]
        return all("llmaas_audit_chain_intact 1.0" in each for each in lines)

    stack.wait_until(told, "the check of the audit", 30)


def test_every_call_at_any_replica_is_chained_once_and_the_export_holds(
    stack: Stack, proxies: list[Proxy], new_key: NewKey, tmp_path: Path
) -> None:
    tenant, key = new_key("slow")
    wait_for_room_in_the_minute()
    for proxy in proxies:
        assert ask(proxy, key).status_code == 200
    assert [ask(proxies[0], key).status_code for _ in range(5)] == [429] * 5
    other, busy = new_key("open")
    for proxy in proxies:
        ask(proxy, busy, stream=True)
        ask(proxy, busy, status=500)
        hang_up(proxy, busy, 2, output=50, pause=0.05)
    wait_until(lambda: sum(int(f.get("count", 0)) for f in _chained(stack, tenant)) == 5, "refusals are chained", 60)
    wait_until(lambda: len(_chained(stack, other)) == 9, "calls are chained", 60)
    for name in (tenant, other):
        recorded = {record["request_id"] for record in stack.records(name)}
        chained = [facts["request_id"] for facts in _chained(stack, name) if facts["action"] == "request"]
        assert sorted(chained) == sorted(recorded)
    whole = verify_files(_export(proxies[1], tmp_path / "whole"), VERIFIER)
    assert (whole.problems, whole.notes) == ([], [])
    own = _export(proxies[2], tmp_path / "own", tenant=tenant)
    assert verify_files(own, VERIFIER).holds
    assert other not in "".join(path.read_text(encoding="utf-8") for path in own)


def test_calls_that_litellm_s_check_of_the_key_or_the_wrapper_refuses_are_counted(
    stack: Stack, proxy: Proxy, new_key: NewKey
) -> None:
    tenant, key = new_key("open")
    few = stack.key(proxy, tenant, models=["spare-model"])
    nobody = f"sk-{uuid.uuid4().hex}"

    def unknown() -> list[tuple[object, ...]]:
        return [
            (f["endpoint"], f["model"], f["status"], f["code"], f["count"])
            for f in _chained(stack, "")
            if f["endpoint"] == "/v1/completions"
        ]

    for _ in range(3):
        assert ask(proxy, few).status_code == 403
    large = {"content": b"x" * 5_000_000, "headers": {"authorization": f"Bearer {key}"}, "timeout": 60}
    assert httpx.post(f"{proxy.url}/v1/chat/completions", **large).status_code == 413
    assert ask(proxy, nobody, "/v1/completions").status_code == 401
    assert ask(proxy, f"{nobody}-2", "/v1/completions", model=nobody).status_code == 401
    without = httpx.post(f"{proxy.url}/v1/completions", json={"model": "chat-model", "prompt": "x"}, timeout=60)
    assert (without.status_code, set(without.json()["error"])) == (401, {"message", "type", "param", "code"})
    wait_until(lambda: sum(int(str(f["count"])) for f in _chained(stack, tenant)) == 4, "refusals are chained", 60)
    wait_until(lambda: len(unknown()) == 3, "those of unknown keys are chained", 60)
    assert sorted((f["action"], f["status"], f["code"], f["model"]) for f in _chained(stack, tenant)) == [
        ("request.refused", 403, "key_model_access_denied", "chat-model"),
        ("request.refused", 413, "request_too_large", ""),
    ]
    # Neither the key nor what it asked for is kept.
    assert sorted(unknown()) == [
        ("/v1/completions", "", 401, "auth_error", 1),
        ("/v1/completions", "", 401, "token_not_found_in_db", 1),
        ("/v1/completions", "chat-model", 401, "token_not_found_in_db", 1),
    ]
    assert nobody not in stack.dump()


def test_acts_at_litellm_s_own_routes_and_what_is_in_force_are_recorded(stack: Stack, proxy: Proxy) -> None:
    alias = f"a-{uuid.uuid4().hex}"
    stack.admin.post(f"{proxy.url}/key/generate", json={"key_alias": alias}).raise_for_status()

    def platform() -> list[str]:
        query = (
            "SELECT body FROM audit.record JOIN audit.stream ON id = stream WHERE tenant = '' ORDER BY record.number"
        )
        with stack.postgres.connect() as connection:
            return [body for (body,) in connection.execute(query).fetchall()]

    def outcomes() -> list[object]:
        facts = [json.loads(body)["facts"] for body in platform()]
        return [f["details"].get("outcome") for f in facts if f["action"] == "litellm.key.generate"]

    # What came of it is written after it was answered.
    wait_until(lambda: outcomes()[-2:] == [None, 200], "the outcome is recorded", 20)
    bodies = platform()
    facts = [json.loads(body)["facts"] for body in bodies]
    for what in ("prices", "catalogue", "tiers"):
        in_force = [f["details"]["sha256"] for f in facts if f["action"] == f"{what}.in_force"]
        assert in_force  # of replicas that run with the same only the first left a record
        assert len(in_force) == len(set(in_force))
    assert alias not in "".join(bodies)


def _silences(canary: Canary) -> list[CanaryCall]:
    """Calls to a model that never answers, or that stops in mid-stream for good."""
    texts = (CHAT, COMPLETIONS, MESSAGES, RESPONSES)
    whole = [
        CanaryCall("silence", path, request(path, silent=True, name=canary.text), frozenset({504}))
        for path in (*texts, EMBEDDINGS)
    ]
    streams = [
        CanaryCall(kind, path, request(path, stream=True, output=20, name=canary.text, **task), ends, "stream")
        for path in texts
        for kind, task, ends in (
            ("silence for a stream", {"silent": True}, frozenset({504})),
            ("silence in the stream", {"silent_after": 3}, ANSWERED),
        )
    ]
    return whole + streams


def test_a_canary_is_kept_nowhere_whatever_happens_to_its_calls(
    stack: Stack, proxies: list[Proxy], impatient: Proxy, new_key: NewKey
) -> None:
    canary, since = Canary(), time.time() - 5
    tenant, key = new_key("open")
    _, few = new_key("slow")

    def told(kind: str, **task: object) -> CanaryCall:
        text = json.dumps({"canary": canary.text, **task})
        body = {"model": "chat-model", "messages": [{"role": "user", "content": text}], "max_tokens": 50}
        stream = "die_after" in task or "pause" in task
        way = {"pause": "leave in the stream", "delay": "leave before the answer"}
        chosen = next((way[name] for name in task if name in way), "stream" if stream else "whole")
        return CanaryCall(kind, CHAT, {**body, "stream": stream}, frozenset(range(600)), chosen)  # type: ignore[arg-type]

    failures = [
        told("the model server fails", status=500),
        told("it refuses", status=400),
        told("it is overloaded", status=429),
        told("it fails once", fail_first=1, name=canary.control),
        told("another model takes over", fail_model="chat-model"),
        told("it dies in the stream", output=20, die_after=3),
        told("the client leaves it waiting", delay=3),
        told("the client leaves in the stream", output=40, pause=0.05),
    ]
    wrong = []
    for proxy in proxies[:2]:
        with httpx.Client(base_url=proxy.url, timeout=60) as http:
            for call in calls(canary, "chat-model", 4096):
                outcome = send(http, call, key)
                if not outcome.as_expected and call.kind not in NOT_HERE:
                    wrong.append(f"{call.kind}: {outcome.status}")
            for call in failures:
                send(http, call, key)
            limited = [send(http, told("over the limit"), few).status for _ in range(4)]
            assert 429 in limited
    silences, (waiting, patient) = _silences(canary), new_key("open")
    ask(impatient, key)  # a proxy's first call takes longer than this one waits for a stream to begin
    with httpx.Client(base_url=impatient.url, timeout=60) as http, ThreadPoolExecutor(3) as pool:
        ended = list(pool.map(lambda call: send(http, call, patient), silences))
    wrong += [f"{o.call.kind} at {o.call.path}: {o.status}" for o in ended if not o.as_expected]
    assert wrong == []
    records = stack.wait_for_records(waiting, len(silences))
    assert Counter(record["status"] for record in records) == {"error": 9, "cut": 4}  # the gateway's clock ended them
    time.sleep(15)  # records and spend are written some seconds after a call
    with psycopg.connect(stack.postgres.url, autocommit=True) as connection:
        connection.execute("CHECKPOINT")
    finder = Finder({**canary.patterns(), "control": b"ledger.record"})
    finder.feed(stack.dump().encode())
    assert finder.found == {"control"}
    # Files of the database and of Redis, and the logs of all processes; the tenant's identifier must be in some.
    found = search_files([str(stack.folder)], since, {**canary.patterns(), "control": tenant.encode()})
    assert found["problems"] == []
    assert {form for _, form in found["hits"]} == {"control"}
