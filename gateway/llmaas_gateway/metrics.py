"""What Prometheus reads of this process.

Numbers only, no tenant's name: who may read metrics need not know who the tenants are.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, CollectorRegistry, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

CONTENT_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4


class OverLimit(Collector):
    """Calls that were over a limit, by the limit that was told and by what became of them."""

    def __init__(self) -> None:
        self._counted: Counter[tuple[str, str]] = Counter()

    def note(self, limit: str, *, refused: bool) -> None:
        """Count a call; in shadow mode it was not refused."""
        self._counted[limit, "refused" if refused else "passed"] += 1

    def collect(self) -> Iterable[Metric]:
        """As Prometheus reads it."""
        meaning = "Calls over a limit; passed in shadow mode."
        family = CounterMetricFamily("llmaas_gateway_over_limit", meaning, labels=("limit", "outcome"))
        for labels, count in self._counted.items():
            family.add_metric(labels, count)
        yield family


class Unsettled(Collector):
    """Calls that were answered and wait for Redis to be charged; a replica that is killed takes them along."""

    def __init__(self, waiting: Callable[[], int]) -> None:
        """Takes what tells how many there are now."""
        self._waiting = waiting

    def collect(self) -> Iterable[Metric]:
        """As Prometheus reads it."""
        meaning = "Calls that wait for Redis to be charged."
        yield GaugeMetricFamily("llmaas_gateway_unsettled_calls", meaning, value=self._waiting())


class Metrics:
    """The numbers of some collectors, and of nothing else in this process: LiteLLM keeps its own apart."""

    def __init__(self, *collectors: Collector) -> None:
        """Takes what is asked at every scrape."""
        self._registry = CollectorRegistry()
        for collector in collectors:
            self._registry.register(collector)

    def page(self) -> bytes:
        """The answer to a scrape, of type `CONTENT_TYPE`."""
        return generate_latest(self._registry)
