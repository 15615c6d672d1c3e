"""Reads the price book's file, ``prices.yaml``; every mistake is told with its place."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import yaml
from pydantic import Field, ValidationError

from llmaas_gateway.money import MoneyError, exact_decimal, nano_eur_per_unit
from llmaas_gateway.prices import Per, Price, PriceBook, PriceError, Strict, Unit, by_place
from llmaas_gateway.unique_keys import UniqueKeyLoader


class _Document(Strict):
    """The shape of the file; moments and amounts are still text."""

    currency: str
    time_zone: str
    factors: dict[str, str] = Field(default_factory=dict)
    entries: list[dict[str, Any]]


class _Entry(Strict):
    id: str = Field(min_length=1)
    model: str = Field(min_length=1)
    per: str
    valid_from: str
    valid_until: str | None = None
    prices: dict[str, str] = Field(min_length=1)


def _problems_of(error: ValidationError, where: str) -> list[str]:
    return [f"{where}{'.' if e['loc'] else ''}{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]


def _moment(text: str, zone: ZoneInfo, where: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise PriceError([f"{where}: {text!r} is not a date and time like 2026-08-01T00:00:00"]) from None
    if moment.tzinfo is not None:
        raise PriceError([f"{where}: {text!r} has an offset; write local time of the book's time zone"])
    local = moment.replace(tzinfo=zone)
    # A moment that is there once: so two prices of the book follow each other as they do by the clock on the wall.
    try:
        exists = local.astimezone(UTC).astimezone(zone).replace(tzinfo=None) == moment
    except OverflowError:
        raise PriceError(
            [f"{where}: {text!r} is out of all time; write a date and time like 2026-08-01T00:00:00"]
        ) from None
    if not exists:
        raise PriceError([f"{where}: {text!r} does not exist, clocks go forward over it; take a time after that"])
    if local.utcoffset() != local.replace(fold=1).utcoffset():
        raise PriceError(
            [f"{where}: {text!r} is there twice, clocks go back over it; take a time before or after that"]
        )
    return local


def _prices_of(index: int, raw: Mapping[str, Any], zone: ZoneInfo) -> tuple[list[Price], list[str]]:
    """The prices of one entry of the file, and what is wrong with it."""
    where = f"entries[{index}]"
    try:
        entry = _Entry.model_validate(dict(raw))
        per = Per(entry.per)
        valid_from = _moment(entry.valid_from, zone, f"{where}.valid_from")
        valid_until = entry.valid_until and _moment(entry.valid_until, zone, f"{where}.valid_until")
    except ValidationError as error:
        return [], _problems_of(error, where)
    except PriceError as error:
        return [], error.problems
    except ValueError:
        return [], [f"{where}.per: {raw.get('per')!r} is none of {', '.join(Per)}"]
    if valid_until and valid_until <= valid_from:
        return [], [f"{where}.valid_until: it is not after valid_from"]
    prices, problems = [], []
    for unit_name, amount in entry.prices.items():
        try:
            unit = Unit(unit_name)
            nanos = nano_eur_per_unit(amount, per.units)
        except MoneyError as error:
            problems.append(f"{where}.prices.{unit_name}: {error}")
        except ValueError:
            problems.append(f"{where}.prices: {unit_name!r} is no unit; the units are {', '.join(Unit)}")
        else:
            prices.append(
                Price(
                    id=f"{entry.id}/{unit}", model=entry.model, unit=unit, amount=amount, per=per,
                    valid_from=valid_from, valid_until=valid_until or None, ends=valid_until or None,
                    nano_eur=nanos,
                )
            )  # fmt: skip
    return prices, problems


def _closed(prices: list[Price]) -> tuple[list[Price], list[str]]:
    """Ends each open price where its successor begins; two that hold at once are a problem."""
    result, problems = [], []
    for group in by_place(prices).values():
        group.sort(key=lambda p: p.valid_from)
        for price, successor in zip(group, [*group[1:], None], strict=True):
            if successor is None:
                result.append(price)
            elif price.valid_from == successor.valid_from or (
                price.valid_until is not None and price.valid_until > successor.valid_from
            ):
                problems.append(f"{price.id} and {successor.id}: both hold at {successor.valid_from.isoformat()}")
            else:
                end = price.valid_until or successor.valid_from
                result.append(price.model_copy(update={"valid_until": end}))
    return result, problems


def _factor_problems(factors: Mapping[str, str]) -> list[str]:
    problems = []
    for name, text in factors.items():
        try:
            value = exact_decimal(text)
        except MoneyError as error:
            problems.append(f"factors.{name}: {error}")
            continue
        if value > 100:
            problems.append(f"factors.{name}: {text!r} is not between 0 and 100")
    return problems


def parse_price_book(text: str) -> PriceBook:
    """The price book from its YAML text.

    Raises:
        PriceError: every mistake there is, each with its place.
    """
    try:
        document = _Document.model_validate(yaml.load(text, Loader=UniqueKeyLoader))  # noqa: S506  (a SafeLoader)
        zone = ZoneInfo(document.time_zone)
    except yaml.YAMLError as error:
        raise PriceError([f"not YAML: {error}"]) from None
    except ValidationError as error:
        raise PriceError(_problems_of(error, "")) from None
    except (ZoneInfoNotFoundError, ValueError, OSError):  # a name such as Europe is a folder of the database
        raise PriceError([f"time_zone: {document.time_zone!r} is not a zone of the IANA database"]) from None
    problems = _factor_problems(document.factors)
    if document.currency != "EUR":
        problems.append(f"currency: {document.currency!r}; amounts are in EUR")
    prices: list[Price] = []
    seen: set[str] = set()
    for index, raw in enumerate(document.entries):
        some, wrong = _prices_of(index, raw, zone)
        problems += wrong
        for price in some:
            if price.id in seen:
                problems.append(f"entries[{index}].id: {price.id} is there twice; an id names one price for ever")
            seen.add(price.id)
        prices += some
    closed, overlaps = _closed(prices)
    if problems or overlaps:
        raise PriceError(problems + overlaps)
    return PriceBook(time_zone=document.time_zone, prices=tuple(closed), factors=document.factors)


def load_price_book(path: Path) -> PriceBook:
    """The price book from its file; errors begin with the file's name."""
    try:
        return parse_price_book(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise PriceError([f"{path}: {error.strerror}"]) from None
    except UnicodeDecodeError as error:
        raise PriceError([f"{path}: not UTF-8 at byte {error.start}; save it as UTF-8"]) from None
    except PriceError as error:
        raise PriceError([f"{path.name}: {problem}" for problem in error.problems]) from None
