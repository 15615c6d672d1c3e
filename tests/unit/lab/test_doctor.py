import ipaddress
import socket

from lab.doctor import Finding, Level, listens, problems_text

LOOPBACK = ipaddress.IPv4Address("127.0.0.1")


def test_a_listener_at_the_address_is_seen() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert listens("tcp", server.getsockname()[1], LOOPBACK)


def test_a_listener_at_all_addresses_is_seen() -> None:
    with socket.create_server(("0.0.0.0", 0)) as server:  # noqa: S104 - on purpose
        assert listens("tcp", server.getsockname()[1], LOOPBACK)


def test_a_listener_at_another_address_is_no_conflict() -> None:
    with socket.create_server(("127.0.0.2", 0)) as server:
        assert not listens("tcp", server.getsockname()[1], LOOPBACK)


def test_a_udp_socket_is_seen() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        assert listens("udp", server.getsockname()[1], LOOPBACK)


def test_every_failure_is_told_at_once_with_its_remedy() -> None:
    findings = [
        Finding("a", Level.FAIL, "is wrong", "do this"),
        Finding("b", Level.OK, "is right"),
        Finding("c", Level.FAIL, "is missing", "do that"),
    ]
    assert problems_text(findings) == "a: is wrong; do this\nc: is missing; do that"
