"""A network of the emulated hosts' own: a bridge in a network namespace, unseen by the rest of the machine."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Interface
from pathlib import Path
from typing import Final

from lab.command import run
from lab.keys import ssh_command
from lab.layout import Layout

BRIDGE: Final = "br-emulated"
_GREETING_SECONDS: Final = 60


@dataclass(frozen=True)
class Network:
    """The namespace ``name``; this machine has ``address`` in it."""

    name: str
    address: IPv4Interface

    def inside(self, command: Sequence[str | Path]) -> list[str]:
        """``command``, to be run in the namespace; files and control groups are the machine's as everywhere."""
        return ["nsenter", f"--net=/run/netns/{self.name}", "--", *map(str, command)]

    def run(
        self, command: Sequence[str | Path], seconds: float = 60, environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run ``command`` in the namespace to its end, whatever its exit code."""
        return subprocess.run(
            self.inside(command),
            check=False,
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            timeout=seconds,
            env={**os.environ, **(environment or {})},
        )

    def ssh(self, layout: Layout, address: str, command: str, seconds: float) -> subprocess.CompletedProcess[str]:
        """Run ``command`` on a host; 255 as exit code means that it was not reached."""
        program, *options = ssh_command(layout, address)
        # the first value counts: an emulated processor takes its time to greet
        arguments = [program, f"-oConnectTimeout={_GREETING_SECONDS}", *options, command]
        try:
            return self.run(arguments, seconds)
        except subprocess.TimeoutExpired:
            return subprocess.CompletedProcess(arguments, 255, "", f"no end within {seconds:.0f} s")

    def create(self) -> None:
        """Make the namespace and its bridge; one that an interrupted run left is removed first."""
        self.remove()
        run(["ip", "netns", "add", self.name])
        for command in (
            ["ip", "link", "set", "lo", "up"],
            ["ip", "link", "add", BRIDGE, "type", "bridge"],
            ["ip", "address", "add", str(self.address), "dev", BRIDGE],
            ["ip", "link", "set", BRIDGE, "up"],
        ):
            run(self.inside(command))

    def add_tap(self, name: str) -> None:
        """Make the interface by which an emulated host joins the bridge."""
        run(self.inside(["ip", "tuntap", "add", "dev", name, "mode", "tap"]))
        run(self.inside(["ip", "link", "set", name, "master", BRIDGE, "up"]))

    def remove(self) -> None:
        """Take the namespace away, with all that is in it."""
        if Path("/run/netns", self.name).exists():
            run(["ip", "netns", "delete", self.name])
