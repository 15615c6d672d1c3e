"""One run at a time, which can be interrupted and killed without leaving anything at work."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from rich.console import Console

from lab.cgroups import cgroup_folders, systemd_scope
from lab.errors import LabError
from lab.layout import Layout
from lab.teardown import UP_GROUP, clean_stale
from llmaas.files import locked

_SCOPED: Final = "LLMAAS_LAB_SCOPED"


@contextmanager
def exclusive_run(layout: Layout, console: Console) -> Iterator[None]:
    """Hold the lab's lock, end what an interrupted run left, and put this run where the next one would find it.

    Raises:
        LabError: this is not root; nothing was changed.
    """
    _need_root()
    _enter_scope()
    with announced_lock(layout, console), _interruptible():
        clean_stale(layout)
        for folder in cgroup_folders(UP_GROUP):
            (Path(folder) / "cgroup.procs").write_text(str(os.getpid()), encoding="ascii")
        yield


@contextmanager
def announced_lock(layout: Layout, console: Console) -> Iterator[None]:
    """Hold the lab's lock; says so while it waits for another run.

    Raises:
        LabError: this is not root.
    """
    _need_root()
    with console.status(f"waiting for the run that holds {layout.lock}") as status, locked(layout.lock):
        status.stop()
        yield


def _need_root() -> None:
    if os.geteuid() != 0:
        raise LabError("the lab needs root: it makes machines, links and mounts", remedy="run this as root")


def _enter_scope() -> None:
    """Where systemd runs, begin again in a scope of the lab's; elsewhere a group is joined by hand."""
    scope = systemd_scope(UP_GROUP)
    if scope and _SCOPED not in os.environ:
        os.environ[_SCOPED] = "1"
        os.execvp(scope[0], [*scope, sys.executable, "-m", "llmaas.cli", *sys.argv[1:]])  # noqa: S606 - ourselves


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let a polite kill end the run as Ctrl-C does."""

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
