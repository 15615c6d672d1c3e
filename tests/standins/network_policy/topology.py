"""A host and its pods as network namespaces: one router with forwarding, one namespace per end, an echo on every port.

A socket belongs to the namespace in which it was made, so one process listens and connects in all of them: each socket
is made in a thread that has moved to its namespace and ends at once.
"""

import contextlib
import ctypes
import os
import selectors
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from standins.network_policy import truth_table

CLONE_NEWNET = 0x40000000
ANSWER_SECONDS = 0.5
Made = TypeVar("Made")


def run(*command: str, text: str | None = None) -> str:
    """Run a command and fail with its words."""
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.stdout


def inside(namespace: str, make: Callable[[], Made]) -> Made:
    """Call a function in a thread that is in the namespace."""

    def move_and_make() -> Made:
        descriptor = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
        try:
            if ctypes.CDLL(None, use_errno=True).setns(descriptor, CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
        finally:
            os.close(descriptor)
        return make()

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(move_and_make).result()


class Topology:
    """The namespaces of one test run; the names carry the process id, so runs do not meet."""

    def __init__(self) -> None:
        self.prefix = f"np{os.getpid()}"
        self.router = f"{self.prefix}-router"
        self._namespaces = {end: f"{self.prefix}-{number}" for number, end in enumerate(truth_table.ends())}
        self._listeners: list[socket.socket] = []

    def build(self) -> None:
        """Make every namespace and link; pods on this node hang on interfaces named veth, all others do not."""
        run("ip", "netns", "add", self.router)
        run("ip", "-n", self.router, "link", "set", "lo", "up")
        run("ip", "netns", "exec", self.router, "sysctl", "-qw", "net.ipv4.ip_forward=1")
        for number, (end, namespace) in enumerate(self._namespaces.items()):
            self._attach(end, namespace, number)
        threading.Thread(target=self._serve, daemon=True).start()

    def _attach(self, end: str, namespace: str, number: int) -> None:
        address = truth_table.address_of(end)
        entry = truth_table.CONTENT["pods"].get(end)
        local = entry is not None and entry.get("node", truth_table.HERE) == truth_table.HERE
        link = f"veth{number}" if local else f"ext{number}"
        run("ip", "netns", "add", namespace)
        run("ip", "-n", self.router, "link", "add", link, "type", "veth", "peer", "eth0", "netns", namespace)
        for name, device, own in ((self.router, link, "169.254.1.1/32"), (namespace, "eth0", f"{address}/32")):
            run("ip", "-n", name, "address", "add", own, "dev", device)
            run("ip", "-n", name, "link", "set", device, "up")
        run("ip", "-n", namespace, "link", "set", "lo", "up")
        run("ip", "-n", self.router, "route", "add", address, "dev", link)
        run("ip", "-n", namespace, "route", "add", "169.254.1.1", "dev", "eth0")
        run("ip", "-n", namespace, "route", "add", "default", "via", "169.254.1.1")
        for protocol, port in truth_table.listening_ports():
            self._listeners.append(inside(namespace, lambda p=protocol, n=port: _listener(p, n)))

    def _serve(self) -> None:
        with selectors.DefaultSelector() as waiting:
            for listener in self._listeners:
                waiting.register(listener, selectors.EVENT_READ)
            while True:
                for key, _ in waiting.select():
                    with contextlib.suppress(OSError):
                        _answer(key.fileobj)

    def apply(self, text: str) -> None:
        """Load a ruleset in the router."""
        run("ip", "netns", "exec", self.router, "nft", "-f", "-", text=text)

    def answers(self, source: str, destination: str, protocol: str, port: int) -> bool:
        """Whether a new connection gets its echo."""
        client = inside(self._namespaces[source], lambda: socket.socket(socket.AF_INET, _kind(protocol)))
        with client:
            client.settimeout(ANSWER_SECONDS)
            try:
                client.connect((truth_table.address_of(destination), port))
                client.send(b"?")
                return client.recv(8) == b"!"
            except TimeoutError:
                return False

    def connect(self, source: str, destination: str, port: int) -> socket.socket:
        """An open TCP connection."""
        client = inside(self._namespaces[source], lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM))
        client.settimeout(ANSWER_SECONDS)
        client.connect((truth_table.address_of(destination), port))
        return client

    def namespace(self, end: str) -> str:
        """The network namespace of an end."""
        return self._namespaces[end]

    def remove(self) -> None:
        """Take everything away again."""
        for listener in self._listeners:
            listener.close()
        for name in [*self._namespaces.values(), self.router]:
            if Path(f"/run/netns/{name}").exists():
                run("ip", "netns", "del", name)


def topology() -> Iterator[Topology]:
    """Build, lend, remove."""
    made = Topology()
    try:
        made.build()
        yield made
    finally:
        made.remove()


def _kind(protocol: str) -> socket.SocketKind:
    return socket.SOCK_STREAM if protocol.upper() == "TCP" else socket.SOCK_DGRAM


def _listener(protocol: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, _kind(protocol))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("", port))
    if protocol == "tcp":
        listener.listen(16)
    return listener


def _answer(listener: socket.socket) -> None:
    if listener.type == socket.SOCK_STREAM:
        connection, _ = listener.accept()
        threading.Thread(target=_echo, args=(connection,), daemon=True).start()
    else:
        _, sender = listener.recvfrom(8)
        listener.sendto(b"!", sender)


def _echo(connection: socket.socket) -> None:
    with connection, contextlib.suppress(OSError):
        while connection.recv(8):
            connection.send(b"!")
