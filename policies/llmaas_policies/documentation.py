"""The rules as a document for the reader of a refusal."""

import inspect
from collections.abc import Sequence

from llmaas_policies.model import Rule

_HEAD = """# Policies

What preview refuses. Every rule is mandatory; a value that is missing or not known at preview counts as a violation.
`llmaas verify` holds all workloads that run in the cluster, whoever made them, against those of the rules that speak of
workloads, with the same waivers; of other objects preview alone judges.
This file is generated: `llmaas policies document`.
"""


def markdown(rules: Sequence[Rule]) -> str:
    """One section a rule, in the order of the pack."""
    sections = [_HEAD]
    for rule in rules:
        check = rule.check or rule.check_stack
        why = (inspect.getdoc(check) or "") if check else ""
        sections.append(
            f"## {rule.name}\n\n{rule.description} {why}\n\n"
            f"- Severity: {rule.severity}\n- Serves: {', '.join(rule.frameworks)}\n- Remedy: {rule.remediation}\n"
            f"- Waiver: {'one that the stack file names, with reason and end' if rule.waivable else 'none'}\n"
            + (f"- In a lab, where no GPU is real, a pass shows nothing: {rule.in_a_lab}\n" if rule.in_a_lab else "")
        )
    return "\n".join(sections)
