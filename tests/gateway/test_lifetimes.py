"""What tenants are told of a model's life: in the list of models, and with each call to a model that ends."""

import asyncio
import json
from typing import Any

from llmaas_gateway.asgi import JSON, Message
from llmaas_gateway.lifecycle import Lifecycle
from llmaas_gateway.proxy.lifetimes import Lifetimes, ModelList

ENDS = {"Deprecation": "@1790000000", "Sunset": "Wed, 31 Mar 2027 23:59:59 GMT", "Link": '</v1/models/new>; rel="x"'}


def life(phase: str, headers: dict[str, str]) -> dict[str, Any]:
    return {
        "lifecycle": {"phase": phase},
        "context_tokens": 1024,
        "capabilities": ["chat"],
        "licence": "Apache-2.0",
        "headers": headers,
    }


LIFETIMES = Lifetimes(
    Lifecycle.model_validate(
        {"periods": [{"from": "2000-01-01", "models": {"old": life("deprecated", ENDS), "new": life("stable", {})}}]}
    )
)


def answered(status: int, body: bytes, lifetimes: Lifetimes = LIFETIMES) -> tuple[dict[bytes, bytes], bytes]:
    """What a client gets of an answer of LiteLLM that comes in two pieces."""
    sent: list[Message] = []

    async def client(message: Message) -> None:
        sent.append(message)

    async def answer() -> None:
        send = ModelList(lifetimes, client).send
        headers = [JSON, (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body[:5], "more_body": True})
        await send({"type": "http.response.body", "body": body[5:]})

    asyncio.run(answer())
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    assert sent[0]["status"] == status
    return dict(sent[0]["headers"]), sent[1]["body"]


def test_the_list_of_models_says_what_is_promised_of_each() -> None:
    body = json.dumps({"object": "list", "data": [{"id": "old"}, {"id": "new"}, {"id": "other"}]}).encode()
    headers, found = answered(200, body)
    data = json.loads(found)["data"]
    assert [entry.get("lifecycle") for entry in data] == [{"phase": "deprecated"}, {"phase": "stable"}, None]
    assert data[0]["context_tokens"] == 1024
    assert "headers" not in data[0]
    assert headers[b"content-length"] == str(len(found)).encode()


def test_one_model_says_so_too() -> None:
    assert json.loads(answered(200, b'{"id": "new", "object": "model"}')[1])["licence"] == "Apache-2.0"


def test_an_error_and_what_is_no_json_pass_as_they_are() -> None:
    assert answered(401, b'{"id": "new"}')[1] == b'{"id": "new"}'
    assert answered(200, b"no json")[1] == b"no json"


def test_a_call_to_a_model_that_ends_carries_its_headers_and_no_other_call_does() -> None:
    assert dict(LIFETIMES.headers("old")) == {name.lower().encode(): value.encode() for name, value in ENDS.items()}
    assert LIFETIMES.headers("new") == LIFETIMES.headers("unknown") == []


def test_without_a_lifecycle_file_nothing_is_said() -> None:
    nothing = Lifetimes(None)
    assert nothing.headers("old") == []
    assert answered(200, b'{"id": "old"}', nothing)[1] == b'{"id": "old"}'
