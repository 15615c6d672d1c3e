"""One verdict for each question of a preview; each is complete, whatever the others say."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from llmaas_gateway import chain
from llmaas_gateway.price_file import load_price_book
from llmaas_gateway.price_record import differences
from llmaas_gateway.prices import PriceError

from llmaas.materials import MaterialError, price_book_file, read_prices
from llmaas.planning.check import placement_faults
from llmaas.planning.lifecycle import promises_of
from llmaas.planning.plan import DoesNotFitError, settled
from llmaas.planning.promises import refusals
from llmaas.settings import Platform, SettingsError, counted
from llmaas.settings.hardening import FILE as WAIVERS
from llmaas.settings.recorded import manifest_digests, read_records
from llmaas.views import hardening


@dataclass(frozen=True)
class Refusal:
    """Why preview refuses: where it stands, what is wrong and what would be right; the rule, where it is a policy's."""

    path: str
    text: str
    rule: str | None = None
    resource: str | None = None

    def __str__(self) -> str:
        where = " ".join(part for part in (self.resource, self.path) if part)
        return f"{self.rule}: {where}: {self.text}" if self.rule else f"{where}: {self.text}"


@dataclass(frozen=True)
class Verdict:
    """The answer to one question: nothing refused, and a line that says what was looked at."""

    subject: str
    summary: str
    refusals: tuple[Refusal, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether nothing is refused."""
        return not self.refusals


def stack_verdicts(platform: Platform, moment: datetime) -> tuple[tuple[Verdict, ...], Platform | None]:
    """What is judged before anything is declared, and the platform as ``plan_verdict`` gives it."""
    plan, placed = plan_verdict(platform)
    judged = placed or platform
    verdicts = (
        plan,
        promise_verdict(judged, moment),
        price_verdict(judged, moment),
        hardening_verdict(judged, moment),
    )
    return verdicts, placed


def plan_verdict(platform: Platform) -> tuple[Verdict, Platform | None]:
    """Whether the replicas stand so that any one host may be lost, and the platform with every model placed.

    None instead of the platform when models that the stack file leaves to the plan cannot be placed.
    """
    try:
        placed = settled(platform)
    except DoesNotFitError as error:
        remedy = "; ".join(error.plan.changes) or "add GPUs, or ask for less"
        found = tuple(Refusal("llmaas:models", f"{reason}; it would fit: {remedy}") for reason in error.plan.reasons)
        return Verdict("plan", "does not fit", found), None
    wrong = tuple(Refusal(problem.path, problem.text) for problem in placement_faults(placed))
    hosts = [host.gpus for host in placed.hosts if host.gpus is not None]
    used = sum(model.replicas * model.gpus_per_replica for model in placed.models if model.phase != "removed")
    summary = f"{used} of {counted(hosts)} on {len(hosts)} hosts"
    return Verdict("plan", summary if wrong else f"{summary}; holds with any one host lost", wrong), placed


def promise_verdict(platform: Platform, moment: datetime) -> Verdict:
    """Whether the catalogue keeps every promise that was recorded, on that day."""
    try:
        promises = promises_of(read_records(platform.environment))
    except SettingsError as error:
        found = tuple(Refusal(problem.path, problem.text) for problem in error.problems)
        return Verdict("promises", "cannot be read", found)
    day = moment.astimezone(UTC).date()
    broken = refusals(platform, promises, manifest_digests(platform), day)
    found = tuple(Refusal(problem.path, problem.text) for problem in broken)
    return Verdict("promises", f"{len(promises)} recorded, on {day}", found)


def price_verdict(platform: Platform, moment: datetime) -> Verdict:
    """Whether every served model has its prices, and none was edited against its record."""
    book_file = price_book_file(platform.environment)
    record = book_file.with_name("prices.recorded.jsonl")
    try:
        book = load_price_book(book_file)
    except PriceError as error:
        return Verdict("prices", "cannot be read", _at(book_file, error.problems))
    found: list[Refusal] = []
    try:
        found.extend(_at(book_file, differences(book, chain.read(record), moment)))
    except (chain.ChainError, OSError, UnicodeDecodeError, KeyError) as error:
        found.extend(_at(record, [f"{error!s}; bring the file back from version control, a price is never edited"]))
    try:
        read_prices(platform, moment)
    except MaterialError as error:
        found.extend(_at(book_file, str(error).splitlines()))
    return Verdict("prices", f"{len(book.prices)} in the book, at {moment:%Y-%m-%d %H:%M %Z}".rstrip(), tuple(found))


def hardening_verdict(platform: Platform, moment: datetime) -> Verdict:
    """Whether every exception from the hosts' hardening holds on that day; one that has ended excuses nothing."""
    day = moment.astimezone(UTC).date()
    found = tuple(Refusal(problem.path, problem.text) for problem in hardening.refused(platform, day))
    return Verdict("hardening", f"exceptions in stacks/{WAIVERS}, on {day}", found)


def _at(path: Path, texts: Sequence[str]) -> tuple[Refusal, ...]:
    """Refusals of a file; a text that begins with its name does not say it twice."""
    name = f"stacks/{path.name}"
    return tuple(Refusal(name, text.removeprefix(f"{path}: ").removeprefix(f"{path.name}: ")) for text in texts)
