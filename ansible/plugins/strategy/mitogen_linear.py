"""Mitogen's linear strategy, found by its name: connections keep one Python running on each host."""

from ansible_mitogen.plugins.strategy.mitogen_linear import StrategyModule

__all__ = ["StrategyModule"]
