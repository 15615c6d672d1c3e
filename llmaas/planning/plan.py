"""The capacity plan of an environment: what runs where, what it carries, what each host's loss leaves."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from llmaas.planning.fleet import Placement, faults, met_without
from llmaas.planning.needs import Question, Sizing, Wanted, question_of
from llmaas.planning.placement import Solution, solve
from llmaas.planning.proof import changes, reasons
from llmaas.planning.stores import stores_by_host
from llmaas.settings import Platform
from llmaas.settings.gpus import in_words

# the promise of a mean answer time is made for models of this class, with room for what is called 8B
_EIGHT_BILLION = 9 * 10**9


@dataclass(frozen=True)
class Line:
    """One model of the plan; rates are requests per second of the whole model."""

    model: str
    phase: str
    gpus_per_replica: int
    hosts: Mapping[str, int]
    kv_tokens: int
    requests_at_full_context: float
    requests_at_profile: float | None
    demanded: float
    carried: float | None
    carried_after_loss: float | None
    time_to_first_token_seconds: float | None
    stream_tokens_per_second: float | None
    answer_seconds: float | None
    limit: str
    source: str

    @property
    def replicas(self) -> int:
        """All replicas."""
        return sum(self.hosts.values())

    @property
    def gpus(self) -> int:
        """GPUs of all replicas."""
        return self.replicas * self.gpus_per_replica

    @property
    def headroom_percent(self) -> float | None:
        """What could be asked beyond the demand with the worst host lost (or none, for unprotected models)."""
        if self.carried_after_loss is None or not self.demanded:
            return None
        return 100 * (self.carried_after_loss / self.demanded - 1)


@dataclass(frozen=True)
class Move:
    """Replicas to start or to stop on a host."""

    model: str
    host: str
    change: int


@dataclass(frozen=True)
class Plan:
    """The answer; ``fits`` is false with reasons and changes, or true with lines, moves and losses."""

    environment: str
    fits: bool
    hosts: Mapping[str, int]
    lines: tuple[Line, ...] = ()
    moves: tuple[Move, ...] = ()
    # host -> models that run on, but fewer, when it is lost; and those that stop
    losses: Mapping[str, Mapping[str, str]] | None = None
    # host -> stores whose data lies there alone, so that they stop with it
    stores: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    fewest_moves_proven: bool = False
    reasons: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    # hosts whose GPUs are only counted
    simulated: tuple[str, ...] = ()

    @property
    def placement(self) -> dict[str, dict[str, int]]:
        """Replicas by model and host."""
        return {line.model: dict(line.hosts) for line in self.lines}

    @property
    def gpus_owned(self) -> int:
        """GPUs of all hosts."""
        return sum(self.hosts.values())

    @property
    def gpus_in_words(self) -> str:
        """GPUs of all hosts, simulated ones apart."""
        return in_words(self.gpus_owned, sum(self.hosts[name] for name in self.simulated))

    @property
    def gpus_used(self) -> int:
        """GPUs of all replicas."""
        return sum(line.gpus for line in self.lines)


def make_plan(platform: Platform) -> Plan:
    """The placement that starts the fewest replicas from the one in force, or the reasons why there is none."""
    made = _made(platform)
    counted_only = [host.name for host in platform.hosts if host.gpus is not None and host.gpus.kind == "simulated"]
    return replace(made, simulated=tuple(name for name in counted_only if name in made.hosts))


def _made(platform: Platform) -> Plan:
    question = question_of(platform)
    hosts = {name: room.gpus for name, room in question.rooms.items()}
    if question.problems:
        texts = tuple(str(problem) for problem in question.problems)
        return Plan(platform.environment, fits=False, hosts=hosts, reasons=texts, changes=question.changes)
    rooms, needs = question.open_rooms, question.open_needs
    solution = solve(rooms, needs, question.in_force)
    if solution.status == "placed":
        return _fitting(platform, question, solution)
    beside = (f"beside what the stack file places itself ({', '.join(question.fixed)}):",) if question.fixed else ()
    if solution.status == "undecided":
        return Plan(
            platform.environment,
            fits=False,
            hosts=hosts,
            reasons=(*beside, "neither a placement nor a proof that there is none was found in time"),
            changes=("add a host, or lower a minimum_replicas; the fleet is almost full",),
        )
    return Plan(
        platform.environment,
        fits=False,
        hosts=hosts,
        reasons=(*beside, *reasons(rooms, needs)),
        changes=tuple(changes(rooms, needs)),
    )


class DoesNotFitError(Exception):
    """The models that the stack file leaves to the plan cannot be placed; ``plan`` says why."""

    def __init__(self, plan: Plan) -> None:
        """``plan`` is the one that does not fit."""
        self.plan = plan
        super().__init__("; ".join(plan.reasons))


def settled(platform: Platform) -> Platform:
    """The platform as it is deployed: models that the stack file leaves open stand where the plan puts them.

    Raises:
        DoesNotFitError: no placement holds.
    """
    if not any(model.placed_by_plan for model in platform.models):
        return platform
    made = make_plan(platform)
    if not made.fits:
        raise DoesNotFitError(made)
    return with_placement(platform, made.placement)


def with_placement(platform: Platform, placement: Placement) -> Platform:
    """The same platform with another placement in force."""
    models = tuple(
        model.model_copy(update={"placement": dict(placement.get(model.name, model.placement))})
        for model in platform.models
    )
    return platform.model_copy(update={"models": models})


def _fitting(platform: Platform, question: Question, solution: Solution) -> Plan:
    placement = {**question.fixed, **solution.placement}
    wrong = faults(question.rooms, [wanted.need for wanted in question.wanted], placement)
    hosts = {name: room.gpus for name, room in question.rooms.items()}
    if wrong:
        texts = tuple(dict.fromkeys(map(str, wrong)))
        blamed = sorted({fault.need for fault in wrong if fault.need is not None})
        remedies = tuple(f"leave out the placement of {name}, the plan finds one" for name in blamed)
        return Plan(platform.environment, fits=False, hosts=hosts, reasons=texts, changes=remedies)
    lines = tuple(_line(wanted, placement[wanted.model.name]) for wanted in question.wanted)
    moves = []
    for line in lines:
        before = question.in_force.get(line.model, {})
        for host in sorted({*before, *line.hosts}):
            change = line.hosts.get(host, 0) - before.get(host, 0)
            if change:
                moves.append(Move(line.model, host, change))
    return Plan(
        platform.environment,
        fits=True,
        hosts=hosts,
        lines=lines,
        moves=tuple(moves),
        losses={host: _loss(question, placement, host) for host in question.rooms},
        stores=stores_by_host(platform),
        fewest_moves_proven=solution.proven,
        notes=(*_notes(platform, question, lines), *two_updates(platform, placement, hosts)),
    )


def _loss(question: Question, placement: Placement, host: str) -> dict[str, str]:
    """What happens to each model that runs on the host when it is lost."""
    verdicts: dict[str, str] = {}
    for wanted in question.wanted:
        replicas = placement[wanted.model.name]
        if not replicas.get(host):
            continue
        left = sum(replicas.values()) - replicas[host]
        if met_without(wanted.need, replicas, host):
            verdicts[wanted.model.name] = f"kept, {left} of {left + replicas[host]} replicas"
        else:
            verdicts[wanted.model.name] = "stops until it is placed anew" if not left else f"slower, {left} replicas"
    return verdicts


def _line(wanted: Wanted, hosts: Mapping[str, int]) -> Line:
    sizing = _weakest(wanted)
    rate = sizing.rate if sizing is not None else None
    each = {host: number * wanted.need.capacity.get(host, 0) / 1000 for host, number in hosts.items()}
    carried = sum(each.values()) if rate is not None else None
    lost = max(each.values(), default=0.0) if wanted.need.protected else 0.0
    profile = None
    answer = None
    if wanted.demand is not None and sizing is not None:
        profile = sizing.memory.requests_at(wanted.demand.input_tokens + wanted.demand.output_tokens)
    if wanted.demand is not None and rate is not None:
        answer = rate.time_to_first_token + wanted.demand.output_tokens / rate.stream_tokens_per_second
    return Line(
        model=wanted.model.name,
        phase=wanted.model.phase,
        gpus_per_replica=wanted.model.gpus_per_replica,
        hosts=dict(sorted(hosts.items())),
        kv_tokens=sizing.memory.kv_tokens if sizing is not None else 0,
        requests_at_full_context=sizing.memory.requests_at(wanted.model.context_tokens) if sizing is not None else 0,
        requests_at_profile=profile,
        demanded=wanted.requests_per_second,
        carried=carried,
        carried_after_loss=carried - lost if carried is not None else None,
        time_to_first_token_seconds=rate.time_to_first_token if rate is not None else None,
        stream_tokens_per_second=rate.stream_tokens_per_second if rate is not None else None,
        answer_seconds=answer,
        limit=rate.limit if rate is not None else "",
        source=rate.source if rate is not None else "",
    )


def _weakest(wanted: Wanted) -> Sizing | None:
    """The kind of GPU on which a replica does least; figures of the plan are those."""
    return min(
        wanted.sizings,
        key=lambda sizing: (
            sizing.rate.requests_per_second if sizing.rate is not None else 0.0,
            sizing.memory.kv_tokens,
            sizing.gpu,
        ),
        default=None,
    )


def _notes(platform: Platform, question: Question, lines: tuple[Line, ...]) -> list[str]:
    """What the plan could not show."""
    found = []
    by_name = {wanted.model.name: wanted for wanted in question.wanted}
    promised = platform.service_levels.answer_seconds
    small = {
        artefact.name: artefact.architecture is not None and artefact.architecture.parameters <= _EIGHT_BILLION
        for artefact in platform.artefacts
    }
    for line in lines:
        wanted = by_name[line.model]
        if wanted.demand is None:
            found.append(f"{line.model}: no demand is declared, only its minimum of {wanted.need.minimum} is planned")
        elif line.carried is None:
            found.append(f"{line.model}: its load is not judged, simulated GPUs have no speed; measure one replica")
        elif line.answer_seconds is not None and line.answer_seconds > promised and small.get(wanted.model.artefact):
            found.append(
                f"{line.model}: the figures show answers in {line.answer_seconds:.1f} s at full load;"
                f" {promised:g} s are not shown, measure one replica"
            )
    return found


def two_updates(platform: Platform, placement: Placement, owned: Mapping[str, int]) -> Iterator[str]:
    """Hosts where something starts on GPUs that something else still has: an update starts before it stops."""
    for host, gpus in owned.items():
        taken = 0
        for model in platform.models:
            before, after = model.placement.get(host, 0), placement.get(model.name, {}).get(host, 0)
            taken += max(before, after) * model.gpus_per_replica
        if taken > gpus:
            yield (
                f"{host}: what starts there needs GPUs of what stops there, and an update starts before it stops;"
                " make it two: pulumi up without what starts there, then with it"
            )
