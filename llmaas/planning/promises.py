"""Which changes of a catalogue break a promise: compared are the stack file, what was recorded, and the day."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any

from llmaas.planning.lifecycle import NOTICE_MONTHS, PINNED_MONTHS, Promise, add_months, latest, terms_of
from llmaas.settings import Model, Platform, Problem

Digests = Mapping[str, str | None]


def refusals(platform: Platform, promises: Sequence[Promise], digests: Digests, today: date) -> list[Problem]:
    """Everything that preview refuses; empty when every promise is kept and recorded."""
    missing = [
        Problem(
            _path(platform, promise.model),
            f"its {'production' if promise.kind == 'production' else 'end of support'} is not recorded as it stands"
            f" here; run `llmaas catalogue announce {promise.model} -e {platform.environment}`",
        )
        for promise in unrecorded(platform, promises, digests)
    ]
    return [
        *statement_problems(platform, today),
        *broken_promises(platform, promises, digests, today),
        *missing,
    ]


def statement_problems(platform: Platform, today: date) -> list[Problem]:
    """What is wrong with the lifecycle that the stack file states, whatever was recorded."""
    found: list[Problem] = []
    for index, model in enumerate(platform.models):
        path = f"llmaas:models[{index}]"
        found.extend(_dates(path, model, today))
        if model.phase == "deprecated":
            found.extend(_deprecated(path, model, platform))
    return found


def unrecorded(platform: Platform, promises: Sequence[Promise], digests: Digests) -> list[Promise]:
    """What the stack file promises and no record says, or says otherwise."""
    found = []
    for model in platform.models:
        for stated in terms_of(platform, model, digests):
            recorded = latest(promises, stated.kind, model.name)
            if recorded is None or _terms_differ(recorded, stated):
                found.append(stated)
    return found


def broken_promises(platform: Platform, promises: Sequence[Promise], digests: Digests, today: date) -> list[Problem]:
    """Where the stack file takes back what was recorded."""
    found: list[Problem] = []
    for name in sorted({promise.model for promise in promises} - {model.name for model in platform.models}):
        found.extend(_ended("llmaas:models", name, promises, today, "is gone from the catalogue"))
    for index, model in enumerate(platform.models):
        path = f"llmaas:models[{index}]"
        found.extend(_served(path, model, promises, today))
        stated = {promise.kind: promise for promise in terms_of(platform, model, digests)}
        production, end = (latest(promises, kind, model.name) for kind in ("production", "end"))
        if production is not None and "production" in stated:
            found.extend(_pinned(path, production, stated["production"], today))
        if end is not None and "end" in stated:
            found.extend(_end_kept(path, end, stated["end"]))
        elif end is not None and model.phase != "removed":
            found.append(Problem(f"{path}.announced", "its end was announced and is withdrawn; put both dates back"))
    return found


def _path(platform: Platform, name: str) -> str:
    return f"llmaas:models[{[model.name for model in platform.models].index(name)}]"


def _terms_differ(recorded: Promise, stated: Promise) -> bool:
    was, now = dict(recorded.terms), dict(stated.terms)
    if stated.kind == "production" and not _differences(was.pop("pinned"), now.pop("pinned")):
        return was != now
    return stated.kind == "production" or was != now


def _dates(path: str, model: Model, today: date) -> Iterator[Problem]:
    if model.phase in {"stable", "deprecated"} and model.production_date is None:
        yield Problem(f"{path}.production_date", f"is missing on a {model.phase} model; give the day it became stable")
    if model.phase == "stable" and model.production_date is not None and model.production_date > today:
        yield Problem(
            f"{path}.production_date", f"{model.production_date} lies ahead; keep it experimental until that day"
        )
    if (model.announced is None) != (model.end_of_support is None):
        missing = "announced" if model.announced is None else "end_of_support"
        yield Problem(f"{path}.{missing}", "is missing; announced and end_of_support go together")
    if model.announced is None or model.end_of_support is None:
        return
    earliest = add_months(model.announced, NOTICE_MONTHS)
    if model.end_of_support < earliest:
        yield Problem(
            f"{path}.end_of_support",
            f"{model.end_of_support} is less than {NOTICE_MONTHS} months after {model.announced};"
            f" give {earliest} or later",
        )


def _deprecated(path: str, model: Model, platform: Platform) -> Iterator[Problem]:
    if model.announced is None and model.end_of_support is None:
        yield Problem(f"{path}.announced", "is missing on a deprecated model; give announced and end_of_support")
    target = next((other for other in platform.models if other.name == model.replacement), None)
    if target is None:
        yield Problem(f"{path}.replacement", "a deprecated model needs one; give a stable model of the catalogue")
    elif target.name == model.name or target.phase != "stable":
        yield Problem(f"{path}.replacement", f"{target.name} is no other stable model; give one that is stable")


def _served(path: str, model: Model, promises: Sequence[Promise], today: date) -> Iterator[Problem]:
    """A promised model may be neither removed, nor switched off, nor put back to experimental before its end."""
    if latest(promises, "production", model.name) is None:
        return
    if model.phase == "removed":
        yield from _ended(f"{path}.phase", model.name, promises, today, "is removed")
    elif model.phase == "experimental":
        yield from _ended(f"{path}.phase", model.name, promises, today, "goes back to experimental")
    elif not model.minimum_replicas or not (model.placed_by_plan or model.replicas):
        yield from _ended(f"{path}.placement", model.name, promises, today, "is switched off")


def _ended(path: str, name: str, promises: Sequence[Promise], today: date, what: str) -> Iterator[Problem]:
    if latest(promises, "production", name) is None:
        return
    end = latest(promises, "end", name)
    if end is None:
        yield Problem(path, f"{name} {what} and its end was never announced; announce it {NOTICE_MONTHS} months ahead")
    elif today <= date.fromisoformat(end.terms["end_of_support"]):
        yield Problem(path, f"{name} {what} before its end of support; serve it through {end.terms['end_of_support']}")


def _pinned(path: str, recorded: Promise, stated: Promise, today: date) -> Iterator[Problem]:
    was, now = recorded.terms, stated.terms
    if was["long_term_support"] and not now["long_term_support"]:
        yield Problem(f"{path}.long_term_support", "was promised and is withdrawn; put it back to true")
    until = add_months(date.fromisoformat(was["production_date"]), PINNED_MONTHS)
    changed = sorted(_differences(was["pinned"], now["pinned"]))
    begun = now["production_date"]
    if today < until:
        for field in changed:
            yield Problem(
                f"{path}.{field}",
                f"was {was['pinned'].get(field)!r}, is {now['pinned'].get(field)!r};"
                f" a stable model stays as it is until {until}: add the change under another model name",
            )
        if begun != was["production_date"]:
            yield Problem(f"{path}.production_date", f"was recorded as {was['production_date']}; put it back")
    elif changed and begun == was["production_date"]:
        yield Problem(
            f"{path}.production_date", f"{', '.join(changed)} changed; give the day of the change, a new pin begins"
        )
    elif begun != was["production_date"] and date.fromisoformat(begun) < until:
        yield Problem(f"{path}.production_date", f"was pinned until {until}; give the day of the change")


def _differences(was: Mapping[str, Any], now: Mapping[str, Any]) -> set[str]:
    """Pinned fields that differ; a digest that was unknown when it was promised binds nobody."""
    return {
        field
        for field in {*was, *now}
        if was.get(field) != now.get(field) and not (field == "manifest_sha256" and was.get(field) is None)
    }


def _end_kept(path: str, recorded: Promise, stated: Promise) -> Iterator[Problem]:
    was, now = recorded.terms, stated.terms
    if now["announced"] != was["announced"]:
        yield Problem(f"{path}.announced", f"was recorded as {was['announced']}; put it back")
    if now["end_of_support"] < was["end_of_support"]:
        yield Problem(
            f"{path}.end_of_support", f"was promised as {was['end_of_support']}; give that day or a later one"
        )


def notice_problems(path: str, promise: Promise, today: date) -> list[Problem]:
    """Whether an end recorded today gives notice: whoever dates an announcement back gives none."""
    if promise.kind != "end":
        return []
    earliest = add_months(today, NOTICE_MONTHS)
    if date.fromisoformat(promise.terms["end_of_support"]) >= earliest:
        return []
    text = f"{promise.terms['end_of_support']} is less than {NOTICE_MONTHS} months from today; give {earliest} or later"
    return [Problem(f"{path}.end_of_support", text)]
