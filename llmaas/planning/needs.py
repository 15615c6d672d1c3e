"""From a ``Platform`` to rooms and needs: which host can carry a replica, how much, and how much is asked."""

from dataclasses import dataclass
from math import ceil, floor

from llmaas.planning.fleet import Need, Room
from llmaas.planning.memory import BYTES, GIB, ReplicaMemory, replica_memory
from llmaas.planning.throughput import NoRate, Rate, Replica, measurement_for, replica_rate
from llmaas.settings import Architecture, Demand, Gpus, Host, Model, Platform, Problem

# phases in which a tenant relies on a model
PROTECTED = frozenset({"stable", "deprecated"})
# the most that a stack file can give a replica or a host
_MOST_GPUS = 64


@dataclass(frozen=True)
class Sizing:
    """A model on one kind of GPU: what a replica holds and carries."""

    gpu: str
    memory: ReplicaMemory
    # None: no demand is declared, or the GPU is simulated and has no speed
    rate: Rate | None


@dataclass(frozen=True)
class Wanted:
    """A model with its need, its sizes by kind of GPU and its demand in requests per second."""

    model: Model
    need: Need
    sizings: tuple[Sizing, ...]
    demand: Demand | None
    requests_per_second: float


@dataclass(frozen=True)
class Question:
    """What a plan has to answer, or the reasons why it cannot even be asked."""

    rooms: dict[str, Room]
    wanted: tuple[Wanted, ...]
    in_force: dict[str, dict[str, int]]
    # what the stack file places itself, when it leaves other models to the plan
    fixed: dict[str, dict[str, int]]
    problems: tuple[Problem, ...]
    changes: tuple[str, ...]

    @property
    def open_needs(self) -> list[Need]:
        """The needs that the plan places."""
        return [wanted.need for wanted in self.wanted if wanted.model.name not in self.fixed]

    @property
    def open_rooms(self) -> dict[str, Room]:
        """The hosts with the GPUs that are left beside what is fixed."""
        taken = dict.fromkeys(self.rooms, 0)
        for wanted in self.wanted:
            for host, number in self.fixed.get(wanted.model.name, {}).items():
                taken[host] += number * wanted.need.gpus
        return {name: Room(name, max(0, room.gpus - taken[name])) for name, room in self.rooms.items()}


def question_of(platform: Platform) -> Question:
    """Sizes of every model on every kind of GPU; problems name what makes a model unplaceable by itself."""
    hosts = [host for host in platform.hosts_with_role("gpu") if host.gpus is not None]
    wanted: list[Wanted] = []
    problems: list[Problem] = []
    changes: list[str] = []
    for index, model in enumerate(platform.models):
        if model.phase == "removed":
            continue
        sizer = _Sizer(platform, model, f"llmaas:models[{index}]", hosts)
        wanted.append(sizer.wanted())
        problems.extend(sizer.problems)
        changes.extend(sizer.changes)
    return Question(
        rooms={host.name: Room(host.name, host.gpus.count) for host in hosts if host.gpus is not None},
        wanted=tuple(wanted),
        in_force={model.name: dict(model.placement) for model in platform.models if model.phase != "removed"},
        problems=tuple(problems),
        fixed=_fixed(platform),
        changes=tuple(changes),
    )


def _fixed(platform: Platform) -> dict[str, dict[str, int]]:
    served = [model for model in platform.models if model.phase != "removed"]
    if not any(model.placed_by_plan for model in served):
        return {}
    return {model.name: dict(model.placement) for model in served if not model.placed_by_plan}


class _Sizer:
    """Sizes one model."""

    def __init__(self, platform: Platform, model: Model, path: str, hosts: list[Host]) -> None:
        self.platform, self.model, self.path, self.hosts = platform, model, path, hosts
        self.shape = platform.artefact(model.artefact).architecture
        self.demand = next((demand for demand in platform.demand if demand.model == model.name), None)
        self.problems: list[Problem] = []
        self.changes: list[str] = []

    def wanted(self) -> Wanted:
        """The model's need; ``problems`` and ``changes`` are filled on the way."""
        asked = 0.0
        if self.demand is not None:
            asked = self.demand.tenants * self.demand.requests_per_minute * self.demand.peak_factor / 60
        capacity: dict[str, int] = {}
        sizings: dict[Gpus, Sizing] = {}
        load = 0
        if self.shape is None:
            self.problems.append(
                Problem(
                    f"{self.path}.artefact",
                    f"{self.model.artefact} has no architecture, so its memory is unknown; add it to llmaas:artefacts"
                    " (`llmaas plan shape FOLDER` prints it from the weights)",
                )
            )
        else:
            sizings = self._sizings(self.shape)
            rated = [sizing for sizing in sizings.values() if sizing.rate is not None]
            load = ceil(asked * 1000) if rated else 0
            for host in self.hosts:
                sizing = sizings.get(host.gpus) if host.gpus is not None else None
                if sizing is None or host.gpus is None or host.gpus.count < self.model.gpus_per_replica:
                    continue
                if sizing.rate is not None:
                    capacity[host.name] = max(1, floor(sizing.rate.requests_per_second * 1000))
                elif not load:
                    capacity[host.name] = 0
        need = Need(
            name=self.model.name,
            gpus=self.model.gpus_per_replica,
            minimum=self.model.minimum_replicas,
            load=load,
            protected=self.model.phase in PROTECTED,
            capacity=capacity,
        )
        return Wanted(self.model, need, tuple(sizings.values()), self.demand, asked)

    def _sizings(self, shape: Architecture) -> dict[Gpus, Sizing]:
        cards = {host.gpus: host.gpus for host in self.hosts if host.gpus is not None}
        largest = max((card.count for card in cards), default=0)
        gpus = self.model.gpus_per_replica
        if gpus > largest:
            self.problems.append(
                Problem(
                    f"{self.path}.gpus_per_replica",
                    f"{gpus} GPUs are more than any host has ({largest}); a replica stands on one host",
                )
            )
            return {}
        if shape.attention_heads % gpus:
            fitting_counts = [count for count in range(1, largest + 1) if shape.attention_heads % count == 0]
            self.problems.append(
                Problem(
                    f"{self.path}.gpus_per_replica",
                    f"{gpus} GPUs cannot share {shape.attention_heads} attention heads evenly;"
                    f" give one of {', '.join(map(str, fitting_counts))}",
                )
            )
            return {}
        memories = {card: replica_memory(shape, gpus, card) for card in cards if card.count >= gpus}
        fitting = {card: memory for card, memory in memories.items() if memory.kv_tokens >= self.model.context_tokens}
        if not fitting:
            self._too_large(shape, memories)
            return {}
        found: dict[Gpus, Sizing] = {}
        for card, memory in fitting.items():
            rate = self._rate(shape, card, memory)
            if not isinstance(rate, NoRate):
                found[card] = Sizing(card.model, memory, rate)
        return found

    def _rate(self, shape: Architecture, card: Gpus, memory: ReplicaMemory) -> Rate | NoRate | None:
        if self.demand is None:
            return None
        gpus = self.model.gpus_per_replica
        measured = measurement_for(self.platform.measurements, self.model.artefact, card.model, gpus)
        if measured is None and card.kind == "simulated":
            return None
        rate = replica_rate(
            Replica(shape, gpus, card.model, memory), self.demand, self.platform.service_levels, measured
        )
        if isinstance(rate, NoRate):
            self.problems.append(Problem(self.path, rate.reason))
        return rate

    def _too_large(self, shape: Architecture, memories: dict[Gpus, ReplicaMemory]) -> None:
        card, memory = max(memories.items(), key=lambda pair: pair[1].kv_tokens)
        gpus, context = self.model.gpus_per_replica, self.model.context_tokens
        request = context * memory.kv_bytes_per_token
        taken = memory.weight_bytes + memory.activation_bytes + memory.runtime_bytes
        needed = taken + request
        parts = (
            f"{memory.weight_bytes / GIB:.1f} weights, {(taken - memory.weight_bytes) / GIB:.1f} activations and"
            f" runtime, {request / GIB:.1f} for one request of {context} tokens"
        )
        self.problems.append(
            Problem(
                f"{self.path}.{'context_tokens' if memory.kv_tokens else 'gpus_per_replica'}",
                f"{self.model.name} needs {needed / GIB:.1f} GiB on each of {gpus} GPUs ({parts});"
                f" {card.model} has {memory.usable_bytes / GIB:.1f} GiB usable",
            )
        )
        if memory.kv_tokens:
            self.changes.append(f"lower the context of {self.model.name} to {memory.kv_tokens} tokens")
        self.changes.extend(self._ways_to_fit(shape, card))

    def _ways_to_fit(self, shape: Architecture, card: Gpus) -> list[str]:
        """More GPUs, larger hosts or narrower weights, each the smallest of its kind that fits; never nothing."""
        name, gpus = self.model.name, self.model.gpus_per_replica
        ways = []
        more = next((count for count in range(gpus + 1, _MOST_GPUS + 1) if self._fits(shape, count, card)), None)
        if more is not None and more <= card.count:
            ways.append(f"give {name} {more} GPUs per replica instead of {gpus}")
        elif more is not None:
            ways.append(f"buy hosts of {more} {card.model} GPUs or more and give {name} {more} GPUs per replica")
        for narrow in ("fp8", "int4"):
            if BYTES[narrow] >= BYTES[shape.weight_type]:
                continue
            narrower = shape.model_copy(update={"weight_type": narrow})
            count = next((count for count in range(gpus, card.count + 1) if self._fits(narrower, count, card)), None)
            if count is not None:
                on = "" if count == gpus else f", with {count} GPUs per replica"
                ways.append(f"serve {name} from weights quantised to {narrow}{on}")
                break
        return ways or [f"serve a smaller model in place of {name}: it fits on no host of up to {_MOST_GPUS} such GPUs"]

    def _fits(self, shape: Architecture, gpus: int, card: Gpus) -> bool:
        if shape.attention_heads % gpus:
            return False
        return replica_memory(shape, gpus, card).kv_tokens >= self.model.context_tokens
