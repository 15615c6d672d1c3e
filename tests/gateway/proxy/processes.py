"""Processes that the tests start and end, and waiting for them."""

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

from lab.images.python import image_python

# An idle machine takes 20 s for one and 40 s for three; a busy one much longer.
_READY_SECONDS = 240


def wait_until(ready: Callable[[], bool], what: str, seconds: float = _READY_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} is not ready after {seconds} s")
        time.sleep(0.1)


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


def has_ended(pid: int) -> bool:
    """Whether a process ended that nobody has waited for yet."""
    # "PID (NAME) STATE ...", where the name may hold anything
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "Z"


class Program:
    """A process of ours with its log."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self._command, self._environment, self.log = command, environment, log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                self._command, env=dict(self._environment), stdout=output, stderr=output, cwd=self.log.parent
            )

    def end(self, how: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(60)
            self._process = None

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid


class Nursery:
    """The process that replicas of the proxy are forked from."""

    def __init__(self, environment: Mapping[str, str], folder: Path) -> None:
        self._environment, self._folder = environment, folder
        self._process: subprocess.Popen[str] | None = None
        # A test may kill one replica while another one starts.
        self._turn = threading.Lock()

    def _ask(self, order: Mapping[str, Any]) -> str:
        with self._turn:
            process = self._process or self._start()
            if process.stdin is None or process.stdout is None:
                raise RuntimeError("the nursery has no pipes")
            process.stdin.write(json.dumps(order) + "\n")
            process.stdin.flush()
            answer = process.stdout.readline().strip()
        if not answer:
            raise RuntimeError(f"the nursery died: {(self._folder / 'nursery.log').read_text()[-4000:]}")
        return answer

    def _start(self) -> subprocess.Popen[str]:
        with (self._folder / "nursery.log").open("ab") as log:
            self._process = subprocess.Popen(
                [image_python(), "-s", str(Path(__file__).parent / "nursery.py")],
                env=dict(self._environment),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=self._folder,
            )
        # LiteLLM writes there as well while it is imported.
        while self._process.stdout and (line := self._process.stdout.readline()):
            if line.strip() == "ready":
                return self._process
        raise RuntimeError(f"the nursery died: {(self._folder / 'nursery.log').read_text()[-4000:]}")

    def fork(self, arguments: Sequence[str], log: Path, environment: Mapping[str, str], *, bare: bool) -> int:
        """Start a replica; its process id."""
        order = {"arguments": list(arguments), "log": str(log), "bare": bare, "environment": dict(environment)}
        return int(self._ask(order))

    def end(self, pid: int, how: signal.Signals) -> None:
        """End a replica, and wait until it has."""
        os.kill(pid, how)
        self._ask({"reap": pid})

    def close(self) -> None:
        """End the nursery itself."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            self._process.wait(60)
