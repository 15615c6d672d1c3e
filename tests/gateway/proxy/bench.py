"""What the gateway costs: the same LiteLLM with it and without, in turns, on this machine.

``PYTHONPATH=tests .venv/bin/python -m gateway.proxy.bench [--rounds N] [--json FILE]``
"""

import argparse
import asyncio
import json
import signal
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import redis
from llmaas_gateway.accounts.account import Account, Budget, State, Tier, limits_of
from llmaas_gateway.ledger.ledger import Ledger, connect
from llmaas_gateway.ledger.limits import Window

from lab.cgroups import lab_processes
from lab.machine import core_speed

from .client import request
from .stack import Proxy, Stack, running, running_stack

_TICKS = 100
_MODEL_SECONDS = 1
# What is left to be done for answers that were given belongs to them.
_ACCOUNTED_SECONDS = 1
_AT = datetime(2096, 11, 25, 12, tzinfo=ZoneInfo("Europe/Paris"))
_TIER = {
    "name": "T1", "billing": "prepaid", "priority": "normal", "requests_per_minute": 1000, "monthly_cap_eur": 1000,
    "output_tokens_per_hour": 150_000, "parallel_requests": 50,
}  # fmt: skip


@dataclass(frozen=True)
class Line:
    """One figure beside the most (or least) that it may be."""

    what: str
    value: str
    wanted: str
    met: bool | None


@dataclass(frozen=True)
class Load:
    """Answers of one server under one number of clients.

    Attributes:
        seconds: of each answer.
        wall: seconds that all took, with what the server, which has one thread, did for them afterwards.
        cpu: seconds of CPU that the server took.
    """

    seconds: list[float]
    wall: float
    cpu: float

    def percentile(self, share: float) -> float:
        """Milliseconds within which a share of the answers came."""
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000


def _cpu(pid: int | None) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


async def _client(url: str, message: bytes, number: int, seconds: list[float], after: float = 0) -> None:
    """Ask one after the other on one connection; as little work as possible, so that the server is what is measured."""
    await asyncio.sleep(after)
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    for _ in range(number):
        begun = time.perf_counter()
        writer.write(message)
        head = await reader.readuntil(b"\r\n\r\n")
        length = [int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
        if not head.startswith(b"HTTP/1.1 200"):
            body = await reader.readexactly(length[0]) if length else b""
            raise RuntimeError(f"{url} answered {head[:200]!r} {body[:1000]!r}")
        if length:
            await reader.readexactly(length[0])
            seconds.append(time.perf_counter() - begun)
        else:
            await reader.readuntil(b'"content"')
            seconds.append(time.perf_counter() - begun)
            await reader.readuntil(b"\r\n0\r\n\r\n")
    writer.close()


@dataclass(frozen=True)
class Server:
    """Something that answers calls: LiteLLM with the gateway or without, or the model server itself."""

    url: str
    pid: int | None
    key: str

    def load(self, clients: int, number: int, *, stream: bool = False, delay: float = 0) -> Load:
        """Answers, of a stream up to its first piece; where the model delays them, clients begin spread over that."""
        body = json.dumps(request("/v1/chat/completions", max_tokens=20, stream=stream, delay=delay)).encode()
        head = (
            "POST /v1/chat/completions HTTP/1.1\r\nHost: bench\r\nUser-Agent: OpenAI/Python 2.8.0\r\n"
            f"Authorization: Bearer {self.key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        seconds: list[float] = []

        async def run() -> None:
            each, message = max(1, number // clients), head.encode() + body
            turns = (_client(self.url, message, each, seconds, delay * place / clients) for place in range(clients))
            await asyncio.gather(*turns)

        begun, cpu = time.perf_counter(), _cpu(self.pid)
        asyncio.run(run())
        wall = time.perf_counter() - begun
        time.sleep(_ACCOUNTED_SECONDS)
        took = _cpu(self.pid) - cpu
        return Load(seconds, max(wall, took), took)


def _joined(loads: Sequence[Load]) -> Load:
    return Load([s for load in loads for s in load.seconds], sum(a.wall for a in loads), sum(a.cpu for a in loads))


def _in_turns(servers: Mapping[str, Server], rounds: int, ask: Callable[[Server], Load]) -> dict[str, Load]:
    loads: dict[str, list[Load]] = {name: [] for name in servers}
    for _ in range(rounds):
        for name, server in servers.items():
            loads[name].append(ask(server))
    return {name: _joined(some) for name, some in loads.items()}


def paired(servers: Mapping[str, Server], rounds: int) -> Iterator[Line]:
    """LiteLLM with and without the gateway, in turns, at 1 and 16 clients."""
    _in_turns(servers, 1, lambda server: server.load(4, 60))
    for clients, number in ((1, 100), (16, 480)):
        loads = _in_turns(servers, rounds, lambda server, n=number, c=clients: server.load(c, n))  # type: ignore[misc]
        yield from _compare(f"{clients} client{'s' if clients > 1 else ''}", loads)
    # Clients that ask without a pause, of a model that answers at once, wait for each other more than for the gateway.
    # What happens once in some hundred calls has to happen on both sides, or it is taken for what the gateway adds.
    both = {name: server for name, server in servers.items() if name != "model"}
    loads = _in_turns(both, rounds, lambda server: server.load(16, 192, delay=_MODEL_SECONDS))
    yield from _added(f"16 clients, model takes {_MODEL_SECONDS} s", loads)


def first_piece(servers: Mapping[str, Server], rounds: int) -> Iterator[Line]:
    """What comes before the first piece of a stream, for one client."""
    _in_turns(servers, 1, lambda server: server.load(1, 10, stream=True))
    loads = _in_turns(servers, rounds, lambda server: server.load(1, 20, stream=True))
    alone = loads["model"].percentile(0.5)
    for name in ("gated", "bare"):
        its = loads[name]
        text = f"{its.percentile(0.5) - alone:+.1f} ms (CPU of the stream {its.cpu / len(its.seconds) * 1000:.1f} ms)"
        yield Line(f"first piece of a stream over the model server's, {name}", text, "", None)


def _added(who: str, loads: Mapping[str, Load]) -> Iterator[Line]:
    gated, bare = loads["gated"], loads["bare"]
    for name, share, most in (("p50", 0.5, 2.0), ("p99", 0.99, 10.0)):
        added = gated.percentile(share) - bare.percentile(share)
        text = f"{added:+.1f} ms (bare {bare.percentile(share):.1f} ms)"
        yield Line(f"added latency {name}, {who}", text, f"+{most:.0f} ms at most", added <= most)


def _compare(who: str, loads: Mapping[str, Load]) -> Iterator[Line]:
    gated, bare, model = loads["gated"], loads["bare"], loads["model"]
    yield from _added(who, loads)
    ratio = (len(gated.seconds) / gated.wall) / (len(bare.seconds) / bare.wall)
    yield Line(f"throughput with the gateway, {who}", f"{ratio:.0%} of bare LiteLLM's", "90 % at least", ratio >= 0.9)
    for name, load in loads.items():
        text = f"{load.cpu / len(load.seconds) * 1000:.1f} ms ({len(load.seconds) / load.wall:.0f} a second)"
        yield Line(f"CPU of a call, {name}, {who}", text, "", None)
    added = bare.percentile(0.5) - model.percentile(0.5)
    yield Line(f"bare LiteLLM over the model server alone, p50, {who}", f"{added:+.1f} ms", "", None)


def _limits(tenant: int, key: int) -> Any:
    account = Account(f"tn-{tenant:012x}", "T1", State.ACTIVE, 10**12, 1)
    budget = Budget(10**11, Window.MONTH)
    name = f"{tenant:032x}{key:032x}"
    return limits_of(Tier.model_validate(_TIER), account, f"team-{tenant}", budget, name, budget, 60)


async def _calls(port: int, tenants: int, keys: int) -> None:
    client = connect(f"redis://127.0.0.1:{port}/0", timeout_seconds=5)
    ledger = Ledger(client)
    record = {"counts": {"input": 100, "output": 50}, "price_ids": {"input": "a/input", "output": "a/output"}}

    async def call(tenant: int, key: int) -> None:
        identity, limits = uuid.uuid4().hex, _limits(tenant, key)
        lease = timedelta(seconds=60)
        await ledger.reserve(identity, limits, nano_eur=10**6, output_tokens=100, at=_AT, lease=lease)
        await ledger.settle(identity, nano_eur=10**5, output_tokens=50, record=record, at=_AT, limits=limits)

    for tenant in range(tenants):
        await asyncio.gather(*(call(tenant, key) for key in range(keys)))
    await client.aclose()


def circumstances() -> Iterator[Line]:
    """When, on what, and beside what else: a lab that runs takes its share of the cores."""
    beside = "beside the lab that runs" if lab_processes() else "the lab down"
    text = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {beside}, {core_speed()}"
    yield Line("what follows: the gateway by itself", text, "", None)
    left_out = "estimates of savings, counts of deployments without limits (decision 9); bare LiteLLM is as it comes"
    yield Line("what the gateway leaves out, which counts for it", left_out, "", None)


def script(port: int) -> Iterator[Line]:
    """How long Redis takes for one script, by its own clock, with every limit there is."""
    with redis.Redis(port=port) as client:
        client.config_resetstat()
        asyncio.run(_calls(port, 200, 10))
        took = client.info("latencystats")["latency_percentiles_usec_evalsha"]
    text = f"{took['p99'] / 1000:.2f} ms (p50 {took['p50'] / 1000:.2f} ms, 4,000 runs, 9 limits)"
    yield Line("ledger script in Redis, p99", text, "1 ms at most", took["p99"] <= 1_000)


def memory(port: int) -> Iterator[Line]:
    """What 1,000 tenants with 10 keys take, each key having made a call in these windows."""
    with redis.Redis(port=port) as client:
        client.flushall()
        client.set("llmaas:epoch", client.info("server")["run_id"])
        before = client.info("memory")["used_memory"]
        asyncio.run(_calls(port, 1000, 10))
        client.delete("llmaas:records")
        whole = client.info("memory")["used_memory"] - before
        for name in client.scan_iter("llmaas:reservation:*", count=1000):
            client.delete(name)
        counters = client.info("memory")["used_memory"] - before
    text = f"{counters / 1e6:.1f} MB, and {(whole - counters) / 1e6:.1f} MB for the traces of 10,000 calls of two hours"
    yield Line("1,000 tenants x 10 keys in Redis", text, "50 MB at most", whole <= 50e6)


@contextmanager
def _stack() -> Iterator[tuple[Stack, Proxy, Proxy]]:
    with running_stack() as stack:
        gated, bare = Proxy(stack, "gated"), Proxy(stack, "bare", bare=True)
        with running((gated, bare)):
            yield stack, gated, bare


def _measured(stack: Stack, servers: Mapping[str, Server], rounds: int) -> Iterator[Line]:
    yield from circumstances()
    yield from paired(servers, rounds)
    yield from first_piece(servers, rounds)
    yield from script(stack.redis.port)
    yield from memory(stack.redis.port)


def main() -> None:
    """Print the figures, and write them as JSON if wanted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=8, help="turns of each")
    parser.add_argument("--json", type=Path, help="write the figures there as well")
    options = parser.parse_args()
    # A polite kill ends what was started, as Ctrl-C does.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    lines: list[Line] = []
    with _stack() as (stack, gated, bare):
        stack.tenant("bench", "open")
        key = stack.key(gated, "bench")
        servers = {
            "gated": Server(gated.url, gated.pid, key),
            "bare": Server(bare.url, bare.pid, key),
            "model": Server(stack.upstream_url, stack.upstream.pid, key),
        }
        try:
            for line in _measured(stack, servers, options.rounds):
                lines.append(line)
                print(
                    f"{line.what:52} {line.value:48} {line.wanted:16} {'' if line.met is None else line.met}",
                    flush=True,
                )
        except RuntimeError:
            for proxy in (gated, bare):
                print(f"{proxy.url} said at last:\n{proxy.end_of_log()}", file=sys.stderr)
            raise
    if options.json:
        options.json.write_text(json.dumps([asdict(line) for line in lines], indent=2))


if __name__ == "__main__":
    main()
