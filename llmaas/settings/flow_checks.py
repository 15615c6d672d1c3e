"""What must hold of flows that the stack file declares: known zones, nothing of the platform's own."""

import difflib
from collections.abc import Iterator

from llmaas.settings.draft import Draft, Item
from llmaas.settings.errors import Problem
from llmaas.settings.flows import HOST_ZONES, NODE_PORTS, RESERVED_PORTS, SITE_ZONES, DeclaredFlow

_ZONES = (*HOST_ZONES, *SITE_ZONES)


def flows_are_between_known_zones(draft: Draft) -> Iterator[Problem]:
    """Both ends are zones that a stack file may speak of, and one of them is the hosts': else nothing would change."""
    for item in draft.entries("flows", DeclaredFlow):
        known = True
        for field in ("source", "destination"):
            if item.sure(field):
                problem = _unknown(item, field)
                known = known and problem is None
                yield from [problem] if problem else []
        ends = {item.value.source, item.value.destination} if item.sure("source", "destination") else set()
        if known and ends and ends.isdisjoint(HOST_ZONES):
            yield Problem(
                item.path, f"has no host at either end, so no rule of ours; give one of {', '.join(HOST_ZONES)}"
            )


def _unknown(item: Item[DeclaredFlow], field: str) -> Problem | None:
    name = getattr(item.value, field)
    if name in _ZONES:
        return None
    near = difflib.get_close_matches(name, _ZONES, n=1)
    remedy = f"did you mean {near[0]}?" if near else f"zones are: {', '.join(_ZONES)}"
    return Problem(f"{item.path}.{field}", f"{name!r} is no zone of hosts or of the site; {remedy}")


def flows_take_a_port_of_their_own(draft: Draft) -> Iterator[Problem]:
    """No declared flow opens to others what the platform keeps for callers of its own."""
    for item in draft.entries("flows", DeclaredFlow):
        if not item.sure("destination", "port") or item.value.destination not in HOST_ZONES:
            continue
        port = item.value.port
        if port in RESERVED_PORTS or port in NODE_PORTS:
            yield Problem(f"{item.path}.port", f"{port} on hosts is the platform's own; give another port")


def flows_stand_once(draft: Draft) -> Iterator[Problem]:
    """Flows have names of their own, by which their rules are known."""
    seen: dict[str, str] = {}
    for item in draft.entries("flows", DeclaredFlow):
        if not item.sure("name"):
            continue
        other = seen.setdefault(item.value.name, item.path)
        if other != item.path:
            yield Problem(f"{item.path}.name", f"{item.value.name!r} is already the name of {other}; give each its own")


CHECKS = (flows_are_between_known_zones, flows_take_a_port_of_their_own, flows_stand_once)
