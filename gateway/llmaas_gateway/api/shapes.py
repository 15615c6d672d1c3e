"""What the routes take and give, as JSON: amounts are decimal strings in euros beside whole nano-euros."""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any, Final
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from llmaas_gateway.accounts.account import AccountError, Budget
from llmaas_gateway.accounts.database import Row
from llmaas_gateway.invoices.months import Month
from llmaas_gateway.invoices.usage import Period
from llmaas_gateway.ledger.limits import Window
from llmaas_gateway.money import format_euros, nano_eur

# Beyond these a day, or an offset, may lead out of the calendar that there is.
_FIRST_YEAR: Final = 1970
_LAST_YEAR: Final = 9998
_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}")

Models = Annotated[tuple[str, ...], Field(strict=False)]


class Body(BaseModel):
    """A request: no unknown fields, no silent conversion."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class NewTenant(Body):
    """A tenant to be made; without ``first_payment_eur`` a prepaid tenant begins with what its tier costs."""

    name: str
    tier: str
    models: Models = ()
    first_payment_eur: str | None = None
    budget_eur: str | None = None


class NewTier(Body):
    """The tier that a tenant gets."""

    tier: str


class NewBudget(Body):
    """The most that a tenant may spend in a calendar month; null for what its tier allows."""

    budget_eur: str | None


class Payment(Body):
    """Credit that was paid; the reference names the payment, which is booked once however often it is sent."""

    amount_eur: str
    reference: str


class TakingBack(Body):
    """A payment whose credit is taken away again, whole; the reference names that, such as a bank's notice."""

    payment: str
    reference: str


class _Budgeted(Body):
    budget_eur: str | None = None
    budget_window: Annotated[Window, Field(strict=False)] = Window.NONE

    @field_validator("budget_window")
    @classmethod
    def _window_of_something(cls, window: Window, info: ValidationInfo) -> Window:
        if window is not Window.NONE and info.data.get("budget_eur", "") is None:
            raise ValueError(f"a budget for each {window} needs its amount, budget_eur")
        return window

    @property
    def budget(self) -> Budget | None:
        """The budget, if there is one."""
        return None if self.budget_eur is None else Budget(euros("budget_eur", self.budget_eur), self.budget_window)


class NewTeam(_Budgeted):
    """A further team of a tenant."""

    name: Annotated[str, Field(min_length=1, max_length=100)]
    models: Models = ()


class NewKey(_Budgeted):
    """A key to be made."""

    name: Annotated[str, Field(min_length=1, max_length=100)]
    team: str | None = None
    models: Models = ()
    duration: Annotated[str, Field(pattern=r"^[1-9][0-9]*[smhd]$")] | None = None
    requests_per_minute: Annotated[int, Field(ge=1)] | None = None


class Confirmation(Body):
    """The name of the tenant that is to be erased for good."""

    confirm: str


def euros(field: str, text: str) -> int:
    """Nano-euros of an amount; MoneyError with the field's name."""
    try:
        return nano_eur(text)
    except ValueError as error:
        raise type(error)(f"{field}: {error}") from None


def euros_if_given(field: str, text: str | None) -> int | None:
    """The same where there may be none."""
    return None if text is None else euros(field, text)


def tenant_shape(row: Row) -> dict[str, Any]:
    """A tenant as operators see it."""
    amounts = {f"{n}_eur": format_euros(int(row[f"{n}_nano_eur"])) for n in ("credit", "spent_credit", "spent_month")}
    left = int(row["credit_nano_eur"]) - int(row["spent_credit_nano_eur"])
    plain = {name: value for name, value in row.items() if not name.endswith("_nano_eur")}
    budget = row["budget_nano_eur"]
    return {
        **plain,
        **amounts,
        "credit_left_eur": format_euros(left),
        "budget_eur": None if budget is None else format_euros(budget),
    }


def payment_shape(row: Row) -> dict[str, Any]:
    """A payment, or what took one back."""
    return {
        "at": row["at"],
        "reference": row["reference"],
        "amount_eur": format_euros(row["nano_eur"]),
        "takes_back": row["takes_back"],
    }


def group_shape(row: Row) -> dict[str, Any]:
    """A group of usage."""
    return {**row, "cost_eur": format_euros(row["nano_eur"])}


def call_shape(row: Row) -> dict[str, Any]:
    """A single call."""
    return {**row, "cost_eur": format_euros(row["nano_eur"])}


def invoice_shape(document: Mapping[str, Any], name: str | None, **more: Any) -> dict[str, Any]:
    """An invoice; the name is looked up when it is shown, since the document must not hold it."""
    cents = {n.removesuffix("_cents"): document[n] for n in ("total_cents", "due_cents", "vat_cents")}
    feet = {f"{n}_eur": None if value is None else _cents(value) for n, value in cents.items()}
    lines = [{**line, "eur": format_euros(line["nano_eur"])} for line in document["lines"]]
    return {**document, "lines": lines, "name": name, **feet, **more}


def _cents(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02d}"


def period(start: str | None, end: str | None, zone: ZoneInfo, now: datetime) -> Period:
    """From the month's beginning to now, unless told otherwise; days are whole days of the seller's.

    Raises:
        AccountError: a text that is neither a day nor a moment with an offset, one out of all time, or an empty period.
    """
    first = Month.of(now, zone).start(zone) if start is None else _moment("from", start, zone, days=0)
    last = now if end is None else _moment("to", end, zone, days=1)
    return Period(first, last, zone.key)


def _moment(field: str, text: str, zone: ZoneInfo, days: int) -> datetime:
    """A moment, or midnight in the zone; the end of a period that is given as a day includes that day."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise AccountError(f"{field}: {text!r} is no day like 2026-11-01 and no moment with an offset") from None
    if not _FIRST_YEAR <= moment.year <= _LAST_YEAR:
        raise AccountError(f"{field}: {text!r} is out of all time; take a year from {_FIRST_YEAR} to {_LAST_YEAR}")
    if _DAY.fullmatch(text):
        return moment.replace(tzinfo=zone) + timedelta(days=days)
    if moment.tzinfo is None:
        raise AccountError(f"{field}: {text!r} has no offset; write e.g. 2026-11-01T00:00:00+01:00")
    return moment
