"""Why a catalogue does not fit, in words that can be checked by hand, and the smallest changes that help."""

from collections.abc import Mapping
from dataclasses import replace

from llmaas.planning.fleet import Need, Room
from llmaas.planning.placement import shortfall, solve

# how many hosts more than arithmetic asks for are tried
_MORE_THAN_SUMS = 8
# above this many hosts to add, or (model, host) pairs, a search for the smallest change would take minutes
_MORE_HOSTS = 64
_SEARCHED = 2_000


def required(rooms: Mapping[str, Room], need: Need) -> int:
    """Replicas that no placement can do without: those that carry the need, and a host's worth more where one is lost.

    With replicas that carry the same everywhere and h hosts, the fullest host holds n / (h - 1) of n rounded up.
    """
    if not need.protected or not need.fewest:
        return need.fewest
    return need.fewest + (need.per_host(rooms) if need.uniform else 1)


def reasons(rooms: Mapping[str, Room], needs: list[Need]) -> list[str]:
    """Each demand that exceeds what there is; where no single one does, the models that exclude each other."""
    found = [text for need in needs if (text := _too_few_hosts(rooms, need)) is not None]
    owned = sum(room.gpus for room in rooms.values())
    asked = sum(required(rooms, need) * need.gpus for need in needs)
    if asked > owned:
        parts = ", ".join(
            f"{need.name} {required(rooms, need)} x {need.gpus}" for need in needs if required(rooms, need)
        )
        found.append(f"{asked} GPUs are needed and the hosts have {owned}: {parts}")
    # floor(x / size) of every replica on a host adds up to no more than floor(x / size) of the host
    for size in sorted({need.gpus for need in needs if need.gpus > 1}):
        slots = sum(room.gpus // size for room in rooms.values())
        wanted = sum(required(rooms, need) * (need.gpus // size) for need in needs)
        if wanted > slots and asked <= owned:
            names = ", ".join(
                f"{need.name} {required(rooms, need)}" for need in needs if need.gpus >= size and required(rooms, need)
            )
            found.append(
                f"replicas of {size} GPUs or more need {wanted} places of {size} GPUs on one host,"
                f" there are {slots}: {names}"
            )
    if not found:
        core = ", ".join(f"{need.name} ({required(rooms, need)} x {need.gpus} GPUs)" for need in _core(rooms, needs))
        found.append(
            f"{core} cannot stand together on {len(rooms)} hosts, each replica whole on one host and no two of a model"
            " on the same; without any one of them the others fit"
        )
    return found


def _too_few_hosts(rooms: Mapping[str, Room], need: Need) -> str | None:
    hosts = [name for name in need.capacity if rooms[name].gpus >= need.gpus]
    if not need.steady:
        return None
    if not hosts:
        return f"{need.name} fits on no host"
    if need.protected and len(hosts) == 1:
        return f"{need.name} fits on {hosts[0]} only, so the loss of {hosts[0]} ends it"
    return None


def _core(rooms: Mapping[str, Room], needs: list[Need]) -> list[Need]:
    """A smallest set of models that does not fit: each is left out in turn, for good where the rest still fails."""
    core = list(needs)
    for need in needs:
        rest = [other for other in core if other is not need]
        if rest and solve(rooms, rest, {}, limit=1.0).status == "impossible":
            core = rest
    return core


def changes(rooms: Mapping[str, Room], needs: list[Need]) -> list[str]:
    """What would make it fit: fewer replicas, or more GPUs; of very large questions only what is missing."""
    missing = _missing_gpus(rooms, needs)
    largest = max((room.gpus for room in rooms.values()), default=0)
    if len(rooms) * len(needs) > _SEARCHED or missing > _MORE_HOSTS * largest:
        return [f"add {missing} GPUs at least, or ask for so many fewer"] if missing > 0 else []
    found: list[str] = []
    short = shortfall(rooms, needs, limit=5.0)
    by_name = {need.name: need for need in needs}
    dropped = [
        f"{number} of {required(rooms, by_name[name])} replicas of {name}" for name, number in sorted(short.items())
    ]
    if dropped:
        found.append(f"run without {' and '.join(dropped)}: lower its minimum_replicas or its demand")
    added = _more_gpus(rooms, needs)
    if added:
        total = sum(added)
        found.append(
            f"add {total} GPUs: {len(added)} more host{'s' if len(added) > 1 else ''} of {', '.join(map(str, added))}"
        )
    return found


def _missing_gpus(rooms: Mapping[str, Room], needs: list[Need]) -> int:
    return sum(required(rooms, need) * need.gpus for need in needs) - sum(room.gpus for room in rooms.values())


def _more_gpus(rooms: Mapping[str, Room], needs: list[Need]) -> list[int]:
    """GPUs of each host to add, all like the largest one there is; empty when that does not help."""
    largest = max(rooms.values(), key=lambda room: room.gpus)
    start = max(1, -(-_missing_gpus(rooms, needs) // largest.gpus))
    for count in range(start, start + _MORE_THAN_SUMS):
        if _fits_with(rooms, needs, largest, [largest.gpus] * count):
            for last in range(1, largest.gpus):
                sizes = [largest.gpus] * (count - 1) + [last]
                if _fits_with(rooms, needs, largest, sizes):
                    return sizes
            return [largest.gpus] * count
    return []


def _fits_with(rooms: Mapping[str, Room], needs: list[Need], like: Room, sizes: list[int]) -> bool:
    new = {f"new host {number}": Room(f"new host {number}", gpus) for number, gpus in enumerate(sizes, 1)}
    wider = [
        replace(need, capacity={**need.capacity, **dict.fromkeys(new, need.capacity[like.name])})
        if like.name in need.capacity
        else need
        for need in needs
    ]
    return solve({**rooms, **new}, wider, {}, limit=2.0).status == "placed"
