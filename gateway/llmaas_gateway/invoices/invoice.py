"""An invoice from sums of records: exact nano-euros line by line, cents once at the foot."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction
from typing import Any

from llmaas_gateway.accounts.account import AccountError
from llmaas_gateway.invoices.months import Month
from llmaas_gateway.money import to_cents
from llmaas_gateway.prices import Price, PriceBook


@dataclass(frozen=True, slots=True)
class Group:
    """Units of one kind, of one model, at one price and factor.

    Attributes:
        unit: of the price book.
        price_id: entry of the price book.
        factor: as a fraction, such as ``1`` or ``1/2``.
        count: how many units.
    """

    model: str
    unit: str
    price_id: str
    factor: str
    count: int


@dataclass(frozen=True, slots=True)
class Totals:
    """What was charged for the calls of a month, call by call.

    Attributes:
        calls: how many.
        nano_eur: charged in all.
        credit_nano_eur: of that, taken from credit paid before.
        unbilled_nano_eur: what the calls cost by the book beyond what was charged.
    """

    calls: int
    nano_eur: int
    credit_nano_eur: int
    unbilled_nano_eur: int


@dataclass(frozen=True, slots=True)
class Line:
    """One line, with the entry of the price book that it goes by.

    Attributes:
        amount_eur: price of ``per`` units as the entry has it.
        nano_eur: count times price times factor, half to even where that is no whole number.
    """

    model: str
    unit: str
    price_id: str
    amount_eur: str
    per: str
    valid_from: str
    factor: str
    count: int
    nano_eur: int


@dataclass(frozen=True, slots=True)
class Invoice:
    """What a tenant used in a month and what it has to pay.

    The lines plus ``rounding_nano_eur`` less ``not_charged_nano_eur`` are ``total_nano_eur``, exactly: the sum of what
    every single call was charged. Only the cents are rounded, half to even, once.

    Attributes:
        tenant: its identifier; the name stands nowhere, so that it can be erased.
        month: such as ``2026-11``, in ``time_zone``.
        rounding_nano_eur: of single calls to whole nano-euros, where a factor leaves a fraction.
        not_charged_nano_eur: what calls cost beyond what was reserved for them; never charged.
        paid_from_credit_nano_eur: part of the total that was paid before.
        total_cents: of the total.
        due_cents: of what is not paid yet, without VAT.
        vat_percent: None where VAT is not the invoice's matter.
        vat_cents: on what is due.
    """

    tenant: str
    month: str
    time_zone: str
    calls: int
    lines: tuple[Line, ...]
    rounding_nano_eur: int
    not_charged_nano_eur: int
    total_nano_eur: int
    paid_from_credit_nano_eur: int
    total_cents: int
    due_cents: int
    vat_percent: str | None
    vat_cents: int | None

    def document(self) -> dict[str, Any]:
        """As plain data."""
        return {**asdict(self), "lines": [asdict(line) for line in self.lines]}


def prices_by_id(book: PriceBook) -> dict[str, Price]:
    """The entries of the price book by the identity that records carry."""
    return {price.id: price for price in book.prices}


def price_of(prices: dict[str, Price], price_id: str) -> Price:
    """The entry of that identity.

    Raises:
        AccountError: the book has lost it.
    """
    if price_id not in prices:
        raise AccountError(f"price entry {price_id!r} was charged by but is not in the price book; put it back")
    return prices[price_id]


def _exact(group: Group, price: Price) -> Fraction:
    return group.count * price.nano_eur * Fraction(group.factor)


def _line(group: Group, price: Price) -> Line:
    return Line(
        model=group.model,
        unit=group.unit,
        price_id=group.price_id,
        amount_eur=price.amount,
        per=price.per.value,
        valid_from=price.valid_from.isoformat(),
        factor=group.factor,
        count=group.count,
        nano_eur=round(_exact(group, price)),
    )


def vat_cents(net_cents: int, percent: str) -> int:
    """VAT on an amount in cents, half to even."""
    return int((Decimal(net_cents) * Decimal(percent) / 100).quantize(Decimal(1), rounding=ROUND_HALF_EVEN))


def invoice_of(  # noqa: PLR0913, PLR0917 - each is a part of the invoice
    tenant: str, month: Month, groups: Iterable[Group], totals: Totals, book: PriceBook, vat_percent: str | None = None
) -> Invoice:
    """The invoice of a tenant's month.

    Args:
        tenant: its identifier.
        month: in the time zone of the book.
        groups: sums of the units of all calls; every unit in one of them.
        totals: sums of what the same calls were charged.
        book: whose entries the groups name.
        vat_percent: a declared rate, as a decimal string.

    Raises:
        AccountError: a group names an entry that the book does not have.
    """
    prices = prices_by_id(book)
    ordered: Sequence[Group] = sorted(groups, key=lambda g: (g.model, g.price_id, Fraction(g.factor), g.unit))
    lines = tuple(_line(group, price_of(prices, group.price_id)) for group in ordered)
    due_cents = to_cents(totals.nano_eur - totals.credit_nano_eur)
    return Invoice(
        tenant=tenant,
        month=str(month),
        time_zone=book.time_zone,
        calls=totals.calls,
        lines=lines,
        rounding_nano_eur=totals.nano_eur + totals.unbilled_nano_eur - sum(line.nano_eur for line in lines),
        not_charged_nano_eur=totals.unbilled_nano_eur,
        total_nano_eur=totals.nano_eur,
        paid_from_credit_nano_eur=totals.credit_nano_eur,
        total_cents=to_cents(totals.nano_eur),
        due_cents=due_cents,
        vat_percent=vat_percent,
        vat_cents=None if vat_percent is None else vat_cents(due_cents, vat_percent),
    )
