"""Exact euro amounts: integers of nano-euros, and decimal strings at the border.

0.9 euro per million tokens is 900 nano-euros a token: every price of the market is a whole number of nano-euros, so
sums and limits are integer arithmetic in Python, Redis (64-bit integers) and PostgreSQL (bigint) alike.
"""

import re
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction
from typing import Final

NANO_EUR_PER_EUR: Final = 1_000_000_000
# What a Lua number in Redis holds exactly (2**53): nine million euros, far above any single counter.
MAX_NANO_EUR: Final = 2**53

_DECIMAL = re.compile(r"[0-9]+(\.[0-9]+)?")
# Longer than any amount that a counter holds, shorter than what takes time to read.
_LONGEST: Final = 64


class MoneyError(ValueError):
    """An amount that cannot be taken exactly."""


def exact_decimal(text: str) -> Fraction:
    """A number from zero on from its decimal string; as a fraction, since arithmetic of decimals rounds to 28 digits.

    Raises:
        MoneyError: signs, exponents, separators or anything else but digits and one point.
    """
    if not isinstance(text, str):
        raise MoneyError(f'{text!r} is not a decimal string; quote the amount, e.g. "0.9" (a float is not exact)')
    if len(text) > _LONGEST:
        raise MoneyError(f"{text[:20]!r}... has {len(text)} characters; write an amount with at most {_LONGEST}")
    if text.startswith("-"):
        raise MoneyError(f"{text!r} is negative; an amount is zero or more")
    if not _DECIMAL.fullmatch(text):
        raise MoneyError(f'{text!r} is not a decimal amount like "0.9"')
    return Fraction(text)


def nano_eur(text: str) -> int:
    """Nano-euros of an amount in euros; more than nine decimals are refused, never rounded."""
    nanos = exact_decimal(text) * NANO_EUR_PER_EUR
    if nanos.denominator != 1:
        raise MoneyError(f"{text!r} has more digits than a nano-euro carries (nine decimals)")
    if nanos > MAX_NANO_EUR:
        raise MoneyError(f"{text!r} is above {MAX_NANO_EUR // NANO_EUR_PER_EUR} euros, the most one counter holds")
    return int(nanos)


def nano_eur_per_unit(amount: str, per: int) -> int:
    """Nano-euros of one unit when ``amount`` euros buy ``per`` units; refused where that is no whole number.

    So is what no counter holds.
    """
    exact = exact_decimal(amount) * NANO_EUR_PER_EUR / per
    if exact.denominator != 1:
        raise MoneyError(
            f"{amount!r} euros per {per:,} units is {float(exact)} nano-euros a unit: "
            "more digits than the unit carries; use fewer decimals"
        )
    if exact > MAX_NANO_EUR:
        raise MoneyError(
            f"{amount!r} euros per {per:,} units is above the most that one counter holds; use a lower price"
        )
    return int(exact)


def format_euros(nanos: int) -> str:
    """The exact decimal string of an amount, without trailing zeros beyond the cents."""
    sign = "-" if nanos < 0 else ""
    whole, rest = divmod(abs(nanos), NANO_EUR_PER_EUR)
    decimals = f"{rest:09d}".rstrip("0").ljust(2, "0")
    return f"{sign}{whole}.{decimals}"


def to_cents(nanos: int) -> int:
    """Whole cents for an invoice line, half to even."""
    return int((Decimal(nanos) / 10_000_000).quantize(Decimal(1), rounding=ROUND_HALF_EVEN))
