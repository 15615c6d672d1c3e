"""Whatever the order of calls, the ledger is what a model of it in plain Python says: against a real Redis."""

import asyncio
import uuid
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule
from llmaas_gateway.ledger.ledger import Held, Ledger, Refused, connect
from llmaas_gateway.ledger.limits import Kind, Limit, Window
from llmaas_gateway.ledger.memory import TRACE_SECONDS

# Counters expire by the clock of Redis: these windows are open for years.
START = datetime(2046, 11, 24, 12, 0, tzinfo=ZoneInfo("Europe/Paris"))
LEASE = timedelta(seconds=60)
LIMITS = (
    Limit("credit", "tenant:a", Kind.MONEY, Window.NONE, 1_000),
    Limit("month", "tenant:a", Kind.MONEY, Window.MONTH, 900),
    Limit("output-tokens-hour", "tenant:a", Kind.OUTPUT, Window.HOUR, 500),
    Limit("requests-minute", "tenant:a", Kind.REQUESTS, Window.MINUTE, 6),
    Limit("parallel", "tenant:a", Kind.PARALLEL, Window.NONE, 4),
)


async def reserve(ledger: Ledger, identity: str, cost: int, output: int, at: datetime) -> Held | Refused:
    return await ledger.reserve(identity, LIMITS, nano_eur=cost, output_tokens=output, at=at, lease=LEASE)


class LedgerMachine(RuleBasedStateMachine):
    """The ledger beside a model of it in plain Python: same verdicts, same counters, whatever the order."""

    port: int
    calls = Bundle("calls")

    @initialize()
    def begin(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.client = connect(f"redis://127.0.0.1:{self.port}", timeout_seconds=5)
        self.ledger = Ledger(self.client, f"h{uuid.uuid4().hex}")
        self.loop.run_until_complete(self.client.set(self.ledger.epoch_key, "1"))
        self.now = START
        self.held: dict[str, tuple[int, int, datetime, datetime]] = {}
        self.lapsed: dict[str, datetime] = {}
        self.given_up: set[str] = set()
        self.spent: list[tuple[int, int, datetime]] = []
        self.begun: list[datetime] = []
        self.began_at: dict[str, datetime] = {}

    def counted(self, limit: Limit) -> int:
        """What the model says is used of a limit now."""

        def here(at: datetime) -> bool:
            return limit.window.start(at) == limit.window.start(self.now)

        held = [(cost, output) for cost, output, at, _ in self.held.values() if here(at)]
        spent = [(cost, output) for cost, output, at in self.spent if here(at)]
        match limit.kind:
            case Kind.MONEY:
                return sum(cost for cost, _ in held + spent)
            case Kind.OUTPUT:
                return sum(output for _, output in held + spent)
            case Kind.REQUESTS:
                return sum(here(at) for at in self.begun)
            case Kind.PARALLEL:
                return len(self.held)

    def lapse(self) -> None:
        self.lapsed |= {name: self.now for name, call in self.held.items() if call[3] <= self.now}
        self.held = {name: call for name, call in self.held.items() if call[3] > self.now}

    @rule(target=calls, cost=st.integers(0, 400), output=st.integers(0, 200))
    def admit(self, cost: int, output: int) -> object:
        identity = uuid.uuid4().hex
        self.lapse()
        need = {Kind.MONEY: cost, Kind.OUTPUT: output, Kind.REQUESTS: 1, Kind.PARALLEL: 1}
        fits = all(self.counted(limit) + need[limit.kind] <= limit.cap for limit in LIMITS)
        verdict = self.loop.run_until_complete(reserve(self.ledger, identity, cost, output, self.now))
        assert isinstance(verdict, Held) == fits
        if not fits:
            return multiple()
        self.held[identity] = (cost, output, self.now, self.now + LEASE)
        self.begun.append(self.now)
        self.began_at[identity] = self.now
        return identity

    @rule(identity=consumes(calls))
    def give_up(self, identity: str) -> None:
        self.held.pop(identity, None)
        self.loop.run_until_complete(self.ledger.cancel(identity, self.now))

    @rule(identity=consumes(calls), cost=st.integers(0, 500), output=st.integers(0, 250))
    def finish(self, identity: str, cost: int, output: int) -> None:
        # The ledger lapses a lease when somebody looks; until then a late settlement is still in time.
        call = self.held.pop(identity, None)
        settled = self.loop.run_until_complete(
            self.ledger.settle(identity, nano_eur=cost, output_tokens=output, record={}, at=self.now)
        )
        if call is not None:
            assert (settled.nano_eur, settled.output_tokens) == (min(cost, call[0]), min(output, call[1]))
            self.spent.append((settled.nano_eur, settled.output_tokens, call[2]))
        elif identity in self.given_up:
            assert (settled.first, settled.nano_eur, settled.output_tokens) == (False, 0, 0)
        else:
            assert settled.late
            self.spent.append((settled.nano_eur, settled.output_tokens, self.began_at[identity]))

    @rule(seconds=st.sampled_from([1, 20, 61, 3_600]))
    def wait(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)
        self.loop.run_until_complete(self.ledger.lapse(self.now))
        # what lapsed so long ago is settled no more
        traced = timedelta(seconds=TRACE_SECONDS)
        self.given_up |= {name for name, at in self.lapsed.items() if at + traced <= self.now}
        self.lapse()

    @invariant()
    def no_counter_is_above_its_cap_and_all_agree_with_the_model(self) -> None:
        for limit in LIMITS:
            settled, held = self.loop.run_until_complete(self.ledger.used(limit, self.now))
            assert settled + held <= limit.cap
            assert settled + held == self.counted(limit)

    def teardown(self) -> None:
        if hasattr(self, "loop"):
            self.loop.run_until_complete(self.client.aclose())
            self.loop.close()


def test_any_order_of_calls_keeps_every_invariant(redis_port: int) -> None:
    LedgerMachine.port = redis_port
    machine = LedgerMachine.TestCase
    machine.settings = settings(
        max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
    )
    machine().runTest()
