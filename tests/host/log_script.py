"""Runs on a host, with the Python there. Argument: JSON with the task and its values. Prints JSON.

``send``: to a log host, with a certificate or none; says what became of it. ``tamper``: what root and the receiver's
user can do to files of the store, on empty ones where something could be lost. ``refuse``: a connection to
nobody, on a way that is open for as long as it takes. ``leaked``: files with keys of which the journal holds something.
"""

import base64
import contextlib
import glob
import json
import os
import pwd
import socket
import ssl
import subprocess
import sys
import tempfile
from pathlib import Path

ANSWER_SECONDS = 3
PATIENCE_SECONDS = 30


def send(values: dict) -> str:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations("/etc/llmaas/trust/root.crt")
    if values["version"] == "1.2":
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    if values["own"]:
        context.load_cert_chain("/etc/llmaas/trust/host.crt", "/etc/llmaas/trust/host.key")
    elif values["certificate"]:
        with tempfile.NamedTemporaryFile("w") as file:
            file.write(values["certificate"])
            file.flush()
            context.load_cert_chain(file.name)
    frame = values["frame"].encode()
    try:
        with (
            socket.create_connection((values["address"], values["port"]), ANSWER_SECONDS) as plain,
            context.wrap_socket(plain, server_hostname=values["address"]) as secure,
        ):
            secure.sendall(b"%d %s" % (len(frame), frame))
            # Of TLS 1.3 the client hears only now that it was refused; whoever is taken hears nothing.
            try:
                return "taken" if secure.recv(1) else "refused"
            except TimeoutError:
                # Nothing more is sent, and all is read that a busy server still says, its tickets too: what is closed
                # with something unread is reset, and the server loses what it has not read yet.
                secure.shutdown(socket.SHUT_WR)
                secure.settimeout(PATIENCE_SECONDS)
                with contextlib.suppress(OSError):
                    while secure.recv(4096):
                        pass
                return "taken"
    except (ssl.SSLError, ConnectionError):
        return "refused"


def tamper(values: dict) -> list[str]:
    """Everything that succeeded, and should not have."""
    written, empty = Path(values["written"]), Path(values["empty"])
    attempts = {
        "open for writing": lambda: os.close(os.open(written, os.O_WRONLY)),
        "rename": lambda: empty.rename(f"{empty}.moved"),
        "delete": empty.unlink,
    }
    by_user = {
        **attempts,
        "read": lambda: os.close(os.open(written, os.O_RDONLY)),
        "make": lambda: os.close(os.open(written.with_name("2001-01-01.jsonl"), os.O_WRONLY | os.O_CREAT)),
        "give away": lambda: written.chmod(0o640),
    }
    done = [f"root could {name}" for name, attempt in attempts.items() if succeeds(attempt)]
    user = pwd.getpwnam("llmaas-logs")
    os.setgroups([user.pw_gid])
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)
    return [*done, *(f"the receiver could {name}" for name, attempt in by_user.items() if succeeds(attempt))]


def succeeds(attempt) -> bool:  # noqa: ANN001 - a function without arguments
    try:
        attempt()
    except PermissionError:
        return False
    return True


def refuse(values: dict) -> list[str]:
    """What a program hears that sends to an address outside, over UDP and TCP."""
    link = json.loads(subprocess.check_output(["ip", "-j", "route", "get", values["by"]]))[0]["dev"]
    route = ["ip", "route", "replace", f"{values['address']}/32", "dev", link]
    subprocess.run(route, check=True)
    try:
        return [spoken(kind, values["address"], values["port"]) for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM)]
    finally:
        subprocess.run(["ip", "route", "delete", *route[3:]], check=True)


def spoken(kind: int, address: str, port: int) -> str:
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.settimeout(1)
        try:
            sock.connect((address, port))
            sock.send(b"?")
        except (PermissionError, TimeoutError) as error:
            return type(error).__name__
    return "sent"


def leaked(values: dict) -> list[str]:
    """Of the last day: who writes a key into a log does so with every run."""
    paths = sorted(path for pattern in values["files"] for path in glob.glob(pattern))  # noqa: PTH207 - patterns are absolute
    wanted = {path: needles(Path(path).read_bytes()) for path in paths}
    found = set()
    command = ["journalctl", "--output=cat", "--no-pager", "--all", "--since=-1d"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as journal:
        for line in journal.stdout:
            found.update(path for path, texts in wanted.items() if any(text in line for text in texts))
    if journal.returncode or not paths:
        raise SystemExit(f"the journal was not searched for {paths}: {journal.returncode}")
    return sorted(found)


def needles(content: bytes) -> list[bytes]:
    """Long words of a file, which its keys are, and a part of what it is in base64."""
    encoded = base64.b64encode(content)
    middle = len(encoded) // 2
    return [*(word for word in content.split() if len(word) >= 32), encoded[middle - 24 : middle + 24]]


TASKS = {"send": send, "tamper": tamper, "refuse": refuse, "leaked": leaked}
ORDER = json.loads(sys.argv[1])
print(json.dumps(TASKS[ORDER.pop("task")](ORDER)))
