"""Processes that outlive the command that started them, recorded so that no other process is ever taken for them."""

import contextlib
import json
import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from lab.launching import launch
from lab.machine import boot_id, process_start
from llmaas.files import write_atomically


@dataclass(frozen=True)
class Process:
    """A process that was started: its number alone would not do, numbers are used again."""

    name: str
    pid: int
    start_ticks: int
    boot: str

    def alive(self) -> bool:
        """Whether this very process still runs."""
        return self.boot == boot_id() and process_start(self.pid) == self.start_ticks

    def send(self, number: signal.Signals) -> None:
        """Send a signal to this very process; nothing happens if it has ended."""
        try:
            handle = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        try:
            # The handle holds whoever has the number now; only then is it safe to look who that is.
            if self.alive():
                signal.pidfd_send_signal(handle, number)
        except ProcessLookupError:
            pass
        finally:
            os.close(handle)

    def wait_ended(self, seconds: float) -> bool:
        """Wait until it has ended; False if it still runs after ``seconds``."""
        deadline = time.monotonic() + seconds
        while self.alive():
            if time.monotonic() >= deadline:
                return False
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self.pid, os.WNOHANG)
            time.sleep(0.05)
        return True


@dataclass(frozen=True)
class ProcessTable:
    """The records of what runs, one file for each, in ``folder``."""

    folder: Path

    def get(self, name: str) -> Process | None:
        """The recorded process of this name if it still runs."""
        process = self._read(self.folder / f"{name}.json")
        return process if process is not None and process.alive() else None

    def running(self) -> tuple[Process, ...]:
        """All recorded processes that still run."""
        found = (self._read(path) for path in sorted(self.folder.glob("*.json")))
        return tuple(process for process in found if process is not None and process.alive())

    def forget(self, name: str) -> None:
        """Remove the record."""
        (self.folder / f"{name}.json").unlink(missing_ok=True)

    def start(
        self,
        name: str,
        command: Sequence[str],
        log: Path,
        environment: Mapping[str, str] | None = None,
        *,
        weight: int = 1,
    ) -> Process:
        """Start ``command`` in a session and a cgroup of its own, its output appended to ``log``, and record it.

        ``weight`` as in ``launch``.
        """
        started = launch(name, command, log, environment, weight=weight)
        ticks = process_start(started.pid)
        # -1 fits no process: one that ended at once is recorded as ended
        process = Process(name, started.pid, -1 if ticks is None else ticks, boot_id())
        write_atomically(self.folder / f"{name}.json", json.dumps(asdict(process)), mode=0o600)
        return process

    def _read(self, path: Path) -> Process | None:
        """A record; None where there is none or a machine that was lost left half of one."""
        try:
            return Process(**json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    @classmethod
    def at(cls, folder: Path) -> Self:
        """The table in ``folder``, which is made if it is missing."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return cls(folder)
