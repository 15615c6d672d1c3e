"""What a call costs: units counted once each, prices of the moment it began, exact nano-euros."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction
from math import prod
from typing import Any

from llmaas_gateway.prices import PriceBook, Unit


class UsageError(ValueError):
    """A usage that contradicts itself."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Units of one call; every token is in exactly one of them."""

    counts: Mapping[Unit, int] = field(default_factory=dict)

    @property
    def output_tokens(self) -> int:
        """Tokens that were generated, reasoning included: what the tiers' windows count."""
        return self.counts.get(Unit.OUTPUT, 0) + self.counts.get(Unit.REASONING, 0)


def usage_of(answer: Mapping[str, Any], *, system_tokens: int = 0) -> Usage:
    """The usage of OpenAI's answer, taken apart.

    In OpenAI's shape ``prompt_tokens`` includes the cached ones and ``completion_tokens`` the reasoning ones; counting
    those a second time is the bug that double-bills.

    Args:
        answer: the ``usage`` object.
        system_tokens: of the prompt, those of system messages, where the gateway counted them.

    Raises:
        UsageError: negative counts, or a part that is larger than its whole.
    """
    prompt, completion = (int(answer.get(name) or 0) for name in ("prompt_tokens", "completion_tokens"))
    cached = int((answer.get("prompt_tokens_details") or {}).get("cached_tokens") or 0)
    reasoning = int((answer.get("completion_tokens_details") or {}).get("reasoning_tokens") or 0)
    if min(prompt, completion, cached, reasoning, system_tokens) < 0:
        raise UsageError("a count of tokens is negative")
    if cached > prompt:
        raise UsageError(f"{cached} cached tokens of a prompt of {prompt}")
    if reasoning > completion:
        raise UsageError(f"{reasoning} reasoning tokens of a completion of {completion}")
    # The cache holds the beginning of a prompt, which is where system messages are: cached comes first.
    system = min(system_tokens, prompt - cached)
    counts = {
        Unit.INPUT: prompt - cached - system,
        Unit.CACHED_INPUT: cached,
        Unit.SYSTEM: system,
        Unit.OUTPUT: completion - reasoning,
        Unit.REASONING: reasoning,
    }
    return Usage({unit: count for unit, count in counts.items() if count})


@dataclass(frozen=True, slots=True)
class Line:
    """One unit's part of a charge.

    Attributes:
        unit: what was counted.
        count: how many.
        nano_eur_per_unit: the price before factors.
        price_id: the entry of the price book.
    """

    unit: Unit
    count: int
    nano_eur_per_unit: int
    price_id: str


@dataclass(frozen=True, slots=True)
class Charge:
    """What a call costs.

    Attributes:
        lines: one a unit.
        factor: product of the tier's and the batch lane's factors.
        nano_eur: the sum of the lines times the factor, half to even where that is no whole number.
    """

    lines: tuple[Line, ...]
    factor: Fraction
    nano_eur: int


def _product(book: PriceBook, factors: Sequence[str | None]) -> Fraction:
    return prod((book.factor(name) for name in factors), start=Fraction(1))


def charge(book: PriceBook, model: str, usage: Usage, at: datetime, *factors: str | None) -> Charge:
    """The charge for a usage at the prices in force at a moment.

    Raises:
        PriceError: a unit without a price, or an unknown factor.
    """
    lines = []
    for unit, count in sorted(usage.counts.items()):
        quote = book.quote(model, unit, at)
        lines.append(Line(unit, count, quote.nano_eur, quote.price_id))
    factor = _product(book, factors)
    total = sum(line.count * line.nano_eur_per_unit for line in lines)
    return Charge(tuple(lines), factor, round(total * factor))


def most(book: PriceBook, model: str, at: datetime, input_tokens: int, output_tokens: int, *factors: str | None) -> int:
    """The most that a call can cost, whichever way its tokens turn out to be counted, in nano-euros."""

    def dearest(*units: Unit) -> int:
        return max(book.quote(model, unit, at).nano_eur for unit in units)

    total = input_tokens * dearest(Unit.INPUT, Unit.CACHED_INPUT, Unit.SYSTEM)
    total += output_tokens * dearest(Unit.OUTPUT, Unit.REASONING)
    exact = total * _product(book, factors)
    return -(-exact.numerator // exact.denominator)


def estimate_tokens(text: str) -> int:
    """Tokens of a text before the tokenizer is at hand: a quarter of its characters."""
    return len(text) // 4
