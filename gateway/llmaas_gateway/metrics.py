"""What Prometheus reads of this process, in its text format; LiteLLM's image brings no library that writes it.

Numbers only, no tenant's name: who may read metrics need not know who the tenants are.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric with its values, by names and values of its labels."""

    name: str
    kind: Literal["counter", "gauge"]
    meaning: str
    values: Mapping[Labels, float]


Source = Callable[[], Iterable[Metric]]


class OverLimit:
    """Calls that were over a limit, by the limit that was told and by what became of them."""

    def __init__(self) -> None:
        self._counted: Counter[tuple[str, str]] = Counter()

    def note(self, limit: str, *, refused: bool) -> None:
        """Count a call; in shadow mode it was not refused."""
        self._counted[limit, "refused" if refused else "passed"] += 1

    def metrics(self) -> Iterable[Metric]:
        """As Prometheus reads it."""
        values: dict[Labels, float] = {
            (("limit", limit), ("outcome", outcome)): count for (limit, outcome), count in self._counted.items()
        }
        yield Metric("llmaas_gateway_over_limit_total", "counter", "Calls over a limit; passed in shadow mode.", values)


def page(sources: Sequence[Source]) -> bytes:
    """The answer to a scrape."""
    lines: list[str] = []
    for source in sources:
        for metric in source():
            lines += [f"# HELP {metric.name} {metric.meaning}", f"# TYPE {metric.name} {metric.kind}"]
            lines += [f"{metric.name}{_labels(labels)} {value:.17g}" for labels, value in metric.values.items()]
    return "".join(f"{line}\n" for line in lines).encode()


def _labels(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
