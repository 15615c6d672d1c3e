"""What anybody may send is read at a cost that grows with it and no faster, and beside everybody else's."""

import asyncio
import contextlib
import json
import sys
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from llmaas_gateway.asgi import JSON, Header, Message, Receive, Scope, Send, answer
from llmaas_gateway.isolation import places
from llmaas_gateway.isolation.requests import Bounds, RequestRefusedError, sanitise
from llmaas_gateway.proxy import bodies
from llmaas_gateway.proxy.call import CURRENT, Call
from llmaas_gateway.proxy.lifetimes import Lifetimes
from llmaas_gateway.proxy.precedence import Precedence
from llmaas_gateway.proxy.settings import GatewaySettings
from llmaas_gateway.proxy.wrapper import Gateway

SETTINGS = GatewaySettings.model_validate(
    {
        "prices": "prices.yaml",
        "models": [{"name": "m", "context_tokens": 1000}],
        "tiers": [{"name": "t", "billing": "monthly", "priority": "normal", "requests_per_minute": 1}],
    }
)
KEY = (b"authorization", b"Bearer sk-1")
LONG = "k" * 10_000


def characters_handed_on(action: Callable[[], object]) -> int:
    """Of the texts that the functions that make requests safe give each other, places among them."""
    folder, handed = str(Path(places.__file__).parent), 0

    def watch(frame: FrameType, event: str, _: Any) -> None:
        nonlocal handed
        if event == "call" and frame.f_code.co_filename.startswith(folder):
            handed += sum(len(value) for value in frame.f_locals.values() if isinstance(value, str))

    before = sys.getprofile()
    sys.setprofile(watch)
    try:
        action()
    finally:
        sys.setprofile(before)
    return handed


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    "elements", [[1] * 500, [[1]] * 500, [{"a": 1}] * 500, [*[1] * 500, "\ud800"], [*[1] * 500, {"url": "http://x"}]]
)
def test_a_long_name_before_many_elements_is_not_handled_once_for_each(elements: list[Any]) -> None:
    body = {"model": "m", "messages": [{LONG: elements}]}

    def action() -> None:
        with contextlib.suppress(RequestRefusedError):
            sanitise("chat", body, Bounds(1000))
        places.half_pair(body)

    assert characters_handed_on(action) < 20 * len(LONG)


def test_an_error_repeats_the_beginning_of_what_a_client_wrote() -> None:
    for body in ({"messages": [{LONG: {"url": "http://x"}}]}, {LONG: 1}, {"n": LONG}, {"stop": {LONG: "\ud800"}}):
        with pytest.raises(RequestRefusedError) as refused:
            sanitise("chat", {"model": "m", **body}, Bounds(1000))
        assert "k" * 100 in str(refused.value)
        assert len(str(refused.value)) < 1000


@pytest.mark.parametrize(
    ("kind", "field"), [("chat", "messages"), ("chat", "tools"), ("chat", "foo"), ("embedding", "input")]
)
def test_what_is_nested_too_deeply_is_refused_wherever_it_stands(kind: str, field: str) -> None:
    def fault(levels: int) -> str:
        call, content = bodies.read(SETTINGS, kind, "/", json.dumps({"model": "m", field: nested(levels)}).encode())
        assert call.fault is None or json.loads(content).keys() == {"model"}
        return call.fault.message if call.fault else ""

    # the body itself is the first level
    assert "nested too deeply" not in fault(63)
    assert "over 64 levels" in fault(64)


@pytest.mark.parametrize("path", ["responses", "messages"])
def test_what_is_nested_too_deeply_for_python_is_refused_in_the_clients_dialect(path: str) -> None:
    call, content = bodies.read(SETTINGS, path, f"/v1/{path}", b'{"model": "m", "input": ' + b"[" * 50_000)
    assert call.fault is not None
    assert (call.kind, call.fault.status, call.dialect is None, content) == ("chat", 400, False, b'{"model": ""}')


class Asked:
    """A gateway around an application that refuses every key; what came to it, and where bodies were read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[Call] = []
        self.contents: list[bytes] = []
        self.looked_for: list[list[str]] = []
        self.threads: list[int] = []
        read = bodies.read

        def noted(*given: Any) -> tuple[Call, bytes]:
            self.threads.append(threading.get_ident())
            return read(*given)

        monkeypatch.setattr(bodies, "read", noted)

        @contextlib.asynccontextmanager
        async def nothing() -> AsyncIterator[None]:
            yield

        self._gateway = Gateway(
            self._refuse, SETTINGS, self, nothing, Lifetimes(None), bytes, self._any_good, Precedence()
        )  # type: ignore[arg-type]

    async def _any_good(self, keys: Sequence[str]) -> bool:
        self.looked_for.append(list(keys))
        return "sk-1" in keys

    async def _refuse(self, _: Scope, receive: Receive, send: Send) -> None:
        call = CURRENT.get()
        assert call is not None
        self.calls.append(call)
        self.contents.append((await receive())["body"])
        await answer(send, 401, [JSON], b"{}")

    async def settle(self, call: Call, status: str) -> None:
        """As the settlement does, with a call that was not admitted."""

    def post(self, body: dict[str, Any], *headers: Header) -> int:
        """The status that the client gets."""
        sent: list[Message] = []
        scope = {"type": "http", "method": "POST", "path": "/v1/chat/completions", "headers": headers}

        async def client(message: Message) -> None:
            sent.append(message)

        async def receive() -> Message:
            return {"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}

        asyncio.run(self._gateway(scope, receive, client))
        return int(sent[0]["status"])


@pytest.mark.parametrize("headers", [[], [(b"authorization", b"")], [(b"x-api-key", b" ")], [(b"x-key", b"sk-1")]])
def test_a_body_without_a_key_is_not_read_at_all(monkeypatch: pytest.MonkeyPatch, headers: list[Header]) -> None:
    asked = Asked(monkeypatch)
    assert asked.post({"model": "m", "messages": []}, *headers) == 401
    assert asked.threads == []
    # It goes on all the same, to be counted where calls with a wrong key are, and would not pass there.
    assert asked.contents == [b'{"model": ""}']
    assert [call.fault.status for call in asked.calls if call.fault] == [401]


@pytest.mark.parametrize("name", [b"authorization", b"Authorization", b"api-key", b"X-Api-Key"])
def test_a_body_with_a_key_is_read(monkeypatch: pytest.MonkeyPatch, name: bytes) -> None:
    asked = Asked(monkeypatch)
    asked.post({"model": "m", "messages": []}, (name, b"sk-1"))
    assert [json.loads(content) for content in asked.contents] == [{"model": "m", "messages": []}]


def test_a_large_body_is_read_in_a_thread_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Asked(monkeypatch)
    for size in (10, bodies.LARGE_BYTES):
        asked.post({"model": "m", "messages": [{"role": "user", "content": "x" * size}]}, KEY)
    small, large = asked.threads
    assert small == threading.get_ident() != large
    assert len(json.loads(asked.contents[1])["messages"][0]["content"]) == bodies.LARGE_BYTES
    assert asked.looked_for == [["sk-1"]]


def test_a_large_body_of_a_stranger_is_not_read_here_nor_by_litellm(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Asked(monkeypatch)
    body = {"model": "m", "messages": [{"role": "user", "content": "x" * bodies.LARGE_BYTES}]}
    for header in ((b"authorization", b"Bearer sk-2"), (b"X-Api-Key", b"sk-3 ")):
        assert asked.post(body, header) == 401
    assert asked.looked_for == [["sk-2"], ["sk-3"]]
    assert asked.threads == []
    assert asked.contents == [b'{"model": ""}'] * 2
    # said only if LiteLLM lets the key in all the same
    assert [call.fault.status for call in asked.calls if call.fault] == [503, 503]
