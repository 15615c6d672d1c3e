import json
from types import SimpleNamespace
from typing import Any

import httpx
import kubernetes
import pytest

from llmaas.verify.canary.calls import CHAT, CanaryCall, calls, send
from llmaas.verify.canary.marker import Canary
from llmaas.verify.canary.search import Finder
from llmaas.verify.canary.stores import SearchError, Stores

CANARY = Canary()
ALL = calls(CANARY, "m", 64)
STREAM = (
    b'data: {"choices": [{"delta": {"content": "one "}}]}\n\ndata: {"choices": [{"delta": {"content": "two"}}]}\n\n'
)
MESSAGE_STREAM = (
    b'event: message_start\ndata: {"type": "message_start", "message": {"content": []}}\n\n'
    b'data: {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "one "}}\n\n'
    b'data: {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "two"}}\n\n'
    b'data: {"type": "message_delta", "delta": {"stop_reason": "end_turn"}}\n\n'
)
RESPONSE_STREAM = (
    b'data: {"type": "response.output_text.delta", "delta": "one "}\n\n'
    b'data: {"type": "response.output_text.delta", "delta": "two"}\n\n'
    b'data: {"type": "response.completed", "response": {"output": [{"content": [{"text": "one two"}]}]}}\n\n'
)


def _http(answer: httpx.Response | Exception) -> httpx.Client:
    def give(_: httpx.Request) -> httpx.Response:
        if isinstance(answer, Exception):
            raise answer
        return answer

    return httpx.Client(base_url="https://api.test", transport=httpx.MockTransport(give))


def _call(kind: str) -> CanaryCall:
    return next(call for call in ALL if call.kind == kind)


@pytest.mark.parametrize("call", ALL, ids=lambda call: call.kind)
def test_every_call_carries_the_marker_and_shows_it_to_nobody(call: CanaryCall) -> None:
    finder = Finder(CANARY.patterns())
    finder.feed(call.body if isinstance(call.body, bytes) else json.dumps(call.body).encode())
    assert "plain" in finder.found
    assert CANARY.marker not in repr(call)
    assert CANARY.marker not in call.path


def test_every_endpoint_that_reaches_a_model_is_called() -> None:
    from llmaas.views.haproxy import POST_PATHS  # noqa: PLC0415 - what the edge lets in

    assert set(POST_PATHS) <= {call.path for call in ALL}


def test_a_whole_answer_and_a_stream_give_their_text() -> None:
    parts = [{"type": "text", "text": "one two"}]
    for kind, answer in (
        ("answer", httpx.Response(200, json={"choices": [{"message": {"content": "one two"}}]})),
        ("stream", httpx.Response(200, content=STREAM)),
        ("message", httpx.Response(200, json={"type": "message", "content": parts})),
        ("streamed message", httpx.Response(200, content=MESSAGE_STREAM)),
        ("response", httpx.Response(200, json={"output": [{"type": "message", "content": parts}]})),
        ("streamed response", httpx.Response(200, content=RESPONSE_STREAM)),
    ):
        outcome = send(_http(answer), _call(kind), "sk-x")
        assert (outcome.status, outcome.answer, outcome.as_expected) == (200, "one two", True)


@pytest.mark.parametrize(
    ("kind", "answer", "status"),
    [
        ("client gone in the stream", httpx.Response(200, content=STREAM), 0),
        ("client gone in the stream", httpx.Response(503, content=b"{}"), 503),
        ("client gone before the answer", httpx.ReadTimeout("late"), 0),
        ("client gone before the answer", httpx.Response(200, json={}), 200),
        ("answer", httpx.ReadTimeout("late"), 504),
        ("answer", httpx.RemoteProtocolError("cut"), 502),
    ],
)
def test_a_call_that_did_not_end_as_its_kind_must_is_told(
    kind: str, answer: httpx.Response | Exception, status: int
) -> None:
    outcome = send(_http(answer), _call(kind), "sk-x")
    assert (outcome.status, outcome.as_expected) == (status, status == 0)


@pytest.mark.parametrize(("key", "header"), [(None, "Bearer sk-x"), ("", None), ("sk-other", "Bearer sk-other")])
def test_a_call_goes_with_its_own_key(key: str | None, header: str | None) -> None:
    seen: list[httpx.Request] = []

    def give(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(401)

    http = httpx.Client(base_url="https://api.test", transport=httpx.MockTransport(give))
    send(http, CanaryCall("x", CHAT, {}, frozenset({401}), key=key), "sk-x")
    assert seen[0].headers.get("authorization") == header


def test_what_happens_during_a_stream_happens_once_when_it_has_begun() -> None:
    done: list[int] = []
    send(_http(httpx.Response(200, content=STREAM)), _call("stream"), "sk-x", lambda: done.append(1))
    assert done == [1]


class Cluster:
    """A client of Kubernetes with some pods, their logs, and objects."""

    def __init__(self, logs: dict[tuple[str, bool], bytes | int], events: str = "started") -> None:
        self._logs, self._events = logs, events

    def list_pod_for_all_namespaces(self, **options: Any) -> Any:
        if options:
            return SimpleNamespace(data=json.dumps({"items": [{"status": "Running"}]}).encode())
        state = SimpleNamespace(running=True, terminated=None)
        never = SimpleNamespace(running=None, terminated=None)
        server = SimpleNamespace(name="server", state=state, last_state=SimpleNamespace(terminated=True))
        waiting = SimpleNamespace(name="late", state=never, last_state=never)
        status = SimpleNamespace(
            init_container_statuses=None, container_statuses=[server, waiting], ephemeral_container_statuses=None
        )
        metadata = SimpleNamespace(namespace="llmaas-edge", name="edge-1")
        return SimpleNamespace(items=[SimpleNamespace(metadata=metadata, status=status)])

    def read_namespaced_pod_log(self, *_: str, container: str, previous: bool, **__: Any) -> Any:
        log = self._logs[container, previous]
        if isinstance(log, int):
            raise kubernetes.client.ApiException(log, "no")
        return SimpleNamespace(stream=lambda _: iter([log[:5], log[5:]]))

    def list_event_for_all_namespaces(self, **_: Any) -> Any:
        return SimpleNamespace(data=json.dumps({"items": [self._events] if self._events else []}).encode())

    def list_config_map_for_all_namespaces(self, **_: Any) -> Any:
        return SimpleNamespace(data=b'{"items": [{}]}')


def _stores(tmp_path: Any, cluster: Cluster) -> Stores:
    return Stores(tmp_path / "kubeconfig", cluster, CANARY, CANARY.patterns())


def test_logs_of_containers_and_of_those_before_a_restart_are_searched(tmp_path: Any) -> None:
    logs = {("server", False): b"GET /v1/models", ("server", True): CANARY.text.encode()}
    hits = _stores(tmp_path, Cluster(logs)).logs()
    assert list(map(str, hits)) == ["log of llmaas-edge/edge-1, server before (plain)"]


def test_a_log_that_was_cleared_away_is_left_to_the_search_of_its_host(tmp_path: Any) -> None:
    logs: Any = {("server", False): b"GET /v1/models", ("server", True): 400}
    assert _stores(tmp_path, Cluster(logs)).logs() == []


@pytest.mark.parametrize(
    ("logs", "words"),
    [
        ({("server", False): b"", ("server", True): b""}, "has no log"),
        ({("server", False): 404, ("server", True): 400}, "has no log"),
        ({("server", False): 500, ("server", True): b""}, "edge-1, server: 500"),
    ],
)
def test_logs_that_cannot_be_searched_are_told(tmp_path: Any, logs: Any, words: str) -> None:
    with pytest.raises(SearchError, match=words):
        _stores(tmp_path, Cluster(logs)).logs()


def test_objects_of_the_cluster_are_searched(tmp_path: Any) -> None:
    assert _stores(tmp_path, Cluster({})).objects() == []
    (hit,) = _stores(tmp_path, Cluster({}, CANARY.text)).objects()
    assert str(hit) == "Kubernetes, events (plain)"
    with pytest.raises(SearchError, match="events: none at all"):
        _stores(tmp_path, Cluster({}, "")).objects()


@pytest.fixture
def ssh(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A program that stands for SSH and answers what is written into a file."""
    answer = tmp_path / "answer"
    program = tmp_path / "ssh"
    program.write_text(f"#!/bin/sh\ncat > {tmp_path}/given\n. {answer}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return answer


def test_a_host_s_hits_are_named_by_host_and_path(tmp_path: Any, ssh: Any) -> None:
    ssh.write_text("""echo '{"hits": [["/var/log/x", "plain"]], "problems": [], "searched": 1}'\n""")
    hits = _stores(tmp_path, Cluster({})).host("gpu-1", tmp_path / "ssh_config", 0)
    assert list(map(str, hits)) == ["gpu-1: /var/log/x (plain)"]
    assert CANARY.control in (tmp_path / "given").read_text()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("""echo '{"hits": [], "problems": ["journal: gone"], "searched": 1}'""", "gpu-1: 1 could not be searched"),
        ("echo 'no route' >&2; exit 255", "gpu-1: ssh ended with code 255: no route"),
        ("echo nonsense", "gpu-1: answered nothing that can be read"),
    ],
)
def test_a_host_that_cannot_be_searched_is_told(tmp_path: Any, ssh: Any, answer: str, words: str) -> None:
    ssh.write_text(f"{answer}\n")
    with pytest.raises(SearchError, match=words):
        _stores(tmp_path, Cluster({})).host("gpu-1", tmp_path / "ssh_config", 0)


def test_a_log_host_is_searched_where_it_keeps_the_control_of_every_sender(tmp_path: Any, ssh: Any) -> None:
    found = """{"hits": [["/var/lib/llmaas/logs/hosts/gpu-1/x", "plain"]], "problems": [], "searched": 1}"""
    kept = """{"sender": "gpu-1", "message": "x"}"""
    ssh.write_text(f"""case "$*" in *llmaas-logs*) echo '{kept}';; *) echo '{found}';; esac\n""")
    stores = _stores(tmp_path, Cluster({}))
    hits = stores.log_host("log-1", ["gpu-1"], tmp_path / "ssh_config", 0)
    assert list(map(str, hits)) == ["log-1: /var/lib/llmaas/logs/hosts/gpu-1/x (plain)"]
    with pytest.raises(SearchError, match="log-1: keeps no line of gpu-2; the search shows nothing"):
        stores.log_host("log-1", ["gpu-1", "gpu-2"], tmp_path / "ssh_config", 0)
