"""What a run of the checks found."""

import json
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any, Literal

Outcome = Literal["passed", "failed", "not run"]


@dataclass(frozen=True)
class Check:
    """One check: where it stands, what it says of which subject, and how it ended."""

    area: str
    subject: str
    invariant: str
    outcome: Outcome
    seconds: float
    reason: str = ""


@dataclass(frozen=True)
class Verdict:
    """All checks of one run."""

    environment: str
    checks: tuple[Check, ...]
    problem: str = ""

    @property
    def holds(self) -> bool:
        """Only if every check ran and passed, in every area; a run without checks proves nothing."""
        return not self.problem and bool(self.checks) and all(check.outcome == "passed" for check in self.checks)

    def count(self, outcome: Outcome) -> int:
        """How many checks ended so."""
        return Counter(check.outcome for check in self.checks)[outcome]

    def as_json(self) -> str:
        """For other programs."""
        content: dict[str, Any] = {
            "environment": self.environment,
            "holds": self.holds,
            "problem": self.problem,
            "passed": self.count("passed"),
            "failed": self.count("failed"),
            "not_run": self.count("not run"),
            "checks": [asdict(check) for check in self.checks],
        }
        return json.dumps(content, ensure_ascii=False, indent=2)
