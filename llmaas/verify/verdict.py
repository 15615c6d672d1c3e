"""What a run of the checks found."""

import json
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

Outcome = Literal["passed", "failed", "not run"]
# How the reason of a check begins that cannot run because of what the stack file declares, such as simulated GPUs.
DECLARED: Final = "the stack file declares "
# So it begins if the stack file does not give its subject what the check looks at, such as a host's data devices.
DECLARED_NONE: Final = f"{DECLARED}no "
# The reasons of a check that was there to run and that nobody began.
LEFT_OUT: Final = "was left out: the run was asked for other checks alone"
NOT_REACHED: Final = "the run ended before it"


@dataclass(frozen=True)
class Check:
    """One check: where it stands, what it says of which subject, and how it ended.

    ``test`` is its name for machines: ``tests/host/test_hosts.py::test_no_service_has_failed``; ``exceptions``
    are what it did not look at because somebody granted so, a line each.
    """

    area: str
    subject: str
    invariant: str
    outcome: Outcome
    seconds: float
    reason: str = ""
    test: str = ""
    exceptions: tuple[str, ...] = ()

    @property
    def cannot_run(self) -> bool:
        """Whether it did not run because of what the stack file declares: nothing was shown, and nothing is amiss."""
        return self.outcome == "not run" and self.reason.removeprefix("Skipped: ").startswith(DECLARED)

    @property
    def has_nothing(self) -> bool:
        """Whether its subject is declared without what it looks at; says nothing of a subject that has it."""
        return self.outcome == "not run" and self.reason.removeprefix("Skipped: ").startswith(DECLARED_NONE)

    @property
    def left_out(self) -> bool:
        """Whether it did not run because the run was asked for others alone."""
        return self.outcome == "not run" and self.reason == LEFT_OUT

    @property
    def begun(self) -> bool:
        """Whether anything of it was tried: a check that says itself why it cannot run was."""
        return self.outcome != "not run" or self.reason not in {LEFT_OUT, NOT_REACHED}


@dataclass(frozen=True)
class Verdict:
    """All checks of one run.

    Attributes:
        environment: which one was checked.
        checks: in the order in which they ended, then those that were not begun.
        problem: why the run itself broke; empty if it came to its end.
        started: ISO 8601 with its offset, as ``ended``.
        ended: when the last check had ended.
        stack: SHA-256 of the stack file that the environment was held against.
        collected: how many checks there were to run, those left out and not reached included; None: nobody counted.
        figures: what checks counted, by name, such as connections that were tried.
        inputs: file -> SHA-256 of all that counted, when the run began.
        commit: of the software, then; empty where it is not known.
        changes: SHA-256 of what was changed since that commit; empty if nothing was.
    """

    environment: str
    checks: tuple[Check, ...]
    problem: str = ""
    started: str = ""
    ended: str = ""
    stack: str = ""
    collected: int | None = None
    figures: dict[str, str] = field(default_factory=dict)
    inputs: dict[str, str] = field(default_factory=dict)
    commit: str = ""
    changes: str = ""

    @property
    def holds(self) -> bool:
        """Only if every check that was asked for and can run here ran and passed; a run without any proves nothing."""
        tried = [check for check in self.checks if not check.cannot_run and not check.left_out]
        return not self.problem and bool(tried) and all(check.outcome == "passed" for check in tried)

    def count(self, outcome: Outcome) -> int:
        """How many checks ended so."""
        return Counter(check.outcome for check in self.checks)[outcome]

    def as_json(self) -> str:
        """For other programs."""
        content: dict[str, Any] = {
            "environment": self.environment,
            "holds": self.holds,
            "problem": self.problem,
            "started": self.started,
            "ended": self.ended,
            "stack": self.stack,
            "inputs": self.inputs,
            "commit": self.commit,
            "changes": self.changes,
            "collected": self.collected,
            "passed": self.count("passed"),
            "failed": self.count("failed"),
            "not_run": self.count("not run"),
            "figures": self.figures,
            "checks": [asdict(check) for check in self.checks],
        }
        return json.dumps(content, ensure_ascii=False, indent=2)
