"""The two sizes that a plan must master on two cores, from nothing and after the loss of a host."""

import random
import time

import pytest

from llmaas.planning.fleet import Need, Room, faults
from llmaas.planning.placement import solve


def fleet(models: int, hosts: int, most: int, seed: int) -> tuple[dict[str, Room], list[Need]]:
    """Hosts of 8 GPUs, all but full: models with up to ``most`` replicas, as many as fit."""
    chance = random.Random(seed)  # noqa: S311  (the same fleet each time)
    rooms = {f"host-{number:04}": Room(f"host-{number:04}", 8) for number in range(hosts)}
    free = hosts * 8
    needs = []
    for number in range(models):
        gpus, minimum, protected = chance.choice([1, 1, 1, 2, 4]), chance.randint(1, most), chance.random() < 0.6
        if (minimum + protected) * gpus > free - (models - number - 1):
            gpus, minimum, protected = 1, 1, False
        free -= (minimum + protected) * gpus
        needs.append(Need(f"model-{number:03}", gpus, minimum, 0, protected, dict.fromkeys(rooms, 0)))
    return rooms, needs


@pytest.mark.parametrize(("models", "hosts", "most", "seconds"), [(60, 12, 1, 1.0), (300, 1000, 25, 60.0)])
def test_a_full_fleet_is_planned_in_time(models: int, hosts: int, most: int, seconds: float) -> None:
    rooms, needs = fleet(models, hosts, most, seed=1)
    # processor time: what else runs on the machine is not counted
    start = time.process_time()
    solution = solve(rooms, needs, {})
    assert time.process_time() - start < seconds
    assert solution.status == "placed"
    assert solution.proven
    assert faults(rooms, needs, solution.placement) == []


def test_the_loss_of_one_of_a_thousand_hosts_moves_only_what_stood_there() -> None:
    rooms, needs = fleet(300, 1000, 10, seed=2)
    before = solve(rooms, needs, {}).placement
    lost = next(host for replicas in before.values() for host in replicas)
    left = {name: room for name, room in rooms.items() if name != lost}
    wanted = [
        Need(need.name, need.gpus, need.minimum, 0, need.protected, dict.fromkeys(left, 0)) for need in needs
    ]  # fmt: skip
    after = solve(left, wanted, before)
    assert after.status == "placed"
    assert after.proven
    assert after.moves == sum(replicas.get(lost, 0) for replicas in before.values())
    assert faults(left, wanted, after.placement) == []
