"""How checks ended, and what that says of each requirement: pure functions.

A check is ``not run`` if one of its subjects was not tried; a requirement is no better than the worst of its checks.
A host that is declared without what a check looks at, such as data devices, is no subject of it if others have it.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from llmaas.evidence.control_map import ControlMap, Framework, Requirement
from llmaas.evidence.exceptions import Exemption, texts_of
from llmaas.evidence.existing import covers
from llmaas.verify import LEFT_OUT, NOT_REACHED, Check, Outcome

State = Literal["proved", "proved, with exceptions", "proved in part", "failed", "not run", "organisational", "legal"]
STATES: tuple[State, ...] = get_args(State)


@dataclass(frozen=True)
class Result:
    """How one check of the map ended, over everything that it was held against.

    Attributes:
        check: its name in the map.
        outcome: the worst of ``rows``; ``not run`` if there is none.
        rows: one for each subject, sorted.
        reason: of a check without rows: why it did not run.
    """

    check: str
    outcome: Outcome
    rows: tuple[Check, ...]
    reason: str = ""

    def count(self, outcome: Outcome) -> int:
        """How many subjects ended so."""
        return Counter(row.outcome for row in self.rows)[outcome]

    @property
    def exceptions(self) -> tuple[str, ...]:
        """What it did not look at because somebody granted so, each once."""
        return tuple(dict.fromkeys(text for row in self.rows for text in row.exceptions))

    @property
    def says(self) -> str:
        """How it ended, in words."""
        return "passed, with exceptions" if self.exceptions and self.outcome == "passed" else self.outcome

    @property
    def begun(self) -> tuple[Check, ...]:
        """The subjects that it was tried on."""
        return tuple(row for row in self.rows if row.begun)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why it did not pass, a line for each subject, none twice; those that nobody began are counted together."""
        if not self.rows:
            return (f"not run: {self.reason}",)
        single = dict.fromkeys(
            f"{row.outcome}: {row.subject}: {row.reason}" if row.subject else f"{row.outcome}: {row.reason}"
            for row in self.rows
            if row.outcome != "passed" and row.begun
        )
        untouched = Counter(row.reason for row in self.rows if not row.begun)
        together = (
            f"not run: {untouched[reason]} of {len(self.rows)}: {reason}"
            for reason in (LEFT_OUT, NOT_REACHED)
            if untouched[reason]
        )
        return (*single, *together)


@dataclass(frozen=True)
class Judged:
    """A requirement and what was found of it; ``exceptions`` are those in force, from it and from its checks."""

    framework: Framework
    requirement: Requirement
    state: State
    results: tuple[Result, ...]
    exceptions: tuple[str, ...] = ()


def judge_checks(
    names: Iterable[str], rows: Sequence[Check], absent: Mapping[str, str], otherwise: str
) -> dict[str, Result]:
    """What the rows say of each check by its name in the map.

    Args:
        names: checks as the map names them.
        rows: what was run, each with its ``test``.
        absent: the beginning of a check's name -> why checks with that beginning have no row.
        otherwise: why any other check has no row.
    """
    return {name: _judge(name, rows, absent, otherwise) for name in names}


def _judge(name: str, rows: Sequence[Check], absent: Mapping[str, str], otherwise: str) -> Result:
    # A file that could not be read is named without a function: it stands for each check that should have run in it.
    mine = [row for row in rows if covers(name, row.test) or (row.test and covers(row.test, name))]
    mine.sort(key=lambda row: (row.test, row.subject))
    if not mine:
        reason = next((text for start, text in absent.items() if name.startswith(start)), otherwise)
        return Result(name, "not run", (), reason)
    subjects = [row for row in mine if not row.has_nothing] or mine
    return Result(name, _worst(row.outcome for row in subjects), tuple(mine))


def _worst(outcomes: Iterable[Outcome]) -> Outcome:
    found = set(outcomes)
    return "failed" if "failed" in found else "not run" if "not run" in found else "passed"


def judge_requirements(
    control_map: ControlMap, results: Mapping[str, Result], exemptions: Sequence[Exemption] = ()
) -> tuple[Judged, ...]:
    """Every requirement of the map, in its order; ``exemptions`` are those in force."""
    return tuple(
        _requirement(
            framework,
            requirement,
            [results[check] for check in control_map.checks_of(requirement)],
            texts_of(exemptions, f"{framework.id} {requirement.id}"),
        )
        for framework, requirement in control_map.requirements()
    )


def _requirement(
    framework: Framework, requirement: Requirement, results: Sequence[Result], own: Sequence[str]
) -> Judged:
    if requirement.kind is not None:
        return Judged(framework, requirement, requirement.kind, (), tuple(own))
    of_checks = (f"{result.check}: {text}" for result in results for text in result.exceptions)
    exceptions = (*own, *of_checks)
    worst = _worst(result.outcome for result in results)
    proved: State = "proved, with exceptions" if exceptions else "proved"
    state: State = worst if worst != "passed" else "proved in part" if requirement.operator else proved
    return Judged(framework, requirement, state, tuple(results), exceptions)


def count_states(judged: Iterable[Judged]) -> dict[State, int]:
    """How many requirements are in each state; every state is there."""
    counts = Counter(each.state for each in judged)
    return {state: counts[state] for state in STATES}
