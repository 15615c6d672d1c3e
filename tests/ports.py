"""Free ports for servers that tests start."""

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
    again would find one of them taken. Nor was it given before in this process.

    Raises:
        RuntimeError: nearly all ports are in use.
    """
    # "32768	60999": those that the kernel gives
    above = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii").split()[0])
    for _ in range(_TRIES):
        port = _FIRST + secrets.randbelow(above - _FIRST)
        if port not in _given and _is_free(port):
            _given.add(port)
            return port
    raise RuntimeError(f"no free port from {_FIRST} to {above - 1} in {_TRIES} tries")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
