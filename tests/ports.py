"""Free ports for servers that tests start."""

import os
import secrets
import socket
from pathlib import Path
from typing import Final

_FIRST: Final = 20_000
_TRIES: Final = 1_000
_given: set[int] = set()


def free_port() -> int:
    """A TCP port on loopback that nobody listens on now, and that stays so while its server is down.

    It is none of those that the kernel gives to whoever asks for any, or connects: a server that a test ends and starts
    again would find one of them taken. Nor was it given before in this process, nor by another process of the same run:
    each of pytest-xdist's workers has a part of its own.

    Raises:
        RuntimeError: nearly all ports are in use.
    """
    # "32768	60999": those that the kernel gives
    above = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii").split()[0])
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    part = (above - _FIRST) // workers
    first = _FIRST + worker * part
    for _ in range(_TRIES):
        port = first + secrets.randbelow(part)
        if port not in _given and _is_free(port):
            _given.add(port)
            return port
    raise RuntimeError(f"no free port from {first} to {first + part - 1} in {_TRIES} tries")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
