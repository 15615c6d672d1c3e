"""The stores of a live environment as streams to search: databases, Redis, logs and objects of pods, hosts.

Nothing that is searched for is ever sent to a store but to hosts, and there on standard input: a store that logs its
commands would keep the marker because of the search. Each search has a control: it must find what is known to be there.
"""

import contextlib
import hashlib
import json
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import kubernetes

from llmaas.verify.canary.marker import Canary, order
from llmaas.verify.canary.search import CHUNK, Finder, program
from llmaas.views import topology as t
from llmaas.views.data import REDIS_AUTH_FILE
from llmaas.views.haproxy import certificate_folder

# Wherever a program of the platform may write, containers' own layers and memory-backed volumes included.
HOST_FOLDERS: Final = (
    "/var/log",
    "/var/lib/llmaas",  # logs of other hosts too, on a log host
    "/var/lib/kubelet",
    "/var/lib/systemd/coredump",
    "/var/lib/containerd",
    "/var/lib/etcd",
    "/var/crash",
    "/var/tmp",  # noqa: S108 - searched, not used
    "/tmp",  # noqa: S108 - as above
    "/root",
)
# One line each: the pattern never goes there, all keys and values come here.
_REDIS_PAGE: Final = (
    "local page = redis.call('SCAN', ARGV[1], 'COUNT', 200) local out = {page[1]} "
    "for _, key in ipairs(page[2]) do out[#out + 1] = key local kind = redis.call('TYPE', key).ok "
    "if kind == 'string' then out[#out + 1] = redis.call('GET', key) "
    "elseif kind == 'hash' then out[#out + 1] = redis.call('HGETALL', key) "
    "elseif kind == 'list' then out[#out + 1] = redis.call('LRANGE', key, 0, -1) "
    "elseif kind == 'set' then out[#out + 1] = redis.call('SMEMBERS', key) "
    "elseif kind == 'zset' then out[#out + 1] = redis.call('ZRANGE', key, 0, -1) "
    "elseif kind == 'stream' then out[#out + 1] = redis.call('XRANGE', key, '-', '+') "
    "elseif kind ~= 'none' then out[#out + 1] = redis.call('DUMP', key) end end return out"
)
_DATABASES: Final = "SELECT datname FROM pg_database WHERE datallowconn"
# What runs at this moment, with its text: a query's parameters never stand in a dump.
_RUNNING: Final = "SELECT query FROM pg_stat_activity"
_COPY: Final = b"COPY "


class SearchError(RuntimeError):
    """A store that could not be searched, or a search that does not find what is there: it has shown nothing."""


@dataclass(frozen=True)
class Hit:
    """Where something was found, and in which form; never the text itself."""

    place: str
    form: str

    def __str__(self) -> str:
        """As it is told."""
        return f"{self.place} ({self.form})"


class Stores:
    """What of an environment can be searched from a bastion."""

    def __init__(self, kubeconfig: Path, cluster: Any, canary: Canary, patterns: Mapping[str, bytes]) -> None:
        """Takes the administrator's way into the cluster, a client of it (CoreV1Api), and what is searched for."""
        self._kubeconfig = kubeconfig
        self._cluster = cluster
        self._canary = canary
        self._patterns = dict(patterns)

    def _finder(self, control: str | None = None) -> Finder:
        return Finder({**self._patterns, **({"control": control.encode()} if control else {})})

    def _pods_of(self, part: str) -> list[Any]:
        selector = f"{t.PART_LABEL}={part}"
        found = self._cluster.list_namespaced_pod(t.DATA, label_selector=selector).items
        if not found:
            raise SearchError(f"there is no pod of {part}; is the platform deployed?")
        return list(found)

    def _execute(self, pod: Any, *command: str, given: str = "") -> Iterator[bytes]:
        """What a command in the first container of a pod prints, piece by piece; ``given`` is its standard input."""
        name, namespace = pod.metadata.name, pod.metadata.namespace
        container = pod.spec.containers[0].name
        kubectl = ["kubectl", f"--kubeconfig={self._kubeconfig}", "-n", namespace, "exec", "-i", name, "-c", container]
        yield from _pieces([*kubectl, "--", *command], given, f"{namespace}/{name}")

    def postgres(self, api_key: str) -> list[Hit]:
        """A dump of every database, and the queries that run; the hash of ``api_key`` must be in one of them."""
        control = hashlib.sha256(api_key.encode()).hexdigest()
        hits: list[Hit] = []
        proven = False
        for pod in self._pods_of(t.POSTGRES_SERVICE):
            psql = ("psql", "--no-psqlrc", "--tuples-only", "--no-align", "--command")
            names = b"".join(self._execute(pod, *psql, _DATABASES)).decode().split()
            for name in names:
                dump = self._execute(pod, "pg_dump", "--no-password", name)
                found, seen = self._tables(dump, f"PostgreSQL {pod.metadata.name}, {name}", control)
                hits, proven = hits + found, proven or seen
            finder = self._finder()
            for piece in self._execute(pod, *psql, _RUNNING):
                finder.feed(piece)
            hits += [Hit(f"PostgreSQL {pod.metadata.name}, running queries", form) for form in sorted(finder.found)]
        if not proven:
            raise SearchError("PostgreSQL: the hash of the key that called is in no dump; the search shows nothing")
        return hits

    def _tables(self, dump: Iterable[bytes], place: str, control: str) -> tuple[list[Hit], bool]:
        """Hits by table, and whether the control was found."""
        hits: list[Hit] = []
        table, proven = "before the first table", False
        finder = self._finder(control)

        def close() -> None:
            nonlocal proven
            proven = proven or "control" in finder.found
            hits.extend(Hit(f"{place}, {table}", form) for form in sorted(finder.found - {"control"}))

        for line in _lines(dump):
            if line.startswith(_COPY):
                close()
                table, finder = line.split()[1].decode(errors="replace"), self._finder(control)
            finder.feed(line)
        close()
        return hits, proven

    def redis(self, password: str) -> list[Hit]:
        """All keys and values of every Redis, and its log of slow commands; a key of our own must be among them."""
        hits = []
        control = f"llmaas:verify:{self._canary.control}"
        for pod in self._pods_of(t.REDIS_SERVICE):
            finder, cursor = self._finder(control), "0"
            self._ask_redis(pod, password, f"SET {control} planted EX 600")
            while True:
                answer = self._ask_redis(pod, password, f'EVAL "{_REDIS_PAGE}" 0 {cursor}')
                finder.feed(answer)
                cursor = answer.split(b"\n", 1)[0].decode()
                if not cursor.isdecimal():
                    raise SearchError(f"Redis {pod.metadata.name}: no page of keys: {cursor[:200]}")
                if cursor == "0":
                    break
            found = finder.found
            if "control" not in found:
                raise SearchError(f"Redis {pod.metadata.name}: what was just written into it was not found")
            slow = self._finder()
            slow.feed(self._ask_redis(pod, password, "SLOWLOG GET 1000"))
            hits += [Hit(f"Redis {pod.metadata.name}, keys and values", form) for form in sorted(found - {"control"})]
            hits += [Hit(f"Redis {pod.metadata.name}, slow commands", form) for form in sorted(slow.found)]
        return hits

    def _ask_redis(self, pod: Any, password: str, command: str) -> bytes:
        """The raw answer to a command; the password goes on standard input as the command does."""
        ca = f"{certificate_folder(t.REDIS_SERVICE)}/ca.crt"
        client = ("redis-cli", "--tls", "--cacert", ca, "--raw", "-h", "127.0.0.1", "-p", str(t.REDIS_PORT))
        answer = b"".join(self._execute(pod, *client, given=f"AUTH {password}\n{command}\n"))
        greeting, _, rest = answer.partition(b"\n")
        if greeting.strip() != b"OK":
            raise SearchError(f"Redis {pod.metadata.name}: refused the password of {REDIS_AUTH_FILE}")
        return rest

    def logs(self) -> list[Hit]:
        """Logs of every container of every pod, the ones before their last restart too."""
        hits, edge_bytes = [], 0
        for pod in self._cluster.list_pod_for_all_namespaces().items:
            for status, previous in _logs_of(pod):
                place = f"log of {pod.metadata.namespace}/{pod.metadata.name}, {status.name}"
                finder, size = self._finder(), 0
                for piece in self._log(pod, status.name, place, previous=previous):
                    finder.feed(piece)
                    size += len(piece)
                edge_bytes += size if pod.metadata.namespace == t.EDGE else 0
                hits += [Hit(f"{place}{' before' if previous else ''}", form) for form in sorted(finder.found)]
        if not edge_bytes:
            raise SearchError("the edge, which logs every call, has no log; the search shows nothing")
        return hits

    def _log(self, pod: Any, container: str, place: str, *, previous: bool) -> Iterator[bytes]:
        try:
            answer = self._cluster.read_namespaced_pod_log(
                pod.metadata.name,
                pod.metadata.namespace,
                container=container,
                previous=previous,
                _preload_content=False,
            )
            yield from answer.stream(CHUNK)
        except kubernetes.client.ApiException as error:
            # A pod that went away meanwhile, or a container whose rest was cleared away: what is left of its log is a
            # file on its host, and there it is searched.
            if error.status != (400 if previous else 404):
                raise SearchError(f"{place}: {error.status} {error.reason}") from error

    def objects(self) -> list[Hit]:
        """Events, pods (whose states hold last words of containers) and configuration."""
        hits = []
        lists = {
            "events": self._cluster.list_event_for_all_namespaces,
            "states of pods": self._cluster.list_pod_for_all_namespaces,
            "configuration": self._cluster.list_config_map_for_all_namespaces,
        }
        for name, listed in lists.items():
            data = listed(_preload_content=False).data
            if not json.loads(data)["items"]:
                raise SearchError(f"{name}: none at all; the search shows nothing")
            finder = self._finder()
            finder.feed(data)
            hits += [Hit(f"Kubernetes, {name}", form) for form in sorted(finder.found)]
        return hits

    def log_host(self, name: str, senders: Iterable[str], ssh_configuration: Path, since: float) -> list[Hit]:
        """What a log host has, the logs of others among it: the control from each sender's journal must be there.

        It is planted where a host is searched, so senders are searched before.
        """
        yesterday = (datetime.now(UTC) - timedelta(days=1)).date()
        asked = f"llmaas-logs search {self._canary.control} --since {yesterday}"
        lines = _lines(_pieces(["ssh", "-F", str(ssh_configuration), name, asked], "", name))
        heard = {str(json.loads(line)["sender"]) for line in lines if line}
        if silent := sorted(set(senders) - heard):
            raise SearchError(f"{name}: keeps no line of {', '.join(silent)}; the search shows nothing")
        return self.host(name, ssh_configuration, since)

    def host(self, name: str, ssh_configuration: Path, since: float) -> list[Hit]:
        """Files that changed since a moment, and the journal, of a host."""
        text = program(order(self._canary, self._patterns, HOST_FOLDERS, since))
        command = ["ssh", "-F", str(ssh_configuration), name, "nice", "python3", "-"]
        told = b"".join(_pieces(command, text, name))
        try:
            answer = json.loads(told)
        except ValueError as error:
            raise SearchError(f"{name}: answered nothing that can be read") from error
        if answer["problems"]:
            first = "; ".join(answer["problems"][:5])
            raise SearchError(f"{name}: {len(answer['problems'])} could not be searched: {first}")
        return [Hit(f"{name}: {path}", form) for path, form in answer["hits"]]


def _logs_of(pod: Any) -> Iterator[tuple[Any, bool]]:
    """Containers of a pod that have a log, and whether it is the one before the last restart."""
    status = pod.status
    for each in (status.init_container_statuses, status.container_statuses, status.ephemeral_container_statuses):
        for container in each or ():
            if container.last_state and container.last_state.terminated:
                yield container, True
            if container.state.running or container.state.terminated:
                yield container, False


def _pieces(command: list[str], given: str, place: str) -> Iterator[bytes]:
    """What a program prints; SearchError unless it ends well."""
    with tempfile.TemporaryFile() as errors:
        try:
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors)
        except FileNotFoundError as error:
            remedy = 'for the lab: eval "$(bin/llmaas lab env)"'
            raise SearchError(f"{place}: {command[0]} is not on PATH; {remedy}") from error
        with process:
            assert process.stdin is not None  # noqa: S101 - they were asked for
            assert process.stdout is not None  # noqa: S101 - as above
            with contextlib.suppress(BrokenPipeError):  # a program that ended already says why
                process.stdin.write(given.encode())
                process.stdin.close()
            while piece := process.stdout.read(CHUNK):
                yield piece
        if process.returncode:
            errors.seek(0)
            told = errors.read().decode(errors="replace").strip()[-300:]
            raise SearchError(f"{place}: {Path(command[0]).name} ended with code {process.returncode}: {told}")


def _lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    rest = b""
    for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        yield from lines
    yield rest
