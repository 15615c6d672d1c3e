"""Runs on a host, with the Python there: tries connections, or lists sockets, in the host's network or in its pods'.

Arguments: ``attempts`` or ``sockets``, and what to do as compressed JSON. Prints JSON.
"""

import base64
import concurrent.futures
import contextlib
import ctypes
import errno
import json
import os
import resource
import selectors
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
import zlib
from pathlib import Path

NETWORKS = Path("/run/netns")
# That of the first thread, which never leaves it.
HOST_NETWORK = Path(f"/proc/{os.getpid()}/ns/net")
NEW_NETWORK = 0x40000000
ECHO_REQUEST, ECHO_REPLY = 8, 0


def output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def networks() -> dict[str, str]:
    """Address of a pod to its network on this host."""
    found = {"": ""}
    for path in NETWORKS.iterdir() if NETWORKS.is_dir() else ():
        # A pod that ends takes its network with it.
        with contextlib.suppress(subprocess.CalledProcessError):
            for link in json.loads(output("ip", "-n", path.name, "-j", "-4", "address") or "[]"):
                found.update((info["local"], path.name) for info in link.get("addr_info", ()))
    return found


def enter(network: str) -> None:
    """Move this thread into a network, the host's if it has no name; the other threads stay where they are."""
    with (NETWORKS / network if network else HOST_NETWORK).open() as file:
        if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), NEW_NETWORK) != 0:
            raise OSError(ctypes.get_errno(), f"cannot enter {network}")


def outcome(error: int) -> str:
    if error in {0, errno.ECONNREFUSED, errno.ETIMEDOUT}:
        return {0: "open", errno.ECONNREFUSED: "refused", errno.ETIMEDOUT: "silent"}[error]
    how = "rejected" if error in {errno.ECONNRESET, errno.ECONNABORTED, errno.EPIPE} else "unreachable"
    return f"{how}: {os.strerror(error)}"


def connect_all(tasks: list[dict]) -> list[str]:
    """Plain TCP connections, all at once and without a thread for each."""
    found = ["silent"] * len(tasks)
    begun = time.monotonic()
    with selectors.DefaultSelector() as waiting, contextlib.ExitStack() as sockets:
        for number, task in enumerate(tasks):
            sock = sockets.enter_context(socket.socket())
            sock.settimeout(0)
            error = sock.connect_ex((task["address"], task["port"]))
            if error == errno.EINPROGRESS:
                waiting.register(sock, selectors.EVENT_WRITE, (number, begun + task["seconds"]))
            else:
                found[number] = outcome(error)
        while waiting.get_map():
            for key, _ in waiting.select(0.1):
                found[key.data[0]] = outcome(key.fileobj.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
                waiting.unregister(key.fileobj)
            for key in list(waiting.get_map().values()):
                if key.data[1] < time.monotonic():
                    waiting.unregister(key.fileobj)
    return found


def tls(task: dict) -> str:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    version = ssl.TLSVersion.TLSv1_2 if task["tls"] == "1.2" else ssl.TLSVersion.TLSv1_3
    context.minimum_version = context.maximum_version = version
    with socket.create_connection((task["address"], task["port"]), task["seconds"]) as sock:
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


def udp(task: dict) -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect((task["address"], task["port"]))
        sock.settimeout(task["seconds"] / 3)
        for _ in range(3):
            sock.send(bytes.fromhex(task["payload"]))
            with contextlib.suppress(TimeoutError):
                sock.recv(4096)
                return "open"
    return "silent"


def ping(task: dict) -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as sock:
        sock.connect((task["address"], 0))
        name = threading.get_native_id() & 0x7FFF
        head = struct.pack("!BBHHH", ECHO_REQUEST, 0, ~(ECHO_REQUEST * 256 + name) & 0xFFFF, name, 0)
        for _ in range(3):
            sock.send(head)
            end = time.monotonic() + task["seconds"] / 3
            while (left := end - time.monotonic()) > 0:
                sock.settimeout(left)
                with contextlib.suppress(TimeoutError):
                    # behind an IP header of 20 bytes; other answers than ours come here too
                    kind, _, _, told = struct.unpack("!BBHH", sock.recv(4096)[20:26])
                    if (kind, told) == (ECHO_REPLY, name):
                        return "open"
    return "silent"


def attempt(task: dict) -> str:
    try:
        return {"tcp": tls, "udp": udp, "icmp": ping}[task["protocol"]](task)
    except TimeoutError:
        return "silent"
    except OSError as error:
        return outcome(error.errno or errno.EIO)


def attempts(network: str, tasks: list[dict]) -> list[str]:
    """The outcome of each attempt from one network."""
    enter(network)
    plain = [task["protocol"] == "tcp" and not task["tls"] for task in tasks]
    others = [task for task, is_plain in zip(tasks, plain, strict=True) if not is_plain]
    with concurrent.futures.ThreadPoolExecutor(64, initializer=enter, initargs=(network,)) as pool:
        slow = pool.map(attempt, others)
        fast = iter(connect_all([task for task, is_plain in zip(tasks, plain, strict=True) if is_plain]))
        return [next(fast) if is_plain else next(slow) for is_plain in plain]


def sockets(network: str) -> list[str]:
    enter(network)
    return output("ss", "-Htulnp").splitlines()


def network_of(found: dict[str, str], pod: str) -> str:
    if pod not in found:
        sys.exit(f"no network on this host has the address {pod}")
    return found[pod]


def main() -> None:
    kind, packed = sys.argv[1:]
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    value = json.loads(zlib.decompress(base64.b64decode(packed)))
    found = networks()
    with concurrent.futures.ThreadPoolExecutor(len(value)) as pool:
        if kind == "attempts":
            begun = [pool.submit(attempts, network_of(found, each["pod"]), each["tasks"]) for each in value]
            print(json.dumps([future.result() for future in begun]))
        else:
            listed = {pod: pool.submit(sockets, network_of(found, pod)) for pod in value}
            print(json.dumps({pod: future.result() for pod, future in listed.items()}))


main()
