"""What the price book said when it was put in force: a price that holds is never edited, only followed by another."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from llmaas_gateway import chain
from llmaas_gateway.prices import Price, PriceBook


def _body(price: Price) -> dict[str, Any]:
    # The end of a price is set by its successor, so it is not part of what was promised.
    return price.model_dump(mode="json", include={"id", "model", "unit", "amount", "per", "valid_from", "nano_eur"})


def unrecorded(book: PriceBook, records: Sequence[chain.Record]) -> list[Price]:
    """Prices of the book that no record has yet."""
    known = {record.body["id"] for record in records}
    return [price for price in book.prices if price.id not in known]


def record_prices(book: PriceBook, path: Path, now: datetime) -> list[Price]:
    """Record what is not recorded yet; returns those prices."""
    new = unrecorded(book, chain.read(path))
    chain.append(path, [_body(price) for price in new], now)
    return new


def differences(book: PriceBook, records: Sequence[chain.Record], now: datetime) -> list[str]:
    """Where the book contradicts what was recorded, a line each; an empty list is the good case.

    A price that is not in force yet may be edited or withdrawn; one that was in force for a moment may not.
    """
    prices = {price.id: price for price in book.prices}
    problems = []
    for record in records:
        if datetime.fromisoformat(record.body["valid_from"]) > now:
            continue
        name = record.body["id"]
        if name not in prices:
            problems.append(f"{name}: it was in force and is gone; put it back")
            continue
        for field, recorded in record.body.items():
            now_says = _body(prices[name])[field]
            if now_says != recorded:
                problems.append(f"{name}.{field}: recorded as {recorded!r}, now {now_says!r}; add a new entry instead")
    problems += [
        f"{price.id}: in force since {price.valid_from.isoformat()} but not recorded; run `llmaas prices record`"
        for price in unrecorded(book, records)
        if price.valid_from <= now
    ]
    return problems
