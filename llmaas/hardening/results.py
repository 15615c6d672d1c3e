"""What OpenSCAP found on a host, as typed data."""

import json
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from llmaas.hardening.content import ENHANCED, PROFILE_PREFIX, RESTRICTIVE, RULE, enhanced_rules
from llmaas.settings.hardening import HardeningWaiver

Outcome = Literal["pass", "fail", "error", "unknown", "notapplicable", "notchecked", "informational", "fixed"]
_XCCDF: Final = "{http://checklists.nist.gov/xccdf/1.2}"
# what says that a rule holds, and what says that it does not; the rest says nothing about the host
_HOLDS: Final = frozenset({"pass", "fixed"})
_BROKEN: Final = frozenset({"fail", "error", "unknown"})


@dataclass(frozen=True)
class RuleResult:
    """One rule on one host; ``waiver`` names the recommendation, the reason and the end of an exception."""

    rule: str
    title: str
    severity: str
    outcome: Outcome
    profiles: tuple[str, ...]
    waiver: str = ""

    @property
    def judged(self) -> bool:
        """Whether the judge could say yes or no."""
        return self.outcome in _HOLDS | _BROKEN

    @property
    def broken(self) -> bool:
        """Whether the judge said no, or could not say although the rule applies."""
        return self.outcome in _BROKEN


@dataclass(frozen=True)
class Score:
    """All rules on one host."""

    host: str
    benchmark: str
    judge: str
    rules: tuple[RuleResult, ...]

    def of(self, profile: str) -> "Score":
        """Only the rules of one profile."""
        return Score(self.host, self.benchmark, self.judge, tuple(r for r in self.rules if profile in r.profiles))

    @property
    def judged(self) -> int:
        """How many rules were answered by yes or no."""
        return sum(rule.judged for rule in self.rules)

    @property
    def passed(self) -> int:
        """How many of them hold."""
        return sum(rule.judged and not rule.broken for rule in self.rules)

    @property
    def percent(self) -> float:
        """Rules that hold among those that were judged; waived ones count as broken."""
        return round(100 * self.passed / self.judged, 1) if self.judged else 0.0

    @property
    def waived(self) -> tuple[RuleResult, ...]:
        """Broken, and excused by name."""
        return tuple(rule for rule in self.rules if rule.broken and rule.waiver)

    @property
    def failed(self) -> tuple[RuleResult, ...]:
        """Broken, and excused by nobody."""
        return tuple(rule for rule in self.rules if rule.broken and not rule.waiver)

    def counts(self) -> dict[str, int]:
        """How often each outcome was given."""
        return dict(sorted(Counter(rule.outcome for rule in self.rules).items()))

    def as_data(self) -> dict[str, Any]:
        """Plain data, for programs."""
        summary = {
            profile: {"passed": part.passed, "judged": part.judged, "percent": part.percent}
            for profile in sorted({name for rule in self.rules for name in rule.profiles})
            if (part := self.of(profile))
        }
        return {
            "host": self.host,
            "benchmark": self.benchmark,
            "judge": self.judge,
            "profiles": summary,
            "failed": [rule.rule for rule in self.failed],
            "waived": [rule.rule for rule in self.waived],
            "rules": [asdict(rule) for rule in self.rules],
        }

    def as_json(self) -> str:
        """The same as text."""
        return json.dumps(self.as_data(), indent=2)


def read_results(host: str, document: bytes, waivers: Mapping[str, HardeningWaiver]) -> Score:
    """The results in an XCCDF document that ``oscap xccdf eval --results`` wrote.

    Args:
        host: whose results they are.
        document: a Benchmark with one TestResult.
        waivers: deviation (``scap RULE``) -> exception, of that host.

    Raises:
        ValueError: it is no such document.
    """
    try:
        root = ET.fromstring(document)  # noqa: S314  (written by oscap on a host of ours)
    except ET.ParseError as error:
        raise ValueError(f"{host}: the results cannot be read: {error}") from error
    found = root.find(f"{_XCCDF}TestResult")
    if found is None:
        raise ValueError(f"{host}: the document has no results")
    titles = {rule.get("id", ""): rule.findtext(f"{_XCCDF}title", "").strip() for rule in root.iter(f"{_XCCDF}Rule")}
    chosen = {RESTRICTIVE: _selected(root, RESTRICTIVE), ENHANCED: enhanced_rules()}
    rules = []
    for each in found.iter(f"{_XCCDF}rule-result"):
        outcome = each.findtext(f"{_XCCDF}result", "unknown")
        if outcome == "notselected":
            continue
        identity = each.get("idref", "")
        name = identity.removeprefix(RULE)
        profiles = tuple(profile for profile, members in chosen.items() if name in members)
        waiver = waivers.get(f"scap {name}")
        excuse = str(waiver or "")
        severity = each.get("severity", "unknown")
        rules.append(RuleResult(name, titles.get(identity, ""), severity, outcome, profiles, excuse))  # type: ignore[arg-type]
    judge = found.get("test-system", "oscap")
    return Score(host, root.get("id", ""), judge, tuple(sorted(rules, key=lambda rule: rule.rule)))


def _selected(root: ET.Element, profile: str) -> frozenset[str]:
    """The rules that a profile of the document selects."""
    return frozenset(
        select.get("idref", "").removeprefix(RULE)
        for each in root.iter(f"{_XCCDF}Profile")
        if each.get("id") == f"{PROFILE_PREFIX}{profile}"
        for select in each.iter(f"{_XCCDF}select")
        if select.get("selected") == "true"
    )
