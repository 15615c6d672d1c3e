"""The flow matrix for its readers: as rows of text, as Markdown, as plain data."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any, Final

from llmaas.settings import Platform
from llmaas.views import zones as z
from llmaas.views.flow_terms import Beyond, Flow, WideRule
from llmaas.views.flows import WIDE_RULES, flow_matrix

FLOW_COLUMNS: Final = ("from", "to", "protocol", "ports", "encryption", "flow", "why")
BEYOND_COLUMNS: Final = ("rule", "from", "to", "protocol", "ports", "why")
ZONE_COLUMNS: Final = ("zone", "who", "addresses")

_HEAD: Final = """# Flow matrix of {environment}

Every connection that hosts and pods may open. Host firewalls, NetworkPolicies and the checks of a live environment are
made of it; what it does not name is dropped.
This file is generated: `llmaas flows -e {environment} --markdown`.
"""
BEYOND_TEXT: Final = (
    "Host firewalls know pods by one address range, so some of their rules are wider than the flows they carry. "
    "What these let through beyond the flows, after the NetworkPolicies:"
)


def select_flows(platform: Platform, source: str | None = None, destination: str | None = None) -> tuple[Flow, ...]:
    """The flows from and to the named zones, those of zones around and within them too; None does not narrow down.

    Raises:
        ValueError: a zone does not exist; the message names those that do.
    """
    return tuple(
        flow
        for flow in flow_matrix(platform)
        if _chosen(flow.source, source)
        and (_chosen(flow.destination, destination) or (flow.answer and _chosen(flow.answer.part, destination)))
    )


def select_beyond(source: str | None = None, destination: str | None = None) -> tuple[tuple[WideRule, Beyond], ...]:
    """What wider rules let through beyond the flows, narrowed down in the same way."""
    return tuple(
        (rule, entry)
        for rule in WIDE_RULES
        for entry in rule.beyond
        if _chosen(entry.source, source) and _chosen(entry.destination, destination)
    )


def _chosen(name: str, wanted: str | None) -> bool:
    return wanted is None or z.overlap(name, z.zone(wanted).name)


def flow_rows(flows: Iterable[Flow]) -> list[tuple[str, ...]]:
    """A row of ``FLOW_COLUMNS`` for each flow."""
    return [
        (
            flow.source,
            _destination(flow),
            ", ".join(flow.protocols),
            _ports(flow.ports),
            flow.encryption,
            flow.name,
            flow.reason,
        )
        for flow in flows
    ]


def beyond_rows(found: Iterable[tuple[WideRule, Beyond]]) -> list[tuple[str, ...]]:
    """A row of ``BEYOND_COLUMNS`` for each."""
    return [
        (
            rule.name,
            entry.source,
            f"{entry.destination} of its own" if entry.own_pods else entry.destination,
            entry.protocol,
            _ports(entry.ports) if entry.ports else "all",
            entry.reason,
        )
        for rule, entry in found
    ]


def _destination(flow: Flow) -> str:
    if flow.answer is not None:
        return f"{flow.destination}, answered by {flow.answer.part} {flow.answer.port}"
    return f"{flow.destination} of its own" if flow.own_pods else flow.destination


def _ports(ports: Sequence[int]) -> str:
    return ", ".join(str(port) for port in ports) or "-"


def as_data(platform: Platform, flows: Iterable[Flow], beyond: Iterable[tuple[WideRule, Beyond]]) -> dict[str, Any]:
    """For other programs: ``environment``, ``zones`` with their addresses, ``flows``, ``beyond``."""
    return {
        "environment": platform.environment,
        "zones": [{**asdict(zone), "addresses": list(z.addresses(platform, zone.name))} for zone in z.ZONES],
        "flows": [asdict(flow) for flow in flows],
        "beyond": [{"rule": rule.name, **asdict(entry)} for rule, entry in beyond],
    }


def markdown(platform: Platform, flows: Iterable[Flow], beyond: Iterable[tuple[WideRule, Beyond]]) -> str:
    """The matrix as a document: flows, what lies beyond them, zones."""
    zones = [(zone.name, _who(zone), ", ".join(z.addresses(platform, zone.name)) or "-") for zone in z.ZONES]
    sections = [
        _HEAD.format(environment=platform.environment),
        f"## Flows\n\n{_table(FLOW_COLUMNS, flow_rows(flows))}",
        f"## Beyond the flows\n\n{BEYOND_TEXT}\n\n{_table(BEYOND_COLUMNS, beyond_rows(beyond))}",
        f"## Zones\n\n{_table(ZONE_COLUMNS, zones)}",
    ]
    return "\n".join(sections)


def _who(zone: z.Zone) -> str:
    return f"{zone.description} ({', '.join(zone.members)})" if zone.members else zone.description


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"
