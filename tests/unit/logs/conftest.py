"""The programs of a log host, as they are placed there: from the role's own files, with the standard library alone."""

import grp
import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from llmaas.paths import PROJECT_ROOT

FILES = PROJECT_ROOT / "ansible" / "roles" / "log_host" / "files"


def module(name: str) -> ModuleType:
    sys.path.insert(0, str(FILES))
    written, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(FILES))
        sys.dont_write_bytecode = written


log_store, log_watch, llmaas_logs = module("log_store"), module("log_watch"), module("llmaas_logs")


class Kept:
    """A store in a folder, with what a receiver would write into it."""

    def __init__(self, folder: Path) -> None:
        group = grp.getgrgid(os.getegid()).gr_name
        (folder / "status").mkdir()
        senders = ("gpu-host-01", "gpu-host-02")
        self.settings = log_store.Settings(folder / "store", folder / "status", group, senders, 180, 240)
        self.store = log_store.Store(self.settings)

    def path(self, sender: str, day: str) -> Path:
        return self.settings.store / "hosts" / sender / f"{day}.jsonl"

    def receive(self, sender: str, day: str, *lines: str) -> None:
        with self.path(sender, day).open("a") as file:
            file.writelines(f"{line}\n" for line in lines)


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    made = Kept(tmp_path)
    yield made
    # what the file system guards would stay for ever
    for path in tmp_path.rglob("*"):
        if path.is_file():
            log_store.set_flag(path, log_store.APPEND_ONLY | log_store.IMMUTABLE, on=False)
