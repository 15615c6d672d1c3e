"""Tries connections from where they start: a script on the host, in its own network or in that of one of its pods."""

import ipaddress
import json
import shlex
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

# One connection each, all at once. An attempt ends "open", "refused" (someone answered no), "silent" (nobody answered:
# what a firewall does), "rejected" (ended
# after it was opened) or "unreachable" (no way there). With TLS, what the handshake and an empty request gave.
SCRIPT = r"""
import concurrent.futures, json, socket, ssl, sys
def tls(task, sock):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    version = ssl.TLSVersion.TLSv1_2 if task["tls"] == "1.2" else ssl.TLSVersion.TLSv1_3
    context.minimum_version = context.maximum_version = version
    if task["starttls"] == "postgres":
        sock.sendall(bytes([0, 0, 0, 8, 4, 210, 22, 47]))
        if sock.recv(1) != b"S":
            return "no TLS"
    try:
        with context.wrap_socket(sock) as secure:
            if not task["request"]:
                return secure.version()
            secure.sendall(task["request"].encode())
            return secure.recv(4096).decode(errors="replace") or "ended"
    except (ssl.SSLError, ConnectionError) as error:
        return "rejected: " + str(getattr(error, "reason", None) or error)
def attempt(task):
    try:
        with socket.create_connection((task["address"], task["port"]), task["seconds"]) as sock:
            return tls(task, sock) if task["tls"] else "open"
    except ConnectionRefusedError:
        return "refused"
    except ConnectionError as error:
        return "rejected: " + str(error)
    except TimeoutError:
        return "silent"
    except OSError as error:
        return "unreachable: " + str(error)
tasks = json.loads(sys.argv[1])
with concurrent.futures.ThreadPoolExecutor(128) as pool:
    print(json.dumps(list(pool.map(attempt, tasks))))
"""

NETWORKS_SCRIPT = r"""
import json, os, subprocess
found = {}
for name in os.listdir("/run/netns"):
    shown = subprocess.run(["ip", "-n", name, "-j", "-4", "address"], capture_output=True, text=True).stdout
    for link in json.loads(shown or "[]"):
        for info in link["addr_info"]:
            found[info["local"]] = name
print(json.dumps(found))
"""


@dataclass(frozen=True)
class Attempt:
    """One connection to try."""

    address: str
    port: int
    tls: Literal["", "1.2", "1.3"] = ""
    starttls: Literal["", "postgres"] = ""
    request: str = ""
    seconds: float = field(default=1.5)


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

    def attempt(self, attempts: list[Attempt], network: str | None = None) -> list[str]:
        """The outcome of each connection, from the host itself or from one of its pods' networks."""
        assert attempts, "nothing to try"
        inside = ["ip", "netns", "exec", network] if network else []
        text = json.dumps([asdict(item) for item in attempts])
        found: list[str] = self.json(*inside, "/usr/bin/python3", "-c", SCRIPT, text)
        return found

    def pod_networks(self) -> dict[str, str]:
        """Address of a pod to the name of its network namespace."""
        found: dict[str, str] = self.json("/usr/bin/python3", "-c", NETWORKS_SCRIPT)
        return found

    def listeners(self) -> set[tuple[str, int]]:
        """Program and port of everything that accepts TCP from outside the host."""
        found = set()
        for line in self.output("ss", "-Htlnp").splitlines():
            address, _, port = line.split()[3].rpartition(":")
            if not _is_loopback(address):
                program = line.partition('users:(("')[2].partition('"')[0]
                found.add((program, int(port)))
        return found


def _is_loopback(text: str) -> bool:
    bare = text.strip("[]").partition("%")[0]
    return bare != "*" and ipaddress.ip_address(bare).is_loopback
