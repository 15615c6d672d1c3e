"""Tells when anyone changes nftables or routes, so that a table flushed by someone else is put back at once.

The kernel says so on netlink; asking it every few seconds would cost more and answer later.
"""

import contextlib
import socket
import threading
from collections.abc import Callable

NETLINK_ROUTE, NETLINK_NETFILTER = 0, 12
IPV4_ROUTE_GROUP = 0x40  # RTMGRP_IPV4_ROUTE
NFTABLES_GROUP = 1 << 6  # NFNLGRP_NFTABLES is group 7
BUFFER_BYTES = 65536


def follow_kernel(on_event: Callable[[], None]) -> None:
    """Call ``on_event`` after every change, from threads that end with the process."""
    for protocol, group in ((NETLINK_ROUTE, IPV4_ROUTE_GROUP), (NETLINK_NETFILTER, NFTABLES_GROUP)):
        listener = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol)
        listener.bind((0, group))
        threading.Thread(target=_listen, args=(listener, on_event), name=f"netlink-{protocol}", daemon=True).start()


def _listen(listener: socket.socket, on_event: Callable[[], None]) -> None:
    while True:
        # An error is a buffer that ran over: something happened, which is all that we need to know.
        with contextlib.suppress(OSError):
            listener.recv(BUFFER_BYTES)
        on_event()
