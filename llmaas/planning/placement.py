"""Where each replica goes: an integer programme for OR-tools CP-SAT, with the loss of any one host as a constraint.

First the fewest moves (replicas started where none runs), then the fewest GPUs. One worker, a fixed seed and a limit
in deterministic time, so that the same input gives the same placement on every machine.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from ortools.sat.python import cp_model

from llmaas.planning.fleet import Need, Placement, Room
from llmaas.planning.greedy import first_placement

# above this many (model, host) pairs only hosts that already run a model, or that the hint uses, are looked at first
_WHOLE_SEARCH: Final = 20_000
_NEIGHBOURS: Final = 4
# CP-SAT's own unit, one to four seconds of one core
DETERMINISTIC_SECONDS: Final = 10.0


@dataclass(frozen=True)
class Solution:
    """``placed`` with a placement (``proven`` when no better one exists), ``impossible``, or ``undecided``."""

    status: Literal["placed", "impossible", "undecided"]
    placement: dict[str, dict[str, int]]
    moves: int = 0
    proven: bool = False


def solve(
    rooms: Mapping[str, Room], needs: list[Need], in_force: Placement, limit: float = DETERMINISTIC_SECONDS
) -> Solution:
    """The best placement, or the proof that there is none."""
    if not needs:
        return Solution("placed", {}, proven=True)
    hint = first_placement(rooms, needs, in_force)
    if hint is not None and len(rooms) * len(needs) > _WHOLE_SEARCH:
        near = _neighbourhood(rooms, needs, in_force, hint)
        found = _Programme(rooms, needs, in_force, near).run(hint, limit)
        if found.status == "placed":
            # proven only when no placement at all could start fewer replicas
            return Solution(
                "placed", found.placement, found.moves, found.moves == _fewest_moves(needs, in_force, found)
            )
    every = {need.name: list(need.capacity) for need in needs}
    return _Programme(rooms, needs, in_force, every).run(hint, limit)


def shortfall(rooms: Mapping[str, Room], needs: list[Need], limit: float = DETERMINISTIC_SECONDS) -> dict[str, int]:
    """The fewest replicas to give up, by need, for the rest to fit; empty when the search found none in time."""
    every = {need.name: list(need.capacity) for need in needs}
    programme = _Programme(rooms, needs, {}, every, may_fall_short=True)
    programme.run(None, limit)
    return {name: number for name, number in programme.short.items() if number}


def _fewest_moves(needs: list[Need], in_force: Placement, found: Solution) -> int:
    """A bound that holds for every placement with these replica counts."""
    running = {
        need.name: sum(number for host, number in in_force.get(need.name, {}).items() if host in need.capacity)
        for need in needs
    }
    return sum(max(0, sum(found.placement[need.name].values()) - running[need.name]) for need in needs)


def _neighbourhood(
    rooms: Mapping[str, Room], needs: list[Need], in_force: Placement, hint: Placement
) -> dict[str, list[str]]:
    names = list(rooms)
    near: dict[str, list[str]] = {}
    for number, need in enumerate(needs):
        some = {names[(number * _NEIGHBOURS + step) % len(names)] for step in range(_NEIGHBOURS)}
        wanted = some | set(in_force.get(need.name, {})) | set(hint[need.name])
        near[need.name] = [host for host in need.capacity if host in wanted]
    return near


class _Programme:
    """Variables and constraints of one search; ``hosts`` says where each need may go."""

    def __init__(
        self,
        rooms: Mapping[str, Room],
        needs: list[Need],
        in_force: Placement,
        hosts: Mapping[str, list[str]],
        *,
        may_fall_short: bool = False,
    ) -> None:
        self.model = cp_model.CpModel()
        self.needs = needs
        self.may_fall_short = may_fall_short
        self.missing: dict[str, Any] = {}
        self.short: dict[str, int] = {}
        self.in_force = in_force
        self.variables: dict[tuple[str, str], Any] = {}
        used: dict[str, list[Any]] = {name: [] for name in rooms}
        for need in needs:
            limit = need.per_host(rooms)
            for host in hosts[need.name]:
                most = min(limit, rooms[host].gpus // need.gpus)
                if most:
                    variable = self.model.new_int_var(0, most, f"{need.name} on {host}")
                    self.variables[need.name, host] = variable
                    used[host].append(need.gpus * variable)
            self._meet(need, limit)
        for name, terms in used.items():
            if terms:
                self.model.add(sum(terms) <= rooms[name].gpus)
        self._minimise()

    def _meet(self, need: Need, limit: int) -> None:
        own = {host: variable for (name, host), variable in self.variables.items() if name == need.name}
        count = sum(own.values()) + self._missing(need)
        if need.uniform and limit == 1:
            # every loss takes one replica at most, so the loss of any host is one spare replica
            self.model.add(count == need.steady + (1 if need.protected and need.steady else 0))
            return
        carried = sum(need.capacity[host] * variable for host, variable in own.items())
        carried += max(need.capacity.values(), default=0) * self._missing(need)
        if not need.protected or not need.steady:
            self.model.add(count >= need.minimum)
            self.model.add(carried >= need.load)
            return
        # named once, so that a constraint for each host has two terms and not all of them
        total = self.model.new_int_var(0, 1_000_000, f"replicas of {need.name}")
        power = self.model.new_int_var(0, 10**15, f"capacity of {need.name}")
        self.model.add(total == count)
        self.model.add(power == carried)
        # hosts that carry none are lost without effect; one such loss is the steady state itself
        self.model.add(total >= need.minimum)
        self.model.add(power >= need.load)
        for host, variable in own.items():
            self.model.add(total - variable >= need.minimum)
            self.model.add(power - need.capacity[host] * variable >= need.load)

    def _missing(self, need: Need) -> Any:
        """Replicas that are asked and not placed: none, unless the question is what would have to go."""
        if not self.may_fall_short:
            return 0
        if need.name not in self.missing:
            self.missing[need.name] = self.model.new_int_var(0, need.steady + 64, f"missing of {need.name}")
        return self.missing[need.name]

    def _minimise(self) -> None:
        if self.may_fall_short:
            # what tenants rely on goes last
            weight = {need.name: need.gpus * (4 if need.protected else 1) for need in self.needs}
            short = sum(weight[name] * variable for name, variable in self.missing.items())
            # of equally good answers the one that touches the fewest models
            touched = [self._touched(variable) for variable in self.missing.values()]
            self.model.minimize((len(touched) + 1) * short + sum(touched))
            return
        size = {need.name: need.gpus for need in self.needs}
        moves, gpus = [], []
        for (name, host), variable in self.variables.items():
            running = self.in_force.get(name, {}).get(host, 0)
            gpus.append(size[name] * variable)
            if running == 0:
                moves.append(variable)
                continue
            started = self.model.new_int_var(0, 1_000_000, f"{name} started on {host}")
            self.model.add(started >= variable - running)
            moves.append(started)
        worst = sum(size[name] for name, _ in self.variables) * 64 + 1
        self.model.minimize(worst * sum(moves) + sum(gpus))

    def _touched(self, missing: Any) -> Any:
        some = self.model.new_bool_var(f"some of {missing.name}")
        self.model.add(missing == 0).only_enforce_if(some.negated())
        return some

    def run(self, hint: Placement | None, limit: float) -> Solution:
        """Search, from the hint where there is one."""
        if hint is not None:
            for (name, host), variable in self.variables.items():
                self.model.add_hint(variable, hint[name].get(host, 0))
        solver = cp_model.CpSolver()
        solver.parameters.num_workers = 1
        solver.parameters.random_seed = 0
        solver.parameters.max_deterministic_time = limit
        status: Any = solver.solve(self.model)
        if status == cp_model.INFEASIBLE:
            return Solution("impossible", {})
        if status not in {cp_model.OPTIMAL, cp_model.FEASIBLE}:
            return Solution("undecided", {})
        self.short = {name: int(solver.value(variable)) for name, variable in self.missing.items()}
        placement: dict[str, dict[str, int]] = {need.name: {} for need in self.needs}
        moves = 0
        for (name, host), variable in self.variables.items():
            number = int(solver.value(variable))
            if number:
                placement[name][host] = number
                moves += max(0, number - self.in_force.get(name, {}).get(host, 0))
        return Solution("placed", placement, moves, status == cp_model.OPTIMAL)
