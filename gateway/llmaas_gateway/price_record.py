"""What the price book said when it was put in force: a price that holds is never edited, only followed by another."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from llmaas_gateway import chain
from llmaas_gateway.prices import Price, PriceBook, PriceError

# Factors are recorded beside prices, under names that no price can have: an entry's id is followed by a unit.
_FACTOR: Final = "factors/{name}/"
_DO: Final = "run `llmaas prices record`"
_PROMISED: Final = {"id", "model", "unit", "amount", "per", "valid_from", "nano_eur"}


def _body(price: Price) -> dict[str, Any]:
    # An end that a successor sets is no part of what was promised, one that the entry names is.
    named = price.ends and price.ends.isoformat()
    return {**price.model_dump(mode="json", include=_PROMISED), "valid_until": named}


def _factors(book: PriceBook) -> dict[str, dict[str, Any]]:
    bodies = ({"id": _FACTOR.format(name=name), "factor": factor} for name, factor in book.factors.items())
    return {body["id"]: body for body in bodies}


def _bodies(book: PriceBook) -> dict[str, dict[str, Any]]:
    return {price.id: _body(price) for price in book.prices} | _factors(book)


def _known(records: Sequence[chain.Record]) -> set[str]:
    return {record.body["id"] for record in records}


def unrecorded(book: PriceBook, records: Sequence[chain.Record]) -> list[Price]:
    """Prices of the book that no record has yet."""
    known = _known(records)
    return [price for price in book.prices if price.id not in known]


def record_prices(book: PriceBook, path: Path, now: datetime) -> list[str]:
    """Record what is not recorded yet, prices and factors; returns a line for each.

    Raises:
        PriceError: a price is to hold from a moment that is past: what was charged since was charged by another one.
            A first record takes such prices.
    """
    records = chain.read(path)
    known, new = _known(records), unrecorded(book, records)
    late = [_late(price) for price in new if records and price.valid_from <= now]
    if late:
        raise PriceError(late)
    factors = [body for name, body in _factors(book).items() if name not in known]
    chain.append(path, [*(_body(price) for price in new), *factors], now)
    lines = [f"{p.id}: {p.amount} EUR per {p.per} from {_since(p)}" for p in new]
    return [*lines, *(f"{body['id']}: {body['factor']}" for body in factors)]


def differences(book: PriceBook, records: Sequence[chain.Record], now: datetime) -> list[str]:
    """Where the book contradicts what was recorded, a line each; an empty list is the good case.

    A price that is not in force yet may be edited or withdrawn; one that was in force for a moment may not, nor may a
    factor, which holds from its record on.
    """
    bodies = _bodies(book)
    problems = []
    for record in records:
        if _begins(record.body, now) > now:
            continue
        name = record.body["id"]
        if name not in bodies:
            problems.append(f"{name}: it was in force and is gone; put it back")
            continue
        for field, now_says in bodies[name].items():
            # the first records do not tell an end; no entry named one
            recorded = record.body.get(field)
            if now_says != recorded:
                problems.append(f"{name}.{field}: recorded as {recorded!r}, now {now_says!r}; add a new entry instead")
    known = _known(records)
    problems += [
        _late(price)
        if records
        else f"{price.id}: in force since {price.valid_from.isoformat()} but not recorded; {_DO}"
        for price in unrecorded(book, records)
        if price.valid_from <= now
    ]
    problems += [f"{name}: not recorded; {_DO}" for name in _factors(book) if name not in known]
    return problems


def _begins(body: Mapping[str, Any], now: datetime) -> datetime:
    return datetime.fromisoformat(body["valid_from"]) if "valid_from" in body else now


def _late(price: Price) -> str:
    return f"{price.id}: it was not recorded before it was to hold, {_since(price)}; let it hold from a moment to come"


def _since(price: Price) -> str:
    return price.valid_from.isoformat()
