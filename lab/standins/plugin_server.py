"""How a Pulumi plugin runs: a gRPC server on a loopback port, its number on standard output, gone with its engine."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from concurrent import futures

import grpc

CHANNEL_OPTIONS = (
    ("grpc.max_receive_message_length", 400 * 1024 * 1024),
    ("grpc.max_send_message_length", 400 * 1024 * 1024),
)
"""The engine's own limits: a stack's state can be far larger than gRPC's default of 4 MiB."""

_PARENT_POLL_SECONDS = 0.5


def end_with_parent() -> None:
    """End this process as soon as the one that started it is gone, also when that one was killed."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_PARENT_POLL_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


def end_at_once_on_signals() -> None:
    """End on SIGINT and SIGTERM without waiting for threads: every command of the engine would wait with us."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: os._exit(0))


def serve(register: Callable[[grpc.Server], None], workers: int) -> None:
    """Serve what `register` adds to the server until the engine ends this process.

    Args:
        register: adds the servicer to the server.
        workers: how many calls may run at once; the engine keeps one call open for each resource that it awaits.
    """
    end_at_once_on_signals()
    end_with_parent()
    server = grpc.server(futures.ThreadPoolExecutor(workers), options=CHANNEL_OPTIONS)
    register(server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    server.wait_for_termination()
