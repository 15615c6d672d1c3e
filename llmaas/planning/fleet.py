"""What a placement is made of: rooms (hosts), needs (models) and the placement itself. No model knowledge here."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil

# replicas by need and room; absent means none
Placement = Mapping[str, Mapping[str, int]]


@dataclass(frozen=True)
class Room:
    """A host with its GPUs."""

    name: str
    gpus: int


@dataclass(frozen=True)
class Need:
    """A model: how many replicas must run, where they may, and what each carries there.

    ``capacity`` has an entry for each host that a replica fits on, in thousandths of a request per second; it is
    compared with ``load`` of the same unit. ``protected`` needs keep minimum and load with any one host gone.
    """

    name: str
    gpus: int
    minimum: int
    load: int = 0
    protected: bool = True
    capacity: Mapping[str, int] = field(default_factory=dict)

    @property
    def steady(self) -> int:
        """Replicas that carry load and minimum when each stands on the weakest host."""
        return self._replicas(min(self.capacity.values(), default=0))

    @property
    def fewest(self) -> int:
        """Replicas that no placement can do without: each on the strongest host."""
        return self._replicas(max(self.capacity.values(), default=0))

    def _replicas(self, each: int) -> int:
        by_load = ceil(self.load / each) if self.load and each else 0
        return max(self.minimum, by_load)

    def per_host(self, rooms: Mapping[str, Room]) -> int:
        """The fewest replicas on one host with which the need can be met: 1, unless there are too few hosts."""
        hosts = sum(1 for name in self.capacity if rooms[name].gpus >= self.gpus)
        spread = hosts - 1 if self.protected else hosts
        return max(1, ceil(self.steady / spread)) if spread > 0 else 1

    @property
    def uniform(self) -> bool:
        """Whether a replica carries the same on every host."""
        return len(set(self.capacity.values())) <= 1


def met(need: Need, replicas: Mapping[str, int]) -> bool:
    """Whether these replicas, all of them up, meet the need (the loss of a host is judged by the caller)."""
    count = sum(replicas.values())
    carried = sum(number * need.capacity.get(host, 0) for host, number in replicas.items())
    return count >= need.minimum and carried >= need.load


def met_without(need: Need, replicas: Mapping[str, int], lost: str) -> bool:
    """Whether the need is still met with one host gone."""
    return met(need, {host: number for host, number in replicas.items() if host != lost})


@dataclass(frozen=True)
class Fault:
    """One way in which a placement is wrong: of which need, on which host (or with which one lost), and what."""

    need: str | None
    room: str | None
    text: str

    def __str__(self) -> str:
        return self.text


def faults(rooms: Mapping[str, Room], needs: list[Need], placement: Placement) -> list[Fault]:
    """Every way in which a placement is wrong, by trying each host's loss; empty when it holds. Knows no solver."""
    found: list[Fault] = []
    used = dict.fromkeys(rooms, 0)
    for need in needs:
        replicas = placement.get(need.name, {})
        for host, number in replicas.items():
            if number and host not in need.capacity:
                found.append(Fault(need.name, host, f"{need.name} cannot run on {host}"))
            if host in used:
                used[host] += number * need.gpus
        if not met(need, replicas):
            found.append(Fault(need.name, None, f"{need.name} {_lack(need, replicas)}"))
        if need.protected:
            for lost in rooms:
                left = {host: number for host, number in replicas.items() if host != lost}
                if not met(need, left):
                    text = f"{need.name} is not served without {lost}: it {_lack(need, left)}"
                    found.append(Fault(need.name, lost, text))
    found.extend(
        Fault(None, host, f"{host} has {rooms[host].gpus} GPUs, {count} are used")
        for host, count in used.items()
        if count > rooms[host].gpus
    )
    return found


def _lack(need: Need, replicas: Mapping[str, int]) -> str:
    count = sum(replicas.values())
    if count < need.minimum:
        return f"has {count} replicas of the {need.minimum} that must run"
    carried = sum(number * need.capacity.get(host, 0) for host, number in replicas.items())
    return f"carries {carried / 1000:.2f} of the {need.load / 1000:.2f} requests/s asked"
