"""The rendered configurations, read by the real HAProxy, and the edge's and the server's proxy as they answer."""

import json
import multiprocessing
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from unit.views.proxies import placed, running, trusting, with_servers

from llmaas.settings import Platform
from llmaas.views import haproxy
from tests.ports import free_port


@pytest.mark.parametrize("which", ["edge", "gateway", "serving"])
def test_haproxy_accepts_every_configuration_without_a_warning(
    which: str, platform: Platform, certificates: Path, tmp_path: Path
) -> None:
    text = {
        "edge": haproxy.edge_configuration(platform),
        "gateway": haproxy.gateway_configuration(platform),
        "serving": haproxy.serving_configuration("vllm-granite3-3-8b"),
    }[which]
    file = tmp_path / "haproxy.cfg"
    file.write_text(placed(text, certificates))
    checked = subprocess.run(["haproxy", "-c", "-f", file], check=False, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
    assert "WARNING" not in checked.stderr
    assert "ssl-default-bind-options ssl-min-ver TLSv1.3" in text


class _Echo(BaseHTTPRequestHandler):
    """Answers with what reached it."""

    protocol_version = "HTTP/1.1"
    # head and body of an answer leave at once: a program that is killed has sent all of it or nothing
    wbufsize = -1

    def _answer(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        sent = self.rfile.read(length)
        known = {k.lower(): v for k, v in self.headers.items()}
        answer: dict[str, Any] = {"path": self.path, "headers": known}
        status = 200
        if b"no-such-model" in sent:
            status = 400
            answer = {"error": {"message": "/chat/completions: Invalid model name passed in model=...", "code": "400"}}
        elif known.get("authorization") == "Bearer sk-unknown":
            status = 401
            answer = {"error": {"message": "Authentication Error, Invalid proxy server token passed. Key Hash=2ab0"}}
        elif known.get("authorization") == "Bearer sk-expired":
            status = 401
            answer = {"error": {"message": "Authentication Error, Expired Key. Key Expiry time 2026-01-01"}}
        elif known.get("authorization") == "Bearer sk-spent":
            status = 422
            answer = {"error": {"message": "Budget has been exceeded! Max budget: 1.0", "type": "budget_exceeded"}}
        elif b"wrong-temperature" in sent:
            status = 400
            answer = {"error": {"message": "temperature must be a number", "code": "400"}}
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.send_header("x-litellm-model-api-base", "http://10.0.0.1")
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_DELETE = _answer  # noqa: N815 - the library's names

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def upstream(
    context: ssl.SSLContext | None = None, handler: type[BaseHTTPRequestHandler] | None = None
) -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler or _Echo)
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()


@pytest.fixture(scope="module")
def edge(
    platform: Platform, certificates: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[int, int, int]]:
    """The edge on ports of its own, in front of one gateway at a fixed address: ports of its three listeners."""
    public, administration, status = (free_port() for _ in range(3))
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.load_cert_chain(certificates / "litellm" / "tls.pem")
    served.load_verify_locations(certificates / "litellm" / "ca.crt")
    served.verify_mode = ssl.CERT_REQUIRED
    text = placed(haproxy.edge_configuration(platform), certificates)
    for listener, port in (("8443", public), ("8444", administration), ("9443", status)):
        text = text.replace(f"bind :{listener} ", f"bind 127.0.0.1:{port} ")
    with upstream(served) as gateway:
        text = with_servers(text, "gateway", [gateway])
        with running(text, tmp_path_factory.mktemp("edge"), status):
            yield public, administration, status


@pytest.fixture
def public(edge: tuple[int, int, int], certificates: Path) -> Iterator[httpx.Client]:
    with httpx.Client(
        base_url=f"https://127.0.0.1:{edge[0]}",
        verify=trusting(certificates),
        headers={"host": "api.lab.llmaas.internal"},
    ) as client:
        yield client


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/chat/completions"),
        ("POST", "/v1/completions"),
        ("POST", "/v1/embeddings"),
        ("POST", "/v1/messages"),
        ("POST", "/v1/responses"),
        ("GET", "/v1/models"),
        ("GET", "/v1/models/granite3.3:8b"),
        ("GET", "/v1/models/granite3.3%3A8b"),
    ],
)
def test_the_declared_paths_reach_the_gateway(public: httpx.Client, method: str, path: str) -> None:
    answer = public.request(method, path)
    assert answer.status_code == 200
    assert answer.json()["path"] == path


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/ui"),
        ("GET", "/ui/"),
        ("GET", "/metrics"),
        ("GET", "/health"),
        ("POST", "/key/generate"),
        ("GET", "/v1/chat/completions"),
        ("POST", "/v1/models"),
        ("DELETE", "/v1/models/granite3.3:8b"),
        ("POST", "/chat/completions"),
        ("POST", "//v1/chat/completions"),
        ("POST", "/v1/chat/completions/"),
        ("POST", "/v1/chat/../../key/generate"),
        ("GET", "/v1/models/../../key/info"),
        ("GET", "/v1/models/%2e%2e%2fkey%2finfo"),
        ("POST", "/v1/messages/count_tokens"),
        ("GET", "/v1/responses/resp_1"),
        ("POST", '/v1/"quoted"'),
    ],
)
def test_everything_else_is_unknown_in_the_words_of_openai(
    edge: Any, certificates: Path, method: str, path: str
) -> None:
    # A raw request: clients would tidy the path.
    import http.client  # noqa: PLC0415

    connection = http.client.HTTPSConnection("127.0.0.1", edge[0], context=trusting(certificates))
    connection.putrequest(method, path, skip_host=True)
    connection.putheader("host", "api.lab.llmaas.internal")
    connection.endheaders()
    answer = connection.getresponse()
    assert answer.status == 404
    error = json.loads(answer.read())["error"]
    assert error["code"] == "unknown_url"
    assert error["type"] == "invalid_request_error"
    assert f"{method} {path}" in error["message"]


@pytest.mark.parametrize("host", ["evil.example", "", "admin.lab.llmaas.internal", "api.lab.llmaas.internal.evil"])
def test_a_host_that_is_not_ours_is_unknown(public: httpx.Client, host: str) -> None:
    assert public.get("/v1/models", headers={"host": host}).status_code == 404


@pytest.mark.parametrize("host", ["10.77.0.21", "10.77.0.22:443", "API.lab.llmaas.internal"])
def test_the_addresses_of_the_service_hosts_are_hosts(public: httpx.Client, host: str) -> None:
    assert public.get("/v1/models", headers={"host": host}).status_code == 200


def test_no_header_of_a_client_steers_what_is_behind(public: httpx.Client) -> None:
    forged = {
        "x-forwarded-for": "1.2.3.4",
        "x-litellm-api-key": "sk-other",
        "x-litellm-tags": "a",
        "x-llmaas-tenant": "other",
        "x-priority": "high",
        "x-vllm-priority": "-1",
        "cache-control": "no-cache",
        "api-key": "sk-other",
        "x-api-key": "sk-other",
        "x-request-id": "chosen",
        "forwarded": "for=1.2.3.4",
    }
    answer = public.post("/v1/chat/completions", headers={**forged, "authorization": "Bearer sk-mine"}, json={})
    headers = answer.json()["headers"]
    assert headers["authorization"] == "Bearer sk-mine"
    assert headers["x-forwarded-for"] == "127.0.0.1"
    assert headers["x-request-id"] not in {"chosen", ""}
    assert not (set(forged) - {"x-forwarded-for", "x-request-id"}) & set(headers)


def test_the_key_of_anthropics_clients_is_taken_where_they_call_and_nowhere_else(public: httpx.Client) -> None:
    key = {"x-api-key": "sk-mine"}
    headers = public.post("/v1/messages", headers=key, json={}).json()["headers"]
    assert headers["authorization"] == "Bearer sk-mine"
    assert "x-api-key" not in headers
    both = public.post("/v1/messages", headers={**key, "authorization": "Bearer sk-first"}, json={})
    assert both.json()["headers"]["authorization"] == "Bearer sk-first"
    assert "authorization" not in public.post("/v1/responses", headers=key, json={}).json()["headers"]


def test_an_unknown_model_is_answered_as_openai_does(public: httpx.Client) -> None:
    answer = public.post("/v1/chat/completions", json={"model": 'no-such-model"\\', "messages": []})
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "model_not_found"
    assert '`no-such-model"\\`' in answer.json()["error"]["message"]


def test_an_unknown_key_is_answered_as_openai_does_and_its_hash_is_not_told(public: httpx.Client) -> None:
    answer = public.post("/v1/chat/completions", headers={"authorization": "Bearer sk-unknown"}, json={"model": "a"})
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "invalid_api_key"
    assert "2ab0" not in answer.text


def test_an_expired_key_keeps_its_own_answer(public: httpx.Client) -> None:
    answer = public.post("/v1/chat/completions", headers={"authorization": "Bearer sk-expired"}, json={"model": "a"})
    assert answer.status_code == 401
    assert "Expired Key" in answer.text


def test_a_spent_budget_is_answered_as_openai_does(public: httpx.Client) -> None:
    answer = public.post("/v1/chat/completions", headers={"authorization": "Bearer sk-spent"}, json={"model": "a"})
    assert answer.status_code == 429
    assert answer.headers["retry-after"] == "3600"
    assert answer.json()["error"]["code"] == "insufficient_quota"


def test_another_mistake_keeps_its_own_answer(public: httpx.Client) -> None:
    answer = public.post("/v1/chat/completions", json={"model": "granite3.3:8b", "temperature": "wrong-temperature"})
    assert answer.status_code == 400
    assert answer.json()["error"]["message"] == "temperature must be a number"


def test_a_body_larger_than_the_buffer_passes_whole(public: httpx.Client) -> None:
    answer = public.post("/v1/chat/completions", json={"model": "granite3.3:8b", "messages": ["x" * 2_000_000]})
    assert answer.status_code == 200
    assert int(answer.json()["headers"]["content-length"]) > 2_000_000


def test_query_parameters_do_not_pass(public: httpx.Client) -> None:
    assert public.get("/v1/models?team_id=other").json()["path"] == "/v1/models"


def test_an_answer_carries_our_request_id_and_nothing_of_the_inside(public: httpx.Client) -> None:
    answer = public.get("/v1/models")
    assert answer.headers["x-request-id"] == answer.json()["headers"]["x-request-id"]
    assert not [name for name in answer.headers if name.startswith("x-litellm")]


def test_a_body_beyond_the_limit_is_refused(edge: Any, certificates: Path) -> None:
    import http.client  # noqa: PLC0415

    connection = http.client.HTTPSConnection("127.0.0.1", edge[0], context=trusting(certificates))
    for length in ("40000000", "99999999999999999999"):
        connection.putrequest("POST", "/v1/chat/completions", skip_host=True)
        connection.putheader("host", "api.lab.llmaas.internal")
        connection.putheader("content-length", length)
        connection.endheaders()
        answer = connection.getresponse()
        assert answer.status in {400, 413}
        connection.close()


def test_an_older_tls_is_refused_on_every_listener(edge: tuple[int, int, int], certificates: Path) -> None:
    context = trusting(certificates)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    for port in edge:
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"https://127.0.0.1:{port}/v1/models", verify=context)


def test_the_administration_is_closed_to_whoever_is_no_bastion(edge: tuple[int, int, int], certificates: Path) -> None:
    with pytest.raises(httpx.TransportError):
        httpx.get(f"https://127.0.0.1:{edge[1]}/ui/", verify=trusting(certificates))


def test_metrics_are_for_prometheus_alone(edge: tuple[int, int, int], certificates: Path) -> None:
    url = f"https://127.0.0.1:{edge[2]}/metrics"
    assert httpx.get(url, verify=trusting(certificates)).status_code == 403
    assert httpx.get(url, verify=trusting(certificates, "litellm")).status_code == 403
    assert "haproxy_process" in httpx.get(url, verify=trusting(certificates, "prometheus")).text


@pytest.fixture(scope="module")
def server(certificates: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, int]]:
    """The proxy of a model server in front of one that echoes."""
    listener, status = (free_port() for _ in range(2))
    text = placed(haproxy.serving_configuration("vllm-granite3-3-8b"), certificates)
    text = text.replace("bind :8443 ", f"bind 127.0.0.1:{listener} ").replace(
        "bind :9443 ", f"bind 127.0.0.1:{status} "
    )
    with upstream() as vllm:
        text = text.replace("127.0.0.1:8000", f"127.0.0.1:{vllm}")
        with running(text, tmp_path_factory.mktemp("serving"), status):
            yield listener, status


def test_a_model_server_answers_the_gateway_alone(server: tuple[int, int], certificates: Path) -> None:
    url = f"https://127.0.0.1:{server[0]}/v1/models"
    assert httpx.get(url, verify=trusting(certificates, "litellm")).status_code == 200
    assert httpx.get(url, verify=trusting(certificates, "edge-client")).status_code == 403
    with pytest.raises(httpx.TransportError):
        httpx.get(url, verify=trusting(certificates))


@pytest.mark.parametrize(
    "path",
    [
        "/metrics",
        "/invocations",
        "/tokenize",
        "/pause",
        "/v1/load_lora_adapter",
        "/docs",
        "/",
        "/v1/responses",
        "/v1/messages",
    ],
)
def test_a_model_server_shows_the_gateway_only_what_it_needs(
    server: tuple[int, int], certificates: Path, path: str
) -> None:
    for method in ("GET", "POST"):
        url = f"https://127.0.0.1:{server[0]}{path}"
        assert httpx.request(method, url, verify=trusting(certificates, "litellm")).status_code == 404


def test_the_kubelet_learns_whether_the_server_is_ready_without_a_certificate(server: tuple[int, int]) -> None:
    for path in ("/alive", "/ready"):
        assert httpx.get(f"https://127.0.0.1:{server[1]}{path}", verify=False).status_code == 200  # noqa: S501
    assert httpx.get(f"https://127.0.0.1:{server[1]}/program-metrics", verify=False).status_code == 403  # noqa: S501


class _Vllm(_Echo):
    """Takes a while for a call, as a model does."""

    def do_POST(self) -> None:
        time.sleep(0.2)
        self._answer()


def _serve(port: int) -> None:
    ThreadingHTTPServer(("127.0.0.1", port), _Vllm).serve_forever()


def _rendered_serving(certificates: Path, listener: int, status: int, vllm: int) -> str:
    text = placed(haproxy.serving_configuration("vllm-granite3-3-8b"), certificates)
    text = text.replace("bind :8443 ", f"bind 127.0.0.1:{listener} ").replace(
        "bind :9443 ", f"bind 127.0.0.1:{status} "
    )
    return text.replace("127.0.0.1:8000", f"127.0.0.1:{vllm}")


def _rendered_gateway(platform: Platform, certificates: Path, ports: tuple[int, int, int, int]) -> str:
    """Ports: from the edge, status, LiteLLM, and the way out to the first model."""
    listener, status, program, way_out = ports
    text = placed(haproxy.gateway_configuration(platform), certificates)
    text = text.replace("bind :8443 ", f"bind 127.0.0.1:{listener} ").replace(
        "bind :9443 ", f"bind 127.0.0.1:{status} "
    )
    for index in range(len(platform.models)):
        text = text.replace(f"127.0.0.1:{9101 + index}\n", f"127.0.0.1:{way_out if index == 0 else free_port()}\n")
    return text.replace("127.0.0.1:4000", f"127.0.0.1:{program}")


def test_a_killed_model_server_costs_no_call(platform: Platform, certificates: Path, tmp_path: Path) -> None:
    """Gateway's proxy, two servers' proxies, two servers, calls without a pause: one of the servers is killed."""
    ports = [free_port(), free_port()]
    vllms = [multiprocessing.Process(target=_serve, args=(port,)) for port in ports]
    loopback, status = free_port(), free_port()
    proxies = [(free_port(), free_port()) for _ in vllms]
    answers: list[list[int]] = []

    def call(client: httpx.Client) -> None:
        for _ in range(15):
            body = {"messages": ["x" * 5000]}
            statuses = []
            # As LiteLLM does: a call in flight on the dying server is made again, three times at most.
            while len(statuses) < 4 and 200 not in statuses:
                answer = client.post(f"http://127.0.0.1:{loopback}/v1/chat/completions", json=body)
                statuses.append(answer.status_code)
            answers.append(statuses)

    with ExitStack() as stack:
        for vllm in vllms:
            vllm.start()
            stack.callback(vllm.kill)
        for number, ((listener, own_status), port) in enumerate(zip(proxies, ports, strict=True)):
            folder = tmp_path / str(number)
            folder.mkdir()
            stack.enter_context(
                running(_rendered_serving(certificates, listener, own_status, port), folder, own_status)
            )
        servers = [listener for listener, _ in proxies]
        text = _rendered_gateway(platform, certificates, (free_port(), status, free_port(), loopback))
        text = with_servers(text, "granite3-3-8b", servers)
        stack.enter_context(running(text, tmp_path, status))
        time.sleep(3)  # first checks of all three proxies
        clients = [threading.Thread(target=call, args=(httpx.Client(timeout=30),)) for _ in range(6)]
        for client in clients:
            client.start()
        time.sleep(0.7)
        vllms[0].kill()
        for client in clients:
            client.join()
    assert [statuses[-1] for statuses in answers] == [200] * 90
    again = [statuses for statuses in answers if len(statuses) > 1]
    assert len(again) <= 6, "only calls that were in flight are made again"


def test_a_killed_gateway_costs_no_call(platform: Platform, certificates: Path, tmp_path: Path) -> None:
    """The edge, two gateways' proxies, two gateways, clients that never try twice: one of the gateways is killed."""
    programs = [free_port(), free_port()]
    processes = [multiprocessing.Process(target=_serve, args=(port,)) for port in programs]
    listeners = [free_port(), free_port()]
    public, status = free_port(), free_port()
    answers: list[int] = []

    def call(client: httpx.Client) -> None:
        for _ in range(15):
            answer = client.post("/v1/chat/completions", json={"model": "a", "messages": ["x" * 5000]})
            answers.append(answer.status_code)

    with ExitStack() as stack:
        for process in processes:
            process.start()
            stack.callback(process.kill)
        for listener, program in zip(listeners, programs, strict=True):
            folder = tmp_path / str(listener)
            folder.mkdir()
            own_status = free_port()
            text = _rendered_gateway(platform, certificates, (listener, own_status, program, free_port()))
            stack.enter_context(running(text, folder, own_status))
        text = placed(haproxy.edge_configuration(platform), certificates)
        for old, port in (("8443", public), ("8444", free_port()), ("9443", status)):
            text = text.replace(f"bind :{old} ", f"bind 127.0.0.1:{port} ")
        stack.enter_context(running(with_servers(text, "gateway", listeners), tmp_path, status))
        time.sleep(3)  # first checks of all three proxies
        settings: Any = {"base_url": f"https://127.0.0.1:{public}", "headers": {"host": "api.lab.llmaas.internal"}}
        clients = [
            threading.Thread(target=call, args=(httpx.Client(timeout=30, verify=trusting(certificates), **settings),))
            for _ in range(6)
        ]
        for client in clients:
            client.start()
        time.sleep(0.7)
        processes[0].kill()
        for client in clients:
            client.join()
    assert answers == [200] * 90
