"""Whatever the order of calls, the ledger is what a model of it in plain Python says: against a real Redis."""

import asyncio
import json
import uuid
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule
from llmaas_gateway.ledger.counters import LONGEST_LEASE
from llmaas_gateway.ledger.ledger import Held, Ledger, Settled, connect
from llmaas_gateway.ledger.limits import Kind, Limit, Window
from llmaas_gateway.ledger.memory import TRACE_SECONDS

T = TypeVar("T")
# Counters expire by the clock of Redis: these windows are open for years.
START = datetime(2046, 11, 24, 12, 0, tzinfo=ZoneInfo("Europe/Paris"))
LEASE = timedelta(seconds=60)
TRACE = timedelta(seconds=TRACE_SECONDS)
# So long after its end a window has no room any more; a minute less than its counters are kept for.
FORGOTTEN_AFTER = LONGEST_LEASE + TRACE - timedelta(minutes=1)
LIMITS = (
    Limit("credit", "tenant:a", Kind.MONEY, Window.NONE, 2_000),
    Limit("month", "tenant:a", Kind.MONEY, Window.MONTH, 1_800),
    Limit("output-tokens-hour", "tenant:a", Kind.OUTPUT, Window.HOUR, 600),
    Limit("requests-minute", "tenant:a", Kind.REQUESTS, Window.MINUTE, 6),
    Limit("parallel", "tenant:a", Kind.PARALLEL, Window.NONE, 4),
)
COSTS, OUTPUTS = st.integers(0, 500), st.integers(0, 250)


@dataclass(frozen=True)
class Amounts:
    cost: int
    output: int
    at: datetime


class LedgerMachine(RuleBasedStateMachine):
    """The ledger beside a model of it: same verdicts, same counters, same records."""

    port: int
    calls = Bundle("calls")
    ended = Bundle("ended")

    @initialize(shadow=st.booleans())
    def begin(self, *, shadow: bool) -> None:
        self.loop = asyncio.new_event_loop()
        self.client = connect(f"redis://127.0.0.1:{self.port}", timeout_seconds=5)
        self.ledger = Ledger(self.client, f"h{uuid.uuid4().hex}")
        self.do(self.client.set(self.ledger.epoch_key, "1"))
        self.shadow = shadow
        self.now = START
        self.promised: dict[str, Amounts] = {}
        self.held: dict[str, datetime] = {}
        self.lapsed: dict[str, datetime] = {}
        self.spent: list[Amounts] = []
        self.records: dict[str, tuple[str, int, int]] = {}

    def do(self, action: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(action)

    def counted(self, limit: Limit, moment: datetime) -> int:
        """What the model says is used of a limit in the window that holds a moment."""

        def here(at: datetime) -> bool:
            return limit.window.start(at) == limit.window.start(moment)

        used = [call for call in (*(self.promised[name] for name in self.held), *self.spent) if here(call.at)]
        match limit.kind:
            case Kind.MONEY:
                return sum(call.cost for call in used)
            case Kind.OUTPUT:
                return sum(call.output for call in used)
            case Kind.REQUESTS:
                return sum(here(call.at) for call in self.promised.values())
            case Kind.PARALLEL:
                return len(self.held)

    def first_without_room(self, cost: int, output: int) -> Limit | None:
        need = {Kind.MONEY: cost, Kind.OUTPUT: output, Kind.REQUESTS: 1, Kind.PARALLEL: 1}
        over = (limit for limit in LIMITS if self.counted(limit, self.now) + need[limit.kind] > limit.cap)
        return next(over, None)

    def charged_late(self, kind: Kind, wanted: int, at: datetime) -> int:
        """What of a late settlement there is room for."""
        for limit in LIMITS:
            if limit.kind is kind and not self.shadow:
                end = limit.window.end(at)
                forgotten = end is not None and end + FORGOTTEN_AFTER <= self.now
                wanted = min(wanted, 0 if forgotten else max(0, limit.cap - self.counted(limit, at)))
        return wanted

    def lapse(self) -> None:
        self.lapsed |= {name: self.now for name, end in self.held.items() if end <= self.now}
        self.held = {name: end for name, end in self.held.items() if end > self.now}

    def note(self, identity: str, settled: Settled, at: datetime) -> None:
        self.spent.append(Amounts(settled.nano_eur, settled.output_tokens, at))
        self.records[identity] = ("settled", settled.nano_eur, settled.output_tokens)

    @rule(target=calls, cost=st.integers(0, 400), output=st.integers(0, 200))
    def admit(self, cost: int, output: int) -> object:
        identity = uuid.uuid4().hex
        self.lapse()
        over = self.first_without_room(cost, output)
        verdict = self.do(
            self.ledger.reserve(
                identity, LIMITS, nano_eur=cost, output_tokens=output, at=self.now, lease=LEASE, shadow=self.shadow,
                record={"request_id": identity},
            )
        )  # fmt: skip
        assert (verdict.over if isinstance(verdict, Held) else verdict.limit) == over
        assert isinstance(verdict, Held) == (over is None or self.shadow)
        if not isinstance(verdict, Held):
            return multiple()
        self.held[identity] = self.now + LEASE
        self.promised[identity] = Amounts(cost, output, self.now)
        return identity

    @rule(identity=consumes(calls))
    def give_up(self, identity: str) -> None:
        self.held.pop(identity, None)
        self.do(self.ledger.cancel(identity, self.now))

    @rule(identity=calls)
    def renew(self, identity: str) -> None:
        # The ledger lapses a lease when somebody looks; until then it can be renewed, and settled in time.
        assert self.do(self.ledger.renew(identity, lease=LEASE, at=self.now)) == (identity in self.held)
        if identity in self.held:
            self.held[identity] = self.now + LEASE
        elif identity in self.lapsed:
            self.lapsed[identity] = self.now

    @rule(target=ended, identity=consumes(calls), cost=COSTS, output=OUTPUTS)
    def finish(self, identity: str, cost: int, output: int) -> str:
        settled = self.settle(identity, cost, output)
        if identity in self.records:
            # Lapsed for too long.
            assert settled == Settled(0, 0, first=False, late=False)
            return identity
        promised = self.promised[identity]
        charged, charged_output = min(cost, promised.cost), min(output, promised.output)
        late = self.held.pop(identity, None) is None
        if late:
            del self.lapsed[identity]
            charged = self.charged_late(Kind.MONEY, charged, promised.at)
            charged_output = self.charged_late(Kind.OUTPUT, charged_output, promised.at)
        assert settled == Settled(charged, charged_output, first=True, late=late)
        self.note(identity, settled, promised.at)
        return identity

    @rule(target=ended, cost=st.integers(0, 150), output=st.integers(0, 80), ago=st.sampled_from([0, 7_000, 20_000]))
    def finish_without_reservation(self, cost: int, output: int, ago: int) -> str:
        identity, began_at = uuid.uuid4().hex, self.now - timedelta(seconds=ago)
        settled = self.settle(identity, cost, output, limits=LIMITS, began_at=began_at, shadow=self.shadow)
        charged = self.charged_late(Kind.MONEY, cost, began_at)
        charged_output = self.charged_late(Kind.OUTPUT, output, began_at)
        assert settled == Settled(charged, charged_output, first=True, late=True)
        self.note(identity, settled, began_at)
        return identity

    @rule(identity=ended, cost=COSTS, output=OUTPUTS)
    def finish_again(self, identity: str, cost: int, output: int) -> None:
        _, charged, charged_output = self.records[identity]
        assert self.settle(identity, cost, output) == Settled(charged, charged_output, first=False, late=False)

    def settle(self, identity: str, cost: int, output: int, **named: Any) -> Settled:
        record = {"request_id": identity}
        return self.do(
            self.ledger.settle(identity, nano_eur=cost, output_tokens=output, record=record, at=self.now, **named)
        )

    @rule(seconds=st.sampled_from([20, 50, 61, 3_600]))
    def wait(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)
        self.do(self.ledger.lapse(self.now))
        # What lapsed so long ago is settled no more.
        self.records |= {name: ("lapsed", 0, 0) for name, at in self.lapsed.items() if at + TRACE <= self.now}
        self.lapsed = {name: at for name, at in self.lapsed.items() if at + TRACE > self.now}
        self.lapse()

    @invariant()
    def no_counter_is_above_its_cap_and_all_agree_with_the_model(self) -> None:
        for limit in LIMITS:
            settled, held = self.do(self.ledger.used(limit, self.now))
            assert settled + held <= limit.cap or self.shadow
            assert settled + held == self.counted(limit, self.now)

    @invariant()
    def every_call_that_ended_has_one_record_and_their_sums_are_the_counters(self) -> None:
        entries: Any = self.do(self.client.xrange(self.ledger.records_key))
        told = [{name.decode(): value.decode() for name, value in fields.items()} for _, fields in entries]
        assert {f["id"]: (f["kind"], int(f["charged"]), int(f["output"])) for f in told} == self.records
        assert len(told) == len(self.records)
        assert all(json.loads(fields["record"]) == {"request_id": fields["id"]} for fields in told)
        sums: Counter[str] = Counter()
        for fields in told:
            amounts = {"money": int(fields["charged"]), "output": int(fields["output"])}
            for limit in json.loads(fields.get("spec", "[]")):
                sums[limit["key"]] += amounts.get(limit["kind"], 0)
        keys = [key for key in sums if ":requests-" not in key]
        counters = [self.do(self.client.hget(key, "settled")) for key in keys]  # type: ignore[arg-type]  # redis-py's
        assert [int(settled or 0) for settled in counters] == [sums[key] for key in keys]

    def teardown(self) -> None:
        if hasattr(self, "loop"):
            self.do(self.client.aclose())
            self.loop.close()


def test_any_order_of_calls_keeps_every_invariant(redis_port: int) -> None:
    LedgerMachine.port = redis_port
    machine = LedgerMachine.TestCase
    machine.settings = settings(
        max_examples=100, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
    )
    machine().runTest()
