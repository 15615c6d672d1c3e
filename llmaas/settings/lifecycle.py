"""Dates of a model's life that contradict each other, whatever day it is; what was promised is judged by planning."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Final

from llmaas.settings.catalogue import Model
from llmaas.settings.draft import Draft
from llmaas.settings.errors import Problem

# in the order in which they come
_DATES: Final = ("production_date", "announced", "end_of_support")


def dates_in_order(draft: Draft) -> Iterator[Problem]:
    """A model becomes stable, then its end is announced, then it ends."""
    for item in draft.entries("models", Model):
        given = [(name, getattr(item.value, name)) for name in _DATES if item.sure(name)]
        stated = [(name, day) for name, day in given if day is not None]
        for (earlier, first), (later, second) in pairwise(stated):
            if second < first:
                yield Problem(f"{item.path}.{later}", f"{second} is before its {earlier} ({first}); put them in order")
