"""Processes of containers, which outlive kubelet and containerd: both leave them running when they stop."""

from __future__ import annotations

import contextlib
import os
import signal
import time

SHIM = "containerd-shim"
_PAUSE_SECONDS = 0.1


def _parents() -> dict[int, int]:
    """Process -> its parent; without those that have ended and are only not yet forgotten."""
    found = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        with contextlib.suppress(OSError), open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as file:
            # the name of a program may have blanks and brackets in it
            state, parent = file.read().rpartition(")")[2].split()[:2]
            if state not in {"Z", "X"}:
                found[int(name)] = int(parent)
    return found


def _is_shim(process: int) -> bool:
    try:
        return os.path.basename(os.readlink(f"/proc/{process}/exe")).startswith(SHIM)
    except OSError:
        return False


def containers() -> tuple[list[int], list[int]]:
    """Containerd's shims, and all that they and what they started have started: the containers' own processes."""
    parents = _parents()
    shims = {process for process in parents if _is_shim(process)}
    found = set(shims)
    while more := {process for process, parent in parents.items() if parent in found} - found:
        found |= more
    return sorted(shims), sorted(found - shims)


def end_containers(seconds: float = 60) -> None:
    """Kill all processes of containers, and then the shims, by which a run that was interrupted finds them again.

    Raises:
        ValueError: some do not end.
    """
    deadline = time.monotonic() + seconds
    while True:
        shims, inside = containers()
        doomed = inside or shims
        if not doomed:
            return
        if time.monotonic() > deadline:
            raise ValueError(f"processes {', '.join(map(str, doomed))} of containers do not end; restart the host")
        for process in doomed:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        time.sleep(_PAUSE_SECONDS)
