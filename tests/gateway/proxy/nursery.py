"""Imports LiteLLM once and forks replicas of the proxy from there, since the import is most of what a start takes.

Run by the image's Python with LiteLLM's packages. A line of JSON on standard input starts a replica and is answered
with its process id: ``{"arguments": [...], "bare": false, "log": "..."}``; ``{"reap": PID}`` waits for one that ends.

It has one thread, or it forks nothing: a lock that another thread holds just then would never be free in the replica.
"""

import faulthandler
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

# NumPy's linear algebra has a thread for each core otherwise, from its import on.
os.environ["OPENBLAS_NUM_THREADS"] = "1"

import litellm.proxy.proxy_cli
import litellm.proxy.proxy_server  # noqa: F401 - imported for the replicas
from llmaas_gateway.proxy.server import main


def _replica(order: dict[str, Any]) -> None:
    """Become a process like one that was started by itself."""
    os.setsid()
    os.environ.update(order["environment"])
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # whoever waits for it in vain asks where it stands
    faulthandler.register(signal.SIGUSR1)
    # a crash in a library's own code names the line of ours that led there
    faulthandler.enable()
    code = 1
    try:
        code = main(order["arguments"], bare=order["bare"])
    finally:
        sys.stdout.flush()
        os._exit(code)


def _fork() -> int:
    """As ``os.fork``.

    Raises:
        RuntimeError: there are threads beside this one, of Python or of a library.
    """
    threads = sorted(path.name for path in Path("/proc/self/task").iterdir())
    if len(threads) > 1:
        raise RuntimeError(f"{len(threads)} threads ({', '.join(threads)}) where a fork needs there to be one")
    return os.fork()


def _run() -> None:
    # Whoever interrupts the tests does not mean the nursery: it ends when its standard input does.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    print("ready", flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        if "reap" in order:
            os.waitpid(order["reap"], 0)
            print("gone", flush=True)
            continue
        child = _fork()
        if child == 0:
            _replica(order)
        print(child, flush=True)
    # LiteLLM's farewell takes a while and is nobody's here.
    os._exit(0)


if __name__ == "__main__":
    _run()
