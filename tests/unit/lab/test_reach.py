"""A host that runs and does not answer is told before anything is begun; one that may still be booting is let be."""

import ipaddress
import json
import os
import socket
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from lab import reach
from lab.doctor import Level, diagnose
from lab.layout import Layout
from lab.machine import boot_id, process_age, process_start
from lab.processes import Process
from lab.reach import answering_hosts
from lab.spec import LabHost, LabSpec

SPEC = LabSpec(
    hosts=(LabHost("one", "127.0.0.1", 24), LabHost("two", "127.0.0.2", 24), LabHost("off", "127.0.0.3", 24)),
    network=ipaddress.IPv4Network("127.0.0.0/24"),
    site_address="127.0.0.9",
    domain="lab.test",
    registry="registry.lab.test:5000",
)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """A lab of which two hosts run, and have done so for long."""
    monkeypatch.setattr(reach, "BOOT_SECONDS", -1)
    found = Layout(state=tmp_path / "state", cache=tmp_path / "cache")
    found.run.mkdir(parents=True)
    found.cache.mkdir()
    ticks = process_start(os.getpid())
    assert ticks is not None
    for name in ("host-one", "host-two"):
        (found.run / f"{name}.json").write_text(json.dumps(asdict(Process(name, os.getpid(), ticks, boot_id()))))
    return found


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[socket.socket]]:
    """Of the two hosts; what connects finds its words waiting."""
    first = socket.create_server(("127.0.0.1", 0))
    port = first.getsockname()[1]
    second = socket.create_server(("127.0.0.2", port))
    monkeypatch.setattr(reach, "_SSH", port)
    yield [first, second]
    first.close()
    second.close()


def speaks(monkeypatch: pytest.MonkeyPatch, words: dict[str, bytes]) -> None:
    """Have what is at an address say this to whoever connects."""
    really = socket.create_connection

    def connect(address: tuple[str, int], timeout: float) -> socket.socket:
        really(address, timeout).close()
        near, far = socket.socketpair()
        far.sendall(words[address[0]])
        far.close()
        return near

    monkeypatch.setattr(reach.socket, "create_connection", connect)


@pytest.mark.usefixtures("servers")
def test_hosts_that_answer_are_counted(here: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    speaks(monkeypatch, {"127.0.0.1": b"SSH-2.0-x\r\n", "127.0.0.2": b"SSH-2.0-x\r\n"})
    assert answering_hosts(here, SPEC) == (2, {})


def test_one_that_refuses_and_one_that_says_something_else_are_named(
    here: Layout, servers: list[socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    speaks(monkeypatch, {"127.0.0.1": b"HTTP"})
    servers[1].close()
    running, silent = answering_hosts(here, SPEC)
    assert running == 2
    assert set(silent) == {"one", "two"}
    assert "HTTP" in silent["one"]
    assert "refused" in silent["two"]


def test_the_doctor_names_the_host_and_what_to_do(here: Layout, servers: list[socket.socket]) -> None:
    for server in servers:
        server.close()
    (finding,) = [finding for finding in diagnose(here, SPEC) if finding.subject == "hosts"]
    assert finding.level is Level.FAIL
    assert "one does not answer" in finding.text
    assert "two does not answer" in finding.text
    assert "off" not in finding.text.split()
    assert "lab hosts down" in finding.remedy


@pytest.mark.usefixtures("servers")
def test_one_that_may_still_be_booting_is_not_asked(here: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reach, "BOOT_SECONDS", 10**9)
    speaks(monkeypatch, {})
    assert answering_hosts(here, SPEC) == (2, {})


def test_the_age_of_this_process_is_known() -> None:
    ticks = process_start(os.getpid())
    assert ticks is not None
    assert 0 < process_age(ticks) < process_age(0)
