import ipaddress
import socket
from datetime import date
from pathlib import Path

import pytest
from stack_files import Stacks

from lab.doctor import Finding, Level, listens, problems_text, settings
from llmaas.settings import hardening

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


@pytest.mark.parametrize(
    ("expires", "level", "says"),
    [
        ("2026-11-24", Level.FAIL, "was 2026-11-24; end the deviation, or renew it with a reason"),
        ("2026-11-25", Level.NOTE, "is 2026-11-25, today; it is refused from the day after"),
        ("2027-05-31", Level.OK, "all hold today"),
    ],
)
def test_an_exception_that_has_ended_prevents_the_lab(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, expires: str, level: Level, says: str
) -> None:
    Stacks(tmp_path, tmp_path).waiver(expires)
    monkeypatch.setattr(hardening, "waivers_file", lambda: tmp_path / hardening.FILE)
    found = [finding for finding in settings(date(2026, 11, 25)) if finding.subject == "exceptions"]
    assert level in {finding.level for finding in found}
    assert any(says in finding.text for finding in found)
    assert (says in problems_text(found)) is (level is Level.FAIL)


def test_every_failure_is_told_at_once_with_its_remedy() -> None:
    findings = [
        Finding("a", Level.FAIL, "is wrong", "do this"),
        Finding("b", Level.OK, "is right"),
        Finding("c", Level.FAIL, "is missing", "do that"),
    ]
    assert problems_text(findings) == "a: is wrong; do this\nc: is missing; do that"
