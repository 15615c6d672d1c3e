"""The replay of a month: every record charged anew by the price book, one by one, whatever the invoice says."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from llmaas_gateway.invoices.invoice import Invoice, price_of, prices_by_id
from llmaas_gateway.money import format_euros, to_cents
from llmaas_gateway.prices import PriceBook

# What an invoice goes by; a record in which any of it changed has another fingerprint.
FIELDS = (
    "request_id",
    "began_at",
    "billing",
    "model",
    "counts",
    "price_ids",
    "factor",
    "nano_eur",
    "unbilled_nano_eur",
)


@dataclass(frozen=True, slots=True)
class Replayed:
    """What the records of a month come to.

    Attributes:
        calls: how many records there are.
        nano_eur: the sum of what each costs by the book, less what was not charged.
        cents: of that sum.
        sha256: of the records in their order.
        wrong: records whose charge is not what the book says, a line each, the first hundred.
    """

    calls: int
    nano_eur: int
    cents: int
    sha256: str
    wrong: tuple[str, ...]

    def differences(self, invoice: Invoice, sha256: str | None) -> list[str]:
        """Where an invoice says otherwise, a line each; an empty list is the good case.

        Args:
            invoice: as it was issued, or is now.
            sha256: of the records when it was issued; None for one that is not.
        """
        found = list(self.wrong)
        if self.calls != invoice.calls:
            found.append(f"the records have {self.calls} calls, the invoice {invoice.calls}")
        if self.nano_eur != invoice.total_nano_eur:
            amounts = f"{format_euros(self.nano_eur)} EUR, the invoice says {format_euros(invoice.total_nano_eur)}"
            found.append(f"the records come to {amounts}")
        if self.cents != invoice.total_cents:
            found.append(f"the records come to {self.cents} cents, the invoice says {invoice.total_cents}")
        if sha256 is not None and sha256 != self.sha256:
            found.append("the records are not those that the invoice was made of: their SHA-256 differs")
        return found


class Replay:
    """Takes one record after the other, in the order of their beginning and request id."""

    def __init__(self, book: PriceBook) -> None:
        """Takes the price book as it is now."""
        self._prices = prices_by_id(book)
        self._factors: dict[str, Fraction | int] = {}
        self._digest = hashlib.sha256()
        self._calls = 0
        self._nano_eur = 0
        self._wrong: list[str] = []

    def add(self, record: Mapping[str, Any]) -> None:
        """Charge a record anew.

        Raises:
            AccountError: it names an entry that the book does not have.
        """
        exact = sum(
            count * price_of(self._prices, record["price_ids"][unit]).nano_eur
            for unit, count in record["counts"].items()
        )
        charged = round(exact * self._factor(record["factor"])) - record["unbilled_nano_eur"]
        if charged != record["nano_eur"] and len(self._wrong) < 100:
            said, now = format_euros(record["nano_eur"]), format_euros(charged)
            self._wrong.append(f"call {record['request_id']} was charged {said} EUR; by the book it is {now}")
        self._calls += 1
        self._nano_eur += charged
        text = json.dumps({name: _plain(record[name]) for name in FIELDS}, sort_keys=True, separators=(",", ":"))
        self._digest.update(text.encode() + b"\n")

    def _factor(self, text: str) -> Fraction | int:
        """Millions of records have a handful of factors, and most have 1, which is quickest as a whole number."""
        factor = self._factors.get(text)
        if factor is None:
            exact = Fraction(text)
            factor = self._factors[text] = 1 if exact == 1 else exact
        return factor

    def result(self) -> Replayed:
        """What the records so far come to."""
        return Replayed(
            calls=self._calls,
            nano_eur=self._nano_eur,
            cents=to_cents(self._nano_eur),
            sha256=self._digest.hexdigest(),
            wrong=tuple(self._wrong),
        )


def _plain(value: Any) -> Any:
    return value.isoformat() if hasattr(value, "isoformat") else value
