"""A model server that keeps silent: the call ends in time, its slot is free again, and only what came is paid for."""

import time
from collections.abc import Callable

import httpx
import pytest

from .client import ask, error_of, events
from .stack import ANSWER_SECONDS, SILENCE_SECONDS, Proxy, Stack

NewKey = Callable[..., tuple[str, str]]
# What the proxy itself may take on a busy machine.
SLACK = 6
PATHS = ["/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages"]


def nothing_is_held(stack: Stack, tenant: str) -> bool:
    return not any(stack.used(f"tenant:{tenant}", name)["held"] for name in ("parallel-requests", "spend-month"))


@pytest.mark.parametrize(
    ("path", "stream"), [*((path, stream) for path in PATHS for stream in (False, True)), ("/v1/embeddings", False)]
)
def test_a_model_that_never_answers_is_a_504_in_time_and_costs_nothing(
    stack: Stack, impatient: Proxy, new_key: NewKey, path: str, *, stream: bool
) -> None:
    httpx.delete(f"{stack.upstream_url}/seen")
    tenant, key = new_key("narrow")
    begun = time.monotonic()
    answer = ask(impatient, key, path, silent=True, **({"stream": True} if stream else {}))
    assert ANSWER_SECONDS <= time.monotonic() - begun < ANSWER_SECONDS + SLACK
    assert answer.status_code == 504
    assert answer.headers["x-ratelimit-remaining-parallel-requests"] == "2"
    if path == "/v1/messages":
        assert answer.json()["error"]["type"] == "timeout_error"
    else:
        assert (error_of(answer)["type"], error_of(answer)["code"]) == ("server_error", "gateway_timeout")
    [record] = stack.wait_for_records(tenant, 1)
    assert (record["status"], record["counts"], record["nano_eur"]) == ("error", {}, 0)
    assert nothing_is_held(stack, tenant)
    # The model server is not left working for nobody, and was asked once.
    stack.wait_until(lambda: stack.seen()["gone_after"] == [0], "the model to be told", 5)
    assert len(stack.seen()["bodies"]) == 1


def test_a_stream_that_begins_without_a_piece_is_a_504_too(stack: Stack, impatient: Proxy, new_key: NewKey) -> None:
    """The model server answers at once that a stream will come, and sends none."""
    httpx.delete(f"{stack.upstream_url}/seen")
    tenant, key = new_key("narrow")
    answer = ask(impatient, key, stream=True, silent_after=0)
    assert (answer.status_code, error_of(answer)["code"]) == (504, "gateway_timeout")
    assert [record["nano_eur"] for record in stack.wait_for_records(tenant, 1)] == [0]
    assert nothing_is_held(stack, tenant)
    stack.wait_until(lambda: stack.seen()["gone_after"] == [0], "the model to be told", 5)


@pytest.mark.parametrize("path", PATHS)
def test_a_stream_that_stops_for_good_ends_with_an_error_and_costs_what_came(
    stack: Stack, impatient: Proxy, new_key: NewKey, path: str
) -> None:
    httpx.delete(f"{stack.upstream_url}/seen")
    tenant, key = new_key("narrow")
    begun = time.monotonic()
    answer = ask(impatient, key, path, stream=True, output=50, silent_after=7)
    assert SILENCE_SECONDS <= time.monotonic() - begun < SILENCE_SECONDS + SLACK
    assert answer.status_code == 200
    told = events(answer)
    if path == "/v1/responses":
        assert (told[-1]["type"], told[-1]["response"]["error"]["code"]) == ("response.failed", "server_error")
    elif path == "/v1/messages":
        assert (told[-1]["type"], told[-1]["error"]["type"]) == ("error", "timeout_error")
    else:
        assert told[-1]["error"]["code"] == "gateway_timeout"
        assert sum(bool(event.get("choices")) for event in told) == 7
    assert "[DONE]" not in answer.text
    [record] = stack.wait_for_records(tenant, 1)
    assert (record["status"], record["counts"]) == ("cut", {"input": 10, "output": 7})
    assert nothing_is_held(stack, tenant)
    stack.wait_until(lambda: stack.seen()["gone_after"] == [7], "the model to be told", 5)


def test_a_stream_that_goes_on_slowly_is_not_ended(impatient: Proxy, new_key: NewKey) -> None:
    _, key = new_key("narrow")
    answer = ask(impatient, key, stream=True, output=5, pause=1.2)
    assert answer.text.rstrip().endswith("[DONE]")


def test_a_client_that_reads_slowly_is_not_taken_for_a_silent_model(impatient: Proxy, new_key: NewKey) -> None:
    _, key = new_key("open")
    whole = b""
    url, body = f"{impatient.url}/v1/chat/completions", {"model": "spare-model", "stream": True, "max_tokens": 3000}
    task = '{"output": 3000}'
    with httpx.stream(
        "POST",
        url,
        json={**body, "messages": [{"role": "user", "content": task}]},
        headers={"Authorization": f"Bearer {key}"},
        timeout=60,
    ) as answer:
        for number, piece in enumerate(answer.iter_raw()):
            whole += piece
            if number == 0:
                time.sleep(SILENCE_SECONDS + 1)
    assert whole.rstrip().endswith(b"[DONE]")
