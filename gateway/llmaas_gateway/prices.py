"""The price book: dated prices per model and unit.

An entry says what a unit of a model costs from one moment to another. The moment is local time in the book's time zone,
since contracts speak of midnight where the seller is. Models without an entry of their own take those of ``*``.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from fractions import Fraction
from functools import cached_property
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

ANY_MODEL: Final = "*"


class PriceError(ValueError):
    """What is wrong with a price book, every mistake with its place."""

    def __init__(self, problems: list[str]) -> None:
        """Takes one line a problem."""
        super().__init__("\n".join(problems))
        self.problems = problems


class Unit(StrEnum):
    """What is counted. Cached, system and reasoning tokens are never counted a second time as input or output."""

    INPUT = "input"
    CACHED_INPUT = "cached_input"
    SYSTEM = "system"
    OUTPUT = "output"
    REASONING = "reasoning"
    EMBEDDING = "embedding"
    RERANKED = "reranked"
    AUDIO_MINUTE = "audio_minute"


# A unit without a price of its own is charged as another one; the rest are refused when they are used.
FALLBACK: Final[dict[Unit, Unit]] = {
    Unit.CACHED_INPUT: Unit.INPUT,
    Unit.SYSTEM: Unit.INPUT,
    Unit.EMBEDDING: Unit.INPUT,
    Unit.REASONING: Unit.OUTPUT,
}


class Per(StrEnum):
    """How many units an amount buys."""

    UNIT = "unit"
    THOUSAND = "thousand"
    MILLION = "million"

    @property
    def units(self) -> int:
        """The number of units."""
        return {Per.UNIT: 1, Per.THOUSAND: 1_000, Per.MILLION: 1_000_000}[self]


class Strict(BaseModel):
    """Unknown fields and other types are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Price(Strict):
    """One dated price.

    Attributes:
        amount: euros as a decimal string.
        nano_eur: nano-euros of a single unit, derived.
        valid_from: aware moment from which it holds.
        valid_until: aware moment from which it no longer holds; None for open.
        ends: the same where the entry itself names it, not its successor.
    """

    id: str
    model: str
    unit: Unit
    amount: str
    per: Per
    valid_from: datetime
    valid_until: datetime | None
    ends: datetime | None
    nano_eur: int = Field(ge=0)

    def holds(self, at: datetime) -> bool:
        """Whether the price is in force at a moment."""
        return self.valid_from <= at and (self.valid_until is None or at < self.valid_until)


def by_place(prices: Iterable[Price]) -> dict[tuple[str, Unit], list[Price]]:
    """Each model's prices of a unit, in their order."""
    places: dict[tuple[str, Unit], list[Price]] = {}
    for price in prices:
        places.setdefault((price.model, price.unit), []).append(price)
    return places


@dataclass(frozen=True, slots=True)
class Quote:
    """What one unit of a model costs at a moment, and by which entry."""

    unit: Unit
    nano_eur: int
    price_id: str


class PriceBook(Strict):
    """All prices, checked: no overlap, exact nano-euros, factors between zero and a hundred."""

    time_zone: str
    prices: tuple[Price, ...]
    factors: Mapping[str, str]

    @cached_property
    def _by_place(self) -> Mapping[tuple[str, Unit], Sequence[Price]]:
        """Every call asks for several."""
        return by_place(self.prices)

    def quote(self, model: str, unit: Unit, at: datetime) -> Quote:
        """The price in force; the model's own before the general one, then the unit it is charged as.

        Raises:
            PriceError: nothing is declared; an undeclared price is an error, never zero.
        """
        wanted: Unit | None = unit
        while wanted is not None:
            for name in (model, ANY_MODEL):
                for price in self._by_place.get((name, wanted), ()):
                    if price.holds(at):
                        return Quote(unit=unit, nano_eur=price.nano_eur, price_id=price.id)
            wanted = FALLBACK.get(wanted)
        raise PriceError([f"no price for {unit} of {model} at {at.isoformat()}; add an entry to the price book"])

    def factor(self, name: str | None) -> Fraction:
        """The factor of a tier or of the batch lane; 1 where none is asked for.

        Raises:
            PriceError: a factor that the book does not have.
        """
        if name is None:
            return Fraction(1)
        if name not in self.factors:
            raise PriceError([f"no factor {name!r} in the price book; it has: {', '.join(sorted(self.factors))}"])
        return Fraction(self.factors[name])
