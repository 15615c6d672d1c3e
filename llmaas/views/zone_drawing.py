"""A picture of the zones and the flows between them: a lane for each kind of zone, from the outside to the inside."""

from collections.abc import Iterable
from html import escape
from typing import Final

from llmaas.settings import Platform
from llmaas.views import zones as z
from llmaas.views.flow_terms import Encryption, Flow
from llmaas.views.flows import flow_matrix

_LANES: Final[dict[z.Kind, str]] = {"outside": "outside", "site": "site", "hosts": "hosts", "pods": "pods"}
_WIDTH, _HEIGHT, _STEP_X, _STEP_Y, _LEFT, _TOP = 170, 40, 320, 66, 20, 64
_TINTS: Final[dict[Encryption, str]] = {
    "TLS 1.3, mutual": "#1b7837",
    "TLS 1.3": "#5aae61",
    "SSH": "#2166ac",
    "none": "#b35806",
}
_LEGEND: Final[dict[Encryption, str]] = {
    "TLS 1.3, mutual": "TLS 1.3, both sides known by certificate",
    "TLS 1.3": "TLS 1.3",
    "SSH": "SSH",
    "none": "not encrypted: echo, time, names, probes",
}


def zone_picture(platform: Platform) -> str:
    """SVG: a box for each zone with its addresses, a line for each pair of zones between which something may flow."""
    corners = _corners()
    tallest = max(y for _, y in corners.values()) + _STEP_Y
    width, height = _LEFT * 2 + 3 * _STEP_X + _WIDTH + 70, tallest + 24 * len(_LEGEND) + 10
    size = f'width="{width}" height="{height}"'
    box = f'viewBox="0 0 {width} {height}"'
    title = f"{platform.environment}: zones, and what may flow between them"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} {box} font-family="sans-serif" font-size="11">',
        f"<defs>{''.join(_arrow(encryption) for encryption in _TINTS)}</defs>",
        f'<rect {size} fill="white"/>',
        f'<text x="{_LEFT}" y="20" font-size="14">{escape(title)}</text>',
    ]
    for lane, name in enumerate(_LANES.values()):
        parts.append(f'<text x="{_LEFT + lane * _STEP_X}" y="{_TOP - 14}" font-weight="bold">{name}</text>')
    for (source, destination), flows in sorted(_pairs(flow_matrix(platform)).items()):
        parts.append(_line(corners[source], corners[destination], flows))
    parts += [_box(platform, zone, *corners[zone.name]) for zone in z.ZONES]
    for number, (encryption, text) in enumerate(_LEGEND.items()):
        y = tallest + 24 * number
        parts.append(f'<path d="M{_LEFT} {y} h40" {_stroke(encryption)}/>')
        parts.append(f'<text x="{_LEFT + 52}" y="{y + 4}">{escape(text)}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _corners() -> dict[str, tuple[int, int]]:
    """The upper left corner of each zone's box."""
    taken = dict.fromkeys(_LANES, 0)
    corners = {}
    for zone in z.ZONES:
        corners[zone.name] = (_LEFT + list(_LANES).index(zone.kind) * _STEP_X, _TOP + taken[zone.kind] * _STEP_Y)
        taken[zone.kind] += 1
    return corners


def _pairs(flows: Iterable[Flow]) -> dict[tuple[str, str], list[Flow]]:
    """Flows by the zones at their ends; who answers counts, not where the address is."""
    pairs: dict[tuple[str, str], list[Flow]] = {}
    for flow in flows:
        end = flow.answer.part if flow.answer else flow.destination
        pairs.setdefault((flow.source, end), []).append(flow)
    return pairs


def _box(platform: Platform, zone: z.Zone, x: int, y: int) -> str:
    found = z.addresses(platform, zone.name) if zone.kind != "pods" else ()
    shown = f"{found[0]} and {len(found) - 1} more" if len(found) > 1 else "".join(found)
    return (
        f'<g><title>{escape(zone.description)}</title><rect x="{x}" y="{y}" width="{_WIDTH}" height="{_HEIGHT}"'
        f' rx="4" fill="#f4f4f4" stroke="#888888"/><text x="{x + 8}" y="{y + 17}">{escape(zone.name)}</text>'
        f'<text x="{x + 8}" y="{y + 32}" font-size="9" fill="#666666">{escape(shown)}</text></g>'
    )


def _line(source: tuple[int, int], destination: tuple[int, int], flows: list[Flow]) -> str:
    weakest = max((flow.encryption for flow in flows), key=list(_TINTS).index)
    titles = "; ".join(f"{flow.name} ({flow.encryption})" for flow in flows)
    (from_x, from_y), (to_x, to_y) = source, destination
    from_y, to_y = from_y + _HEIGHT // 2 - 5, to_y + _HEIGHT // 2 + 5
    if from_x == to_x:
        side = from_x + _WIDTH
        bulge = side + 34 + abs(to_y - from_y) // 8
        path = f"M{side} {from_y} C{bulge} {from_y} {bulge} {to_y} {side} {to_y}"
    else:
        start, end = (from_x + _WIDTH, to_x) if from_x < to_x else (from_x, to_x + _WIDTH)
        bend = (end - start) // 2
        path = f"M{start} {from_y} C{start + bend} {from_y} {end - bend} {to_y} {end} {to_y}"
    end_mark = f'marker-end="url(#{_mark(weakest)})"'
    return f'<path d="{path}" {_stroke(weakest)} {end_mark}><title>{escape(titles)}</title></path>'


def _stroke(encryption: Encryption) -> str:
    dashes = ' stroke-dasharray="4 3"' if encryption == "none" else ""
    return f'fill="none" stroke="{_TINTS[encryption]}" stroke-width="1.3"{dashes}'


def _mark(encryption: Encryption) -> str:
    return f"arrow-{list(_TINTS).index(encryption)}"


def _arrow(encryption: Encryption) -> str:
    return (
        f'<marker id="{_mark(encryption)}" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7"'
        f' orient="auto"><path d="M0 0 L8 4 L0 8 z" fill="{_TINTS[encryption]}"/></marker>'
    )
