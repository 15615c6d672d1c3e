"""Tries connections from where they start: a script on the host, in its own network or in those of its pods."""

import base64
import ipaddress
import json
import shlex
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

import testinfra

from llmaas.settings import Platform
from llmaas.verify.connection import write_ssh_configuration

# The text of what runs on hosts, which have Python but nothing of ours.
SCRIPT: Final = (Path(__file__).parent / "attempts_script.py").read_text(encoding="utf-8")


@dataclass(frozen=True)
class Attempt:
    """One connection to try.

    Ends "open", "refused" (someone answered no), "silent" (nobody answered: what a firewall does), "rejected" (ended
    after it was opened) or "unreachable" (no way there). With ``tls``, what the handshake and an empty request gave.
    Over UDP it is open where ``payload``, in hexadecimal, is answered; by ICMP where a ping is, whatever the port.
    """

    address: str
    port: int
    tls: Literal["", "1.2", "1.3"] = ""
    starttls: Literal["", "postgres"] = ""
    request: str = ""
    seconds: float = 1.5
    protocol: Literal["tcp", "udp", "icmp"] = "tcp"
    payload: str = ""


@dataclass(frozen=True)
class Start:
    """Attempts that start at one place: the host, or the pod at an address of the host."""

    attempts: Sequence[Attempt]
    pod: str = ""


@dataclass(frozen=True)
class Socket:
    """A program that accepts connections from outside its host or pod."""

    protocol: Literal["tcp", "udp"]
    program: str
    port: int


class Machine:
    """A host reached by SSH."""

    def __init__(self, remote: Any) -> None:
        self.remote = remote

    def output(self, *command: str) -> str:
        """What a command prints; a command that fails fails the test."""
        return str(self.remote.check_output(shlex.join(command)))

    def json(self, *command: str) -> Any:
        """The JSON that a command prints."""
        return json.loads(self.output(*command))

    def attempt(self, attempts: Sequence[Attempt], pod: str = "") -> list[str]:
        """The outcome of each connection from the host itself, or from the pod at an address of the host."""
        (found,) = self.attempt_from([Start(attempts, pod)])
        return found

    def attempt_from(self, starts: Sequence[Start]) -> list[list[str]]:
        """The outcomes of all attempts, all at once, by where they start."""
        assert all(start.attempts for start in starts), "nothing to try"
        tasks = [{"pod": start.pod, "tasks": [asdict(item) for item in start.attempts]} for start in starts]
        found: list[list[str]] = self._run("attempts", tasks)
        return found

    def sockets(self, pods: Sequence[str] = ()) -> dict[str, set[Socket]]:
        """What accepts connections from outside, of the host (at the key "") and of its pods, by their addresses."""
        listed: dict[str, list[str]] = self._run("sockets", ["", *pods])
        return {place: {_socket(line) for line in lines if not _is_loopback(line)} for place, lines in listed.items()}

    def _run(self, task: str, value: Any) -> Any:
        # One argument of a command holds 128 KiB; hundreds of attempts are the same words again and again.
        packed = base64.b64encode(zlib.compress(json.dumps(value).encode())).decode()
        return self.json("/usr/bin/python3", "-c", SCRIPT, task, packed)


def reach(platform: Platform, folder: Path) -> dict[str, Machine]:
    """Every host and key server by its name; ``folder`` has a short path, as a socket of SSH must."""
    configuration = write_ssh_configuration(platform, folder)
    return {
        machine.name: Machine(testinfra.get_host(f"ssh://{machine.name}", ssh_config=str(configuration)))
        for machine in platform.machines
    }


def _socket(line: str) -> Socket:
    """From a line of ``ss -Htulnp``: kind, state, two queues, address, peer, program."""
    kind, _, _, _, address, *_ = line.split()
    program = line.partition('users:(("')[2].partition('"')[0]
    return Socket("udp" if kind == "udp" else "tcp", program, int(address.rpartition(":")[2]))


def _is_loopback(line: str) -> bool:
    bare = line.split()[4].rpartition(":")[0].strip("[]").partition("%")[0]
    return bare != "*" and ipaddress.ip_address(bare).is_loopback
