"""A machine that has all that the lab needs, as its facts tell; a test takes one of them away."""

import json
import os
import shutil
import subprocess
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lab.toolchain.go import RELEASE

_LISTENS = {"tcp": "0A", "udp": "07"}


@dataclass
class PlainMachine:
    """What the kernel, the package manager and ``ip`` say of it; each field may be changed at any time.

    Attributes:
        missing_programs: what is not on ``PATH``.
        missing_packages: Debian packages that are not installed.
        refused: words of those trials of the kernel's features that fail.
        links: the kernel's, with their aliases; ``addresses`` what ``ip address`` tells, ``routes`` what ``ip route``.
        listeners: protocol, address and port of each socket that waits for somebody.
    """

    user: int = 0
    cores: int = 2
    processor: str = "fpu sse4_2 avx avx2"
    memory_gib: float = 24
    available_gib: float = 20
    free_disk_gib: float = 40
    file_systems: tuple[str, ...] = ("proc", "ext4", "overlay")
    missing_programs: tuple[str, ...] = ()
    missing_packages: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    links: list[dict[str, Any]] = field(default_factory=list)
    addresses: list[dict[str, Any]] = field(default_factory=list)
    routes: list[dict[str, Any]] = field(default_factory=list)
    listeners: list[tuple[str, str, int]] = field(default_factory=list)

    def takes_the_place(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Have this process find this machine's facts instead of those of the one that it runs on."""
        really_read = Path.read_text

        def read_text(path: Path, *arguments: Any, **options: Any) -> str:
            text = self._kernel_file(str(path))
            return really_read(path, *arguments, **options) if text is None else text

        def disk_usage(_path: object) -> SimpleNamespace:
            return SimpleNamespace(total=100 * 2**30, used=0, free=int(self.free_disk_gib * 2**30))

        monkeypatch.setattr(Path, "read_text", read_text)
        monkeypatch.setattr(os, "geteuid", lambda: self.user)
        monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(self.cores)))
        monkeypatch.setattr(shutil, "disk_usage", disk_usage)
        monkeypatch.setattr(shutil, "which", self._which)
        monkeypatch.setattr(subprocess, "run", self._run)

    def _which(self, program: str, *_arguments: Any, **_options: Any) -> str | None:
        return None if program in self.missing_programs else f"/usr/bin/{program}"

    def _kernel_file(self, path: str) -> str | None:
        match path.split("/")[1:]:
            case ["proc", "meminfo"]:
                sizes = {"MemTotal": self.memory_gib, "MemFree": 0, "MemAvailable": self.available_gib}
                return "".join(f"{name}: {int(gib * 2**20)} kB\n" for name, gib in sizes.items())
            case ["proc", "cpuinfo"]:
                return f"processor\t: 0\nflags\t\t: {self.processor}\n"
            case ["proc", "filesystems"]:
                return "".join(f"nodev\t{name}\n" for name in self.file_systems)
            case ["proc", "net", table]:
                return self._sockets(table)
            case _:
                return None

    def _sockets(self, table: str) -> str:
        lines = ["  sl  local_address rem_address   st"]
        for protocol, address, port in self.listeners:
            if protocol == table:
                local = IPv4Address(address).packed[::-1].hex().upper()
                lines.append(f"   0: {local}:{port:04X} 00000000:0000 {_LISTENS[protocol]}")
        return "\n".join(lines) + "\n"

    def _run(self, command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        words = [str(word) for word in command]
        code, told, complaint = self._answer(words)
        output = options.get("stdout")
        if hasattr(output, "write"):
            output.write(told.encode())
        return subprocess.CompletedProcess(words, code, told, complaint)

    def _answer(self, words: list[str]) -> tuple[int, str, str]:
        match words:
            case ["unshare", *_] if set(self.refused) & set(words):
                return 2, "", "Error: Unknown device type."
            case ["dpkg-query", *rest]:
                names = [word for word in rest if not word.startswith("-")]
                there = [name for name in names if name not in self.missing_packages]
                return int(there != names), "".join(f"{name} installed\n" for name in there), ""
            case ["/usr/bin/go", *_]:
                return 0, f"go{RELEASE}\n", ""
            case ["ip", "-json", *rest]:
                facts = {"link": self.links, "address": self.addresses, "route": self.routes}
                (asked,) = facts.keys() & set(rest)
                return 0, json.dumps(facts[asked]), ""
            case _:
                # Everything else is a program that is asked for its version, and says none.
                return 0, "", ""
