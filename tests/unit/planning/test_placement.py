"""Properties of the placement, checked by trying every host's loss, without the solver's help."""

from collections.abc import Iterator
from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st

from llmaas.planning.fleet import Need, Room, faults
from llmaas.planning.placement import solve
from llmaas.planning.proof import changes, reasons


@st.composite
def fleets(draw: st.DrawFn, most_hosts: int = 5, most_models: int = 6) -> tuple[dict[str, Room], list[Need]]:
    """A few hosts, not all alike, and models that may or may not fit on them."""
    rooms = {
        f"host-{number}": Room(f"host-{number}", draw(st.sampled_from([2, 4, 8])))
        for number in range(draw(st.integers(2, most_hosts)))
    }
    needs = []
    for number in range(draw(st.integers(1, most_models))):
        gpus = draw(st.sampled_from([1, 1, 2, 4]))
        carries = {name: draw(st.sampled_from([500, 1000])) for name, room in rooms.items() if room.gpus >= gpus}
        needs.append(
            Need(
                name=f"model-{number}",
                gpus=gpus,
                minimum=draw(st.integers(0, 3)),
                load=draw(st.sampled_from([0, 0, 700, 2500])) if carries else 0,
                protected=draw(st.booleans()),
                capacity=carries,
            )
        )
    return rooms, needs


@settings(max_examples=60, deadline=None)
@given(fleets())
def test_a_placement_survives_the_loss_of_every_host_and_uses_no_gpu_twice(
    fleet: tuple[dict[str, Room], list[Need]],
) -> None:
    rooms, needs = fleet
    solution = solve(rooms, needs, {})
    if solution.status == "placed":
        assert faults(rooms, needs, solution.placement) == []
    else:
        assert solution.status == "impossible"
        assert reasons(rooms, needs)


@st.composite
def fleets_with_a_known_placement(draw: st.DrawFn) -> tuple[dict[str, Room], list[Need]]:
    """Hosts filled with replicas first; the models are what stands there, so a placement exists."""
    hosts = [f"host-{number}" for number in range(draw(st.integers(3, 6)))]
    used = dict.fromkeys(hosts, 0)
    needs = []
    for number in range(draw(st.integers(1, 8))):
        gpus = draw(st.sampled_from([1, 2, 4]))
        free = [host for host in hosts if used[host] + gpus <= 8]
        chosen = draw(st.lists(st.sampled_from(free), unique=True, min_size=1, max_size=4)) if free else []
        protected = len(chosen) > 1 and draw(st.booleans())
        for host in chosen:
            used[host] += gpus
        if chosen:
            minimum = len(chosen) - (1 if protected else 0)
            capacity = dict.fromkeys(hosts, 0)
            needs.append(Need(f"model-{number}", gpus, minimum, protected=protected, capacity=capacity))
    return {host: Room(host, 8) for host in hosts}, needs


@settings(max_examples=60, deadline=None)
@given(fleets_with_a_known_placement())
def test_a_solution_known_to_exist_is_found(fleet: tuple[dict[str, Room], list[Need]]) -> None:
    rooms, needs = fleet
    solution = solve(rooms, needs, {})
    assert solution.status == "placed"
    assert faults(rooms, needs, solution.placement) == []


@settings(max_examples=30, deadline=None)
@given(fleets_with_a_known_placement())
def test_a_plan_is_deterministic_and_a_plan_in_force_moves_nothing(fleet: tuple[dict[str, Room], list[Need]]) -> None:
    rooms, needs = fleet
    first, again = solve(rooms, needs, {}), solve(rooms, needs, {})
    assert first == again
    settled = solve(rooms, needs, first.placement)
    assert settled.placement == first.placement
    assert settled.moves == 0


def every_placement(rooms: dict[str, Room], needs: list[Need]) -> Iterator[dict[str, dict[str, int]]]:
    """All of them, as many replicas on a host as the rule of different hosts allows."""
    spots = [(need.name, host, need.per_host(rooms)) for need in needs for host in need.capacity]
    for numbers in product(*(range(limit + 1) for _, _, limit in spots)):
        placement: dict[str, dict[str, int]] = {need.name: {} for need in needs}
        for (name, host, _), number in zip(spots, numbers, strict=True):
            placement[name][host] = number
        yield placement


@settings(max_examples=40, deadline=None)
@given(fleets(most_hosts=3, most_models=2))
def test_what_is_called_impossible_has_no_placement_at_all(fleet: tuple[dict[str, Room], list[Need]]) -> None:
    rooms, needs = fleet
    solution = solve(rooms, needs, {})
    good = [placement for placement in every_placement(rooms, needs) if not faults(rooms, needs, placement)]
    assert bool(good) == (solution.status == "placed")
    if good:
        fewest = min(sum(sum(replicas.values()) for replicas in placement.values()) for placement in good)
        assert solution.moves == fewest


def same(hosts: int, gpus: int) -> dict[str, Room]:
    return {f"host-{number}": Room(f"host-{number}", gpus) for number in range(hosts)}


def need(rooms: dict[str, Room], name: str, gpus: int, minimum: int, *, protected: bool = True) -> Need:
    return Need(name, gpus, minimum, protected=protected, capacity=dict.fromkeys(rooms, 0))


def test_only_what_must_move_moves() -> None:
    rooms = same(3, 4)
    needs = [need(rooms, "a", 1, 1), need(rooms, "b", 2, 1), need(rooms, "c", 4, 1, protected=False)]
    in_force = {"a": {"host-0": 1, "gone": 1}, "b": {"host-0": 1, "host-1": 1}, "c": {"host-2": 1}}
    solution = solve(rooms, needs, in_force)
    assert solution.moves == 1
    assert solution.placement == {"a": {"host-0": 1, "host-1": 1}, "b": in_force["b"], "c": in_force["c"]}


def test_too_many_gpus_are_counted_and_the_way_out_is_true() -> None:
    rooms = same(2, 4)
    needs = [need(rooms, "a", 4, 1), need(rooms, "b", 1, 1, protected=False)]
    assert solve(rooms, needs, {}).status == "impossible"
    assert reasons(rooms, needs) == ["9 GPUs are needed and the hosts have 8: a 2 x 4, b 1 x 1"]
    assert changes(rooms, needs) == [
        "run without 1 of 1 replicas of b: lower its minimum_replicas or its demand",
        "add 1 GPUs: 1 more host of 1",
    ]


def test_of_equal_sacrifices_the_one_that_touches_the_fewest_models_is_named() -> None:
    rooms = same(2, 4)
    needs = [need(rooms, name, 1, 2, protected=False) for name in ("a", "b", "c", "d", "e")]
    assert changes(rooms, needs)[0].startswith("run without 2 of 2 replicas of ")
    assert " and " not in changes(rooms, needs)[0]


def test_a_question_too_large_to_search_is_answered_with_the_sum() -> None:
    rooms = same(300, 8)
    needs = [need(rooms, f"m{number}", 8, 1) for number in range(200)]
    assert changes(rooms, needs) == ["add 800 GPUs at least, or ask for so many fewer"]


def test_whole_replicas_that_find_no_host_are_explained() -> None:
    rooms = same(3, 6)
    needs = [need(rooms, "a", 4, 4, protected=False)]
    assert reasons(rooms, needs) == [
        "replicas of 4 GPUs or more need 4 places of 4 GPUs on one host, there are 3: a 4",
    ]


def test_the_loss_of_the_only_host_that_can_carry_a_model_is_named() -> None:
    rooms = {**same(3, 4), "big": Room("big", 8)}
    lonely = Need("a", 8, 1, capacity={"big": 0})
    assert reasons(rooms, [lonely])[0] == "a fits on big only, so the loss of big ends it"


def test_faults_sees_what_a_solver_could_get_wrong() -> None:
    rooms = same(2, 2)
    needs = [need(rooms, "a", 1, 1), need(rooms, "b", 2, 1, protected=False)]
    placement = {"a": {"host-0": 1}, "b": {"host-0": 1, "elsewhere": 1}}
    assert list(map(str, faults(rooms, needs, placement))) == [
        "a is not served without host-0: it has 0 replicas of the 1 that must run",
        "b cannot run on elsewhere",
        "host-0 has 2 GPUs, 3 are used",
    ]
