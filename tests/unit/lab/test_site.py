"""Whether a program of the site answers is asked of real sockets; what it is started in ends with its starter."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.emulated.services import TOGETHER
from lab.layout import Layout, layout
from lab.site import running, services
from lab.site.ask import answers
from lab.spec import lab_spec
from llmaas.materials import issue_site_certificate
from llmaas.settings import load_platform
from llmaas.views.site import site_names

HERE = "127.0.0.1"
SANDBOX = Path(__file__).parents[3] / "lab" / "site" / "sandbox.sh"


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server((HERE, 0)) as server:
        yield server


@pytest.fixture
def clock() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((HERE, 0))
        yield server


def test_a_program_that_takes_connections_answers(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    assert answers("tcp", HERE, port)
    listener.close()
    assert not answers("tcp", HERE, port)


def test_a_clock_answers_when_it_tells_the_time(clock: socket.socket) -> None:
    port = clock.getsockname()[1]
    assert not answers("ntp", HERE, port)

    def tell() -> None:
        # the question that nobody answered is still there
        clock.recvfrom(48)
        question, sender = clock.recvfrom(48)
        clock.sendto(question, sender)

    teller = threading.Thread(target=tell)
    teller.start()
    assert answers("ntp", HERE, port)
    teller.join()


def test_the_lab_and_the_command_line_agree_on_the_sites_certificate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLMAAS_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("LLMAAS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(services, "publish_packages", lambda here, _: here.site / "debian")
    made: list[services.Service] = []

    def none_to_start(*arguments: object) -> tuple[services.Service, ...]:
        made.extend(services.site_services(*arguments))  # type: ignore[arg-type]
        return ()

    monkeypatch.setattr(running, "site_services", none_to_start)
    here: Layout = layout()
    running.ensure_site(here, lab_spec(), lambda _: None)
    (certificate,) = {service.files for service in made if service.protocol == "tcp"}
    before = certificate[0].read_bytes()
    platform = load_platform("lab")
    leaf = issue_site_certificate("lab", site_names(platform), str(platform.site.address))
    assert (leaf.certificate, leaf.certificate.read_bytes()) == (certificate[0], before)
    assert leaf.subject().dns == {"registry.lab.llmaas.internal"}


@pytest.mark.skipif(os.geteuid() != 0, reason="namespaces and another user need root")
def test_a_sandboxed_program_and_its_children_end_with_their_starter(tmp_path: Path) -> None:
    held = tmp_path / "held"
    os.mkfifo(held)
    # both processes hold the pipe open for reading: writing to it breaks once neither is left
    program = ["sh", "-c", "sleep 300 0<&0 & exec sleep 300"]
    sandbox = ["unshare", "--mount", "--propagation", "private", str(SANDBOX), "--", *program]
    starter = (
        "import subprocess, sys, time\n"
        "subprocess.Popen(['setpriv', '--pdeathsig', 'KILL', *sys.argv[1:]], stdin=open(0))\n"
        "time.sleep(300)\n"
    )
    reading = os.open(held, os.O_RDONLY | os.O_NONBLOCK)
    writing = os.open(held, os.O_WRONLY)
    process = subprocess.Popen([sys.executable, "-c", starter, *TOGETHER, *sandbox], stdin=reading)
    os.close(reading)
    write_for(writing, 1.5)
    process.send_signal(signal.SIGKILL)
    process.wait()
    with pytest.raises(BrokenPipeError):
        write_for(writing, 10)
    os.close(writing)


def write_for(pipe: int, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        os.write(pipe, b"x")
        time.sleep(0.1)
