"""What the price book said when it was put in force: a price that holds is never edited, only followed by another."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from llmaas_gateway import chain
from llmaas_gateway.prices import Price, PriceBook, PriceError

# Factors are recorded beside prices, under names that no price can have: an entry's id is followed by a unit.
_FACTOR: Final = "factors/{name}/"
_DO: Final = "run `llmaas prices record`"
_NEVER: Final = datetime.max.replace(tzinfo=UTC)
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


def _standing(records: Sequence[chain.Record]) -> dict[str, chain.Record]:
    """By identity what counts: the last record made before the price that was recorded until then was to hold."""
    standing: dict[str, chain.Record] = {}
    for record in records:
        name = record.body["id"]
        before = standing.get(name)
        if before is None or record.at < _begins(before):
            standing[name] = record
    return standing


def _begins(record: chain.Record) -> datetime:
    """When what is recorded begins to hold: a factor with its record, what is withdrawn never."""
    if "withdrawn" in record.body:
        return _NEVER
    return datetime.fromisoformat(record.body["valid_from"]) if "valid_from" in record.body else record.at


def _differing(recorded: Mapping[str, Any], body: Mapping[str, Any]) -> list[str]:
    # the first records do not tell an end; no entry named one
    return [field for field, now_says in body.items() if recorded.get(field) != now_says]


def record_prices(book: PriceBook, path: Path, now: datetime) -> list[str]:
    """Record what is not recorded yet, prices and factors; returns a line for each.

    A recorded price that is still to come is recorded anew where the book has edited it, and as withdrawn where it is
    gone. What is recorded of a price that holds stays; ``differences`` names what the book says otherwise.

    Raises:
        PriceError: a price is to hold from a moment that is past: what was charged since was charged by another one.
            A first record takes such prices.
    """
    records = chain.read(path)
    standing = _standing(records)
    to_come = {name: record for name, record in standing.items() if _begins(record) > now}
    bodies = _bodies(book)
    new = [price for price in book.prices if price.id not in standing]
    edited = [p for p in book.prices if p.id in to_come and _differing(to_come[p.id].body, bodies[p.id])]
    late = [_late(price) for price in [*new, *edited] if records and price.valid_from <= now]
    if late:
        raise PriceError(late)
    gone = [name for name, record in to_come.items() if name not in bodies and "withdrawn" not in record.body]
    factors = [body for name, body in _factors(book).items() if name not in standing]
    withdrawn = [{"id": name, "withdrawn": True} for name in gone]
    chain.append(path, [*(bodies[price.id] for price in [*new, *edited]), *withdrawn, *factors], now)
    lines = [f"{p.id}: {p.amount} EUR per {p.per} from {_since(p)}" for p in [*new, *edited]]
    return [*lines, *(f"{n}: withdrawn" for n in gone), *(f"{body['id']}: {body['factor']}" for body in factors)]


def differences(book: PriceBook, records: Sequence[chain.Record], now: datetime) -> list[str]:
    """Where the book contradicts what was recorded, a line each; an empty list is the good case.

    A price that is not in force yet may be edited or withdrawn, as long as that is recorded before it is to hold; one
    that was in force for a moment may not, nor may a factor, which holds from its record on.
    """
    bodies, standing = _bodies(book), _standing(records)
    problems = []
    for name, record in standing.items():
        if "withdrawn" not in record.body:
            problems += _contradictions(name, record, bodies.get(name), now)
    for price in book.prices:
        if price.id not in standing or "withdrawn" in standing[price.id].body:
            problems += _missing(price, standing.get(price.id), now, first=not records)
    problems += [f"{name}: not recorded; {_DO}" for name in _factors(book) if name not in standing]
    return problems


def _contradictions(name: str, record: chain.Record, body: Mapping[str, Any] | None, now: datetime) -> list[str]:
    """Where the book, which says this of a price or factor or has it no more, contradicts its record."""
    begins = _begins(record)
    if begins > now:
        remedy = f"{_DO} before {begins.isoformat()}, from when it holds as recorded"
        gone = f"it is recorded and is gone; {remedy}"
    else:
        remedy, gone = "add a new entry instead", "it was in force and is gone; put it back"
    if body is None:
        return [f"{name}: {gone}"]
    return [
        f"{name}.{field}: recorded as {record.body.get(field)!r}, now {body[field]!r}; {remedy}"
        for field in _differing(record.body, body)
    ]


def _missing(price: Price, withdrawn: chain.Record | None, now: datetime, *, first: bool) -> list[str]:
    """What is wrong with a price of the book that no record has, or one that withdraws it."""
    if price.valid_from > now:
        again = f"{price.id}: recorded as withdrawn and there again; {_DO} before it is to hold, {_since(price)}"
        return [again] if withdrawn else []
    return [f"{price.id}: in force since {_since(price)} but not recorded; {_DO}" if first else _late(price)]


def _late(price: Price) -> str:
    return f"{price.id}: it was not recorded before it was to hold, {_since(price)}; let it hold from a moment to come"


def _since(price: Price) -> str:
    return price.valid_from.isoformat()
