"""Exceptions: named, reasoned, and over one day."""

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from typing import Final

from llmaas_policies.model import Parameters, Resource, Rule, Severity, Violation, Waiver

_LONGEST: Final = timedelta(days=366)


def _wrong(waiver: Waiver, rules: dict[str, Rule], labels: set[str], today: str) -> Iterator[tuple[str, str]]:
    rule = rules.get(waiver.rule)
    if rule is None:
        yield "rule", f"is {waiver.rule!r}, which is no rule"
    elif not rule.waivable:
        yield "rule", f"is {waiver.rule}, from which there is no exception"
    if waiver.resource not in labels:
        yield "resource", f"is {waiver.resource!r}, which is no object of this stack"
    if not waiver.reason.strip():
        yield "reason", "is empty"
    try:
        end, now = date.fromisoformat(waiver.expires), date.fromisoformat(today)
    except ValueError:
        yield "expires", f"is {waiver.expires!r}, which is no day"
        return
    if end < now:
        yield "expires", f"was {waiver.expires}; renew it with a new reason or end the exception"
    elif end - now > _LONGEST:
        yield "expires", f"is {waiver.expires}; a year is the longest"


def rule_on_waivers(rules: Sequence[Rule]) -> Rule:
    """The rule that judges the exceptions from the others."""
    by_name = {rule.name: rule for rule in rules}

    def waiver_in_force(resources: Sequence[Resource], parameters: Parameters) -> Iterator[Violation]:
        """An exception that nobody remembers is a hole; one that excuses nothing hides a mistake in its name."""
        labels = {resource.label for resource in resources}
        for index, waiver in enumerate(parameters.waivers):
            for name, text in _wrong(waiver, by_name, labels, parameters.today):
                yield Violation(f"llmaas:waivers[{index}].{name}", text)

    return Rule(
        name="waiver-in-force",
        description="Every waiver names a rule that allows one, an object that is there, a reason and an end.",
        severity=Severity.HIGH,
        frameworks=("SecNumCloud 3.2 5.3",),
        remediation="Correct or remove the entry of llmaas:waivers",
        check_stack=waiver_in_force,
    )
