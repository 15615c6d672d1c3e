"""Asks one program of the site once; a program of its own, so that it can be started in the site's network.

``python ask.py tcp|ntp ADDRESS PORT``: exit code 0 if it is answered.
"""

import socket
import sys
from typing import Final

_SECONDS: Final = 1
# an NTP client's packet of version 4
_QUESTION: Final = b"\x23" + bytes(47)


def answers(protocol: str, address: str, port: int) -> bool:
    """Whether a connection is taken (tcp), or a question for the time answered (ntp)."""
    try:
        if protocol == "tcp":
            socket.create_connection((address, port), _SECONDS).close()
            return True
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as query:
            query.settimeout(_SECONDS)
            query.sendto(_QUESTION, (address, port))
            return len(query.recv(len(_QUESTION))) == len(_QUESTION)
    except OSError:
        return False


if __name__ == "__main__":
    sys.exit(0 if answers(sys.argv[1], sys.argv[2], int(sys.argv[3])) else 1)
