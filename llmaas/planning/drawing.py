"""A picture of the fleet: hosts as columns, one cell for each GPU, a block for each replica."""

import hashlib
from html import escape

from llmaas.planning.plan import Plan

_CELL, _WIDTH, _GAP, _TOP, _LEFT = 22, 92, 14, 46, 16
_TINTS = ("#4e79a7", "#f28e2b", "#59a14f", "#e15759", "#76b7b2", "#b07aa1", "#9c755f", "#edc948", "#ff9da7", "#86bc86")


def picture(plan: Plan) -> str:
    """SVG of a plan that fits; a model keeps its colour from one plan to the next."""
    tallest = max(plan.hosts.values(), default=0)
    height = _TOP + tallest * _CELL + 24 + 20 * len(plan.lines) + 16
    width = max(2 * _LEFT + len(plan.hosts) * (_WIDTH + _GAP), 640)
    title = f"{plan.environment}: {plan.gpus_used} of {plan.gpus_in_words} on {len(plan.hosts)} hosts"
    size = f'width="{width}" height="{height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="11">',
        f'<rect {size} fill="white"/>',
        f'<text x="{_LEFT}" y="18" font-size="14">{escape(title)}</text>',
    ]
    for column, (host, gpus) in enumerate(plan.hosts.items()):
        parts.extend(_column(plan, host, gpus, _LEFT + column * (_WIDTH + _GAP)))
    top = _TOP + tallest * _CELL + 24
    for number, line in enumerate(plan.lines):
        y = top + 20 * number
        parts.append(f'<rect x="{_LEFT}" y="{y}" width="14" height="14" fill="{_tint(line.model)}"/>')
        parts.append(
            f'<text x="{_LEFT + 20}" y="{y + 11}">{escape(line.model)} ({line.phase}): {line.replicas} x'
            f" {line.gpus_per_replica} GPU</text>"
        )
    return "\n".join([*parts, "</svg>", ""])


def _column(plan: Plan, host: str, gpus: int, x: int) -> list[str]:
    # a GPU that is only counted has a broken frame
    dashes = ' stroke-dasharray="3 2"' if host in plan.simulated else ""
    parts = [f'<text x="{x}" y="{_TOP - 6}">{escape(host)}</text>']
    parts.extend(
        f'<rect x="{x}" y="{_TOP + cell * _CELL}" width="{_WIDTH}" height="{_CELL}" fill="#f4f4f4" stroke="#cccccc"'
        f"{dashes}/>"
        for cell in range(gpus)
    )
    taken = 0
    for line in plan.lines:
        for _ in range(line.hosts.get(host, 0)):
            y, size = _TOP + taken * _CELL, line.gpus_per_replica * _CELL
            parts.append(
                f'<rect x="{x + 1}" y="{y + 1}" width="{_WIDTH - 2}" height="{size - 2}" rx="3"'
                f' fill="{_tint(line.model)}"><title>{escape(line.model)}</title></rect>'
            )
            parts.append(f'<text x="{x + 6}" y="{y + size // 2 + 4}" fill="white">{escape(line.model[:14])}</text>')
            taken += line.gpus_per_replica
    return parts


def _tint(model: str) -> str:
    return _TINTS[hashlib.sha256(model.encode()).digest()[0] % len(_TINTS)]
