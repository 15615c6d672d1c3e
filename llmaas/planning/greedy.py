"""A first placement without search: largest replicas first, each where the fewest GPUs stay free."""

from collections.abc import Mapping

from llmaas.planning.fleet import Need, Placement, Room, met, met_without


def first_placement(
    rooms: Mapping[str, Room], needs: list[Need], in_force: Placement
) -> dict[str, dict[str, int]] | None:
    """A placement that holds; None when this simple way finds none.

    What runs stays where it is, and the rest is put around it; only where that leaves no room is all placed anew.
    """
    return _place(rooms, needs, in_force) or _place(rooms, needs, {})


def _place(rooms: Mapping[str, Room], needs: list[Need], in_force: Placement) -> dict[str, dict[str, int]] | None:
    free = {name: room.gpus for name, room in rooms.items()}
    order = sorted(needs, key=lambda need: (-need.gpus, -need.steady, need.name))
    limits = {need.name: need.per_host(rooms) for need in needs}
    placed: dict[str, dict[str, int]] = {need.name: {} for need in needs}
    for need in order:
        replicas = placed[need.name]
        for host, running in sorted(in_force.get(need.name, {}).items()):
            for _ in range(min(running, limits[need.name])):
                if host in need.capacity and free[host] >= need.gpus and not _holds(need, replicas):
                    replicas[host] = replicas.get(host, 0) + 1
                    free[host] -= need.gpus
    for need in order:
        replicas = placed[need.name]
        while not _holds(need, replicas):
            chosen = _best(need, replicas, free, limits[need.name])
            if chosen is None:
                return None
            replicas[chosen] = replicas.get(chosen, 0) + 1
            free[chosen] -= need.gpus
    return placed


def _holds(need: Need, replicas: Mapping[str, int]) -> bool:
    if not met(need, replicas):
        return False
    return not need.protected or all(met_without(need, replicas, lost) for lost in replicas)


def _best(need: Need, replicas: Mapping[str, int], free: Mapping[str, int], limit: int) -> str | None:
    fitting = [host for host in need.capacity if free[host] >= need.gpus and replicas.get(host, 0) < limit]
    return min(fitting, key=lambda host: (replicas.get(host, 0), free[host], host), default=None)
