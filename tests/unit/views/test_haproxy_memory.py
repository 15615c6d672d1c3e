"""No proxy can be brought to the end of its memory: the connections that it takes are as many as its memory holds."""

import contextlib
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from unit.views.proxies import placed, running, trusting, with_servers

from llmaas.settings import Platform
from llmaas.views import haproxy
from tests.ports import free_port

# what one connection may come to hold: three buffers and TLS on both sides
BUFFERS = 3
TLS_BYTES = 2 * 48 * 1024
PROGRAM_BYTES = 64 * 2**20
ADDRESS = "127.0.0.1"


def number(pattern: str, text: str) -> int:
    (found,) = re.findall(pattern, text)
    return int(found)


@pytest.mark.parametrize("place", ["edge", "gateway", "serving"])
def test_the_memory_of_a_proxy_holds_every_connection_that_it_takes(platform: Platform, place: haproxy.Place) -> None:
    text = {
        "edge": haproxy.edge_configuration(platform),
        "gateway": haproxy.gateway_configuration(platform),
        "serving": haproxy.serving_configuration("vllm-granite3-3-8b"),
    }[place]
    everybody, callers = (int(found) for found in re.findall(r" {4}maxconn (\d+)", text))
    each = BUFFERS * number(r"tune\.bufsize (\d+)", text) + TLS_BYTES
    assert PROGRAM_BYTES + everybody * each <= haproxy.LIMIT_MIB[place] * 2**20
    # callers leave places for the kubelet and for administrators; beside LiteLLM each takes two
    assert everybody - callers * (2 if place == "gateway" else 1) >= 50
    # no less than the calls that the edge of a small environment lets in of one address
    assert callers >= 512
    # a connection is one call, and not a hundred
    assert "h2" not in re.findall(r"alpn (\S+)", text)[0].split(",")


class _Deaf:
    """A gateway that is there, and reads nothing of what it is sent."""

    def __init__(self, certificate: Path) -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate / "tls.pem")
        self.listener = socket.create_server((ADDRESS, 0), backlog=100)
        self.port: int = self.listener.getsockname()[1]
        self.kept: list[ssl.SSLSocket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self._answer, args=(self.listener.accept()[0],), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            wrapped = self.context.wrap_socket(connection, server_side=True)
            if b"/health" in wrapped.recv(100):
                wrapped.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            self.kept.append(wrapped)


@pytest.fixture
def edge(platform: Platform, certificates: Path, tmp_path: Path) -> Iterator[tuple[int, int]]:
    """The edge in front of a gateway that reads nothing: its public port and its process id."""
    public, status = free_port(), free_port()
    gateway = _Deaf(certificates / "litellm")
    text = placed(haproxy.edge_configuration(platform), certificates)
    for old, port in (("8443", public), ("8444", free_port()), ("9443", status)):
        text = text.replace(f"bind :{old} ", f"bind {ADDRESS}:{port} ")
    with running(with_servers(text, "gateway", [gateway.port]), tmp_path, status) as process:
        time.sleep(3)  # first checks
        yield public, process
    gateway.listener.close()


def resident_bytes(process: int) -> int:
    status = Path(f"/proc/{process}/status").read_text()
    return number(r"VmRSS:\s+(\d+) kB", status) * 1024


def send_without_end(port: int, context: ssl.SSLContext) -> ssl.SSLSocket:
    """A call whose body is sent until nobody takes more of it."""
    connection = context.wrap_socket(socket.create_connection((ADDRESS, port)), server_hostname=ADDRESS)
    connection.settimeout(0.3)
    head = "POST /v1/chat/completions HTTP/1.1\r\nhost: api.lab.llmaas.internal\r\ncontent-length: 33000000\r\n\r\n"
    connection.sendall(head.encode())
    with contextlib.suppress(TimeoutError):
        connection.sendall(b'{"model": "a", "messages": ["' + b"x" * 32_000_000)
    return connection


def test_a_body_that_nobody_reads_takes_no_more_than_is_counted_for_its_connection(
    edge: tuple[int, int], certificates: Path
) -> None:
    port, process = edge
    calls = 12
    with ExitStack() as stack:
        # what HAProxy makes once for all of them is there afterwards
        stack.enter_context(send_without_end(port, trusting(certificates)))
        time.sleep(1)
        before = resident_bytes(process)
        for _ in range(calls):
            stack.enter_context(send_without_end(port, trusting(certificates)))
        time.sleep(1)
        each = (resident_bytes(process) - before) / calls
    # with less than two buffers the test would not have filled them
    assert 2 * 128 * 1024 < each <= BUFFERS * 128 * 1024 + TLS_BYTES + 32 * 1024


def connection_of(port: int) -> socket.socket | None:
    """A connection that is kept open, or None where it is closed at once."""
    try:
        connection = socket.create_connection((ADDRESS, port), timeout=1)
        closed = connection.recv(1) == b""
    except TimeoutError:
        return connection
    except ConnectionResetError:
        return None
    assert closed, "nothing is said before TLS"
    connection.close()
    return None


def test_one_address_cannot_take_every_connection_of_the_edge(edge: tuple[int, int]) -> None:
    port, _ = edge
    with ExitStack() as stack:
        held = [stack.enter_context(socket.create_connection((ADDRESS, port))) for _ in range(512)]
        time.sleep(1)
        for connection in held:
            connection.settimeout(0)
            with pytest.raises(BlockingIOError):
                connection.recv(1)
        assert connection_of(port) is None
        held[0].close()
        for _ in range(20):
            if again := connection_of(port):
                again.close()
                break
            time.sleep(0.2)
        else:
            pytest.fail("a place that became free was not given to the next one")
