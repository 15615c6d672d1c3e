"""What a tenant may rely on: the phase of each model on any day, and what was promised of it.

A stable model stays as it is for six months; a model ends no earlier than announced, and no sooner than three months
after; whoever uses a model that ends is told where to go.
"""

import calendar
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from email.utils import format_datetime
from typing import Any, Final

from llmaas_gateway.chain import Record

from llmaas.settings import Model, Platform

PINNED_MONTHS: Final = 6
NOTICE_MONTHS: Final = 3


def add_months(day: date, months: int) -> date:
    """The same day so many months later; the last day of the month where there is no such day."""
    year, month = divmod(day.month - 1 + months, 12)
    last = calendar.monthrange(day.year + year, month + 1)[1]
    return date(day.year + year, month + 1, min(day.day, last))


@dataclass(frozen=True)
class Entry:
    """A model as tenants see it on one day."""

    name: str
    phase: str
    context_tokens: int
    capabilities: tuple[str, ...]
    licence: str
    long_term_support: bool
    production_date: date | None
    pinned_until: date | None
    announced: date | None
    end_of_support: date | None
    replacement: str | None
    days_left: int | None


def phase_on(model: Model, day: date) -> str:
    """The phase that the dates give; the phase in the stack file counts where there are none."""
    if model.phase == "removed" or (model.end_of_support is not None and model.end_of_support < day):
        return "removed"
    if model.announced is not None and model.end_of_support is not None and model.announced <= day:
        return "deprecated"
    if model.production_date is not None and model.phase != "experimental":
        return "stable" if model.production_date <= day else "experimental"
    return model.phase


def catalogue_on(platform: Platform, day: date) -> tuple[Entry, ...]:
    """Every model that is served on that day, and those that were."""
    return tuple(_entry(platform, model, day) for model in platform.models)


def _entry(platform: Platform, model: Model, day: date) -> Entry:
    phase = phase_on(model, day)
    ends = model.end_of_support if phase in {"deprecated", "removed"} else None
    pinned = None
    if phase == "stable" and model.production_date is not None:
        pinned = add_months(model.production_date, PINNED_MONTHS)
    return Entry(
        name=model.name,
        phase=phase,
        context_tokens=model.context_tokens,
        capabilities=model.capabilities,
        licence=platform.artefact(model.artefact).licence,
        long_term_support=model.long_term_support,
        production_date=model.production_date,
        pinned_until=pinned,
        announced=model.announced if phase in {"deprecated", "removed"} else None,
        end_of_support=ends,
        replacement=model.replacement if phase in {"deprecated", "removed"} else None,
        days_left=(ends - day).days if ends is not None and phase == "deprecated" else None,
    )


def api_view(platform: Platform, day: date) -> dict[str, Any]:
    """What ``/v1/models`` adds to each model, and the headers of every call to one that ends."""
    base = f"https://{platform.gateway.public_host_names[0]}/v1/models/"
    view: dict[str, Any] = {}
    for entry in catalogue_on(platform, day):
        if entry.phase == "removed":
            continue
        view[entry.name] = {
            "lifecycle": {
                "phase": entry.phase,
                "long_term_support": entry.long_term_support,
                "production_date": _text(entry.production_date),
                "pinned_until": _text(entry.pinned_until),
                "announced": _text(entry.announced),
                "end_of_support": _text(entry.end_of_support),
                "replacement": entry.replacement,
            },
            "context_tokens": entry.context_tokens,
            "capabilities": list(entry.capabilities),
            "licence": entry.licence,
            "headers": _headers(entry, base),
        }
    return view


def _headers(entry: Entry, base: str) -> dict[str, str]:
    """``Deprecation`` by RFC 9745, ``Sunset`` by RFC 8594: the moment after the last day of support."""
    if entry.phase != "deprecated" or entry.announced is None or entry.end_of_support is None:
        return {}
    since = datetime.combine(entry.announced, time(), UTC)
    end = datetime.combine(entry.end_of_support + timedelta(days=1), time(), UTC)
    headers = {"Deprecation": f"@{int(since.timestamp())}", "Sunset": format_datetime(end, usegmt=True)}
    if entry.replacement is not None:
        headers["Link"] = f'<{base}{entry.replacement}>; rel="successor-version"'
    return headers


def _text(day: date | None) -> str | None:
    return None if day is None else day.isoformat()


@dataclass(frozen=True)
class Promise:
    """A promise as it was recorded: when, of which model, and what."""

    recorded_on: date
    kind: str
    model: str
    terms: Mapping[str, Any]


def promises_of(records: Sequence[Record]) -> list[Promise]:
    """Records of the promise file as the rules read them."""
    return [
        Promise(record.at.astimezone(UTC).date(), record.body["kind"], record.body["model"], record.body["terms"])
        for record in records
    ]


def terms_of(platform: Platform, model: Model, digests: Mapping[str, str | None]) -> list[Promise]:
    """What the stack file promises of a model; ``digests`` are those of the manifests that are there."""
    promised: list[Promise] = []
    if model.production_date is not None and model.phase in {"stable", "deprecated"}:
        shape = platform.artefact(model.artefact).architecture
        pinned = {
            "artefact": model.artefact,
            "manifest_sha256": digests.get(model.artefact),
            "context_tokens": model.context_tokens,
            "capabilities": sorted(model.capabilities),
            "weight_type": shape.weight_type if shape is not None else None,
            "kv_type": shape.kv_type if shape is not None else None,
        }
        terms = {
            "production_date": model.production_date.isoformat(),
            "long_term_support": model.long_term_support,
            "pinned": pinned,
        }
        promised.append(Promise(model.production_date, "production", model.name, terms))
    if model.announced is not None and model.end_of_support is not None:
        ends = {
            "announced": model.announced.isoformat(),
            "end_of_support": model.end_of_support.isoformat(),
            "replacement": model.replacement,
        }
        promised.append(Promise(model.announced, "end", model.name, ends))
    return promised


def latest(promises: Sequence[Promise], kind: str, model: str) -> Promise | None:
    """The promise of that kind that holds: the last one recorded."""
    return next((promise for promise in reversed(promises) if (promise.kind, promise.model) == (kind, model)), None)
