"""Mitogen's linear strategy, found by its name: connections keep one Python running on each host."""

import gc
from typing import Any

from ansible.plugins.loader import filter_loader, test_loader
from ansible_mitogen.plugins.strategy.mitogen_linear import StrategyModule as MitogenLinear

__all__ = ["StrategyModule"]


class StrategyModule(MitogenLinear):
    """Mitogen's, with cheaper workers: there is one for each task of each host, forked from this process."""

    def run(self, *arguments: Any, **named: Any) -> Any:
        """Find Jinja's filters and tests here and once; a worker that found none would look for them anew."""
        for loader in (filter_loader, test_loader):
            for _ in loader.all():
                pass
        return super().run(*arguments, **named)

    def _queue_task(self, *arguments: Any, **named: Any) -> Any:
        # a worker's garbage collector would touch, and so copy, all memory that it shares with this process
        gc.freeze()
        return super()._queue_task(*arguments, **named)
