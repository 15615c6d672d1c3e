"""Runs what the control map names, or takes it from records, and says of everything else why it did not run."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Final

from llmaas_policies.model import Rule
from llmaas_policies.pack import RULES
from pydantic import TypeAdapter, ValidationError

from llmaas.clock import now
from llmaas.evidence.control_map import ControlMap
from llmaas.evidence.exceptions import Exemption, exemptions_in_force, texts_of
from llmaas.evidence.existing import EMULATED, LIVE, POLICY, PREVIEW, PREVIEW_SUBJECTS, TESTS
from llmaas.materials import MaterialError
from llmaas.preview.report import preview
from llmaas.settings import Platform
from llmaas.verify import DECLARED, Check, Outcome, Verdict, run_checks
from llmaas.verify.inputs import Inputs, differences, inputs_of, with_inputs
from llmaas.verify.runner import FOLDERS, stack_digest
from llmaas.views.policies import gpus_are_simulated

_VERDICT: Final = TypeAdapter(Verdict)
_NOT_ASKED: Final = "runs on emulated hosts and takes more than an hour; ask for it with --emulated, or give its record"
_NOT_RECORDED: Final = "is not in the given records"
_NOT_REPORTED: Final = "the run did not come to it"


class RecordError(ValueError):
    """A record of checks that cannot be used; the text says why."""


@dataclass(frozen=True)
class Gathered:
    """What was found, and why the rest was not.

    Attributes:
        verdict: every row of every check, sorted by check and subject.
        absent: the beginning of a check's name -> why it has no row.
        otherwise: why any other check has no row.
        exemptions: the exceptions in force when the stack file was judged.
        differences: what records were made against that is not so any more; accepted by whoever asked.
    """

    verdict: Verdict
    absent: dict[str, str]
    otherwise: str
    exemptions: tuple[Exemption, ...] = ()
    differences: tuple[str, ...] = ()


def gather(  # noqa: PLR0913 - what is asked for, and how
    platform: Platform,
    control_map: ControlMap,
    on_check: Callable[[Check], None],
    *,
    records: Sequence[Path] = (),
    emulated: bool = False,
    accept_differences: bool = False,
) -> Gathered:
    """Everything that the map names, run now; tests are taken from ``records`` where some are given.

    Raises:
        RecordError: a record is of another environment or stack file, or of other inputs that were not accepted, or
            says something that another one says too.
        SettingsError: the exceptions from the hardening cannot be read.
    """
    moment = now()
    # Read before minutes are spent on checks.
    exemptions = exemptions_in_force(platform, moment.date())
    inputs, stack = inputs_of(platform.environment), stack_digest(platform.environment)
    found: list[str] = []
    if records:
        verdicts = [read_record(path, platform.environment) for path in records]
        found = [
            f"{path}: {text}" for path, each in zip(records, verdicts, strict=True) for text in _aged(each, inputs)
        ]
        if found and not accept_differences:
            remedy = "run the checks again, or take it as it is, with this said in the evidence: --accept-differences"
            raise RecordError(f"{'; '.join(found)}; {remedy}")
        tests = merged(verdicts)
        absent, otherwise = {}, _NOT_RECORDED
    else:
        tests = run_checks(platform.environment, on_check, places_to_run(control_map, emulated=emulated))
        absent = {} if emulated else dict.fromkeys(EMULATED, _NOT_ASKED)
        otherwise = tests.problem or _NOT_REPORTED
    judged = judge_stack(platform, moment, exemptions)
    for check in judged:
        on_check(check)
    rows = sorted([*tests.checks, *judged], key=lambda row: (row.test, row.subject))
    verdict = replace(with_inputs(tests, inputs), checks=tuple(rows), stack=stack)
    return Gathered(verdict, absent, otherwise, exemptions, tuple(found))


def _aged(verdict: Verdict, now: Inputs) -> tuple[str, ...]:
    return differences(Inputs(verdict.inputs, verdict.commit, verdict.changes), now)


def places_to_run(control_map: ControlMap, *, emulated: bool) -> list[str]:
    """What is run, as paths below ``tests``: all live checks, of the software's own those that the map names.

    Those of emulated hosts are run all: the states of these hosts follow each other in the order of their folder.
    """
    named = (check for check in control_map.checks if check.startswith(TESTS))
    own = [check.removeprefix(TESTS) for check in named if not check.startswith((*LIVE, *EMULATED))]
    folders = [folder.removeprefix(TESTS).rstrip("/") for folder in EMULATED] if emulated else []
    return [*FOLDERS, *folders, *own]


def read_record(path: Path, environment: str) -> Verdict:
    """A record as ``llmaas verify --json`` prints it, or as an earlier folder of evidence has it.

    What the stack file says is judged anew each time and is left out.

    Raises:
        RecordError: it is none, or of another environment or stack file, or lacks checks that there were to run.
    """
    try:
        verdict = _VERDICT.validate_json(path.read_bytes())
    except OSError as error:
        raise RecordError(f"{path}: cannot be read: {error.strerror}") from error
    except ValidationError as error:
        raise RecordError(f"{path}: is no record of checks; make one with: llmaas verify --json > FILE") from error
    if verdict.environment != environment:
        raise RecordError(f"{path}: is of environment {verdict.environment!r}, not of {environment!r}")
    if verdict.stack != stack_digest(environment):
        raise RecordError(f"{path}: the stack file was changed since; run the checks again")
    if not all(check.test for check in verdict.checks) or verdict.collected is None or not verdict.inputs:
        raise RecordError(
            f"{path}: does not name its tests, what it left out or what it was held against; an older version wrote it;"
            " run the checks again"
        )
    rows = tuple(check for check in verdict.checks if check.test.startswith(TESTS))
    if len(_names(rows)) < verdict.collected:
        raise RecordError(f"{path}: has {len(_names(rows))} of {verdict.collected} checks; take a record that is whole")
    return replace(verdict, checks=rows)


def merged(verdicts: Sequence[Verdict]) -> Verdict:
    """Several records as one; what one of them did not begin is taken from another that did.

    Raises:
        RecordError: two of them have begun the same check of the same subject; which one counts is not ours to say.
    """
    begun: set[tuple[str, str]] = set()
    rows: list[Check] = []
    for verdict in verdicts:
        mine = [row for row in verdict.checks if row.begun]
        for test, subject in sorted(begun & _names(mine)):
            raise RecordError(f"two records have {test} [{subject}]; give one of them")
        begun |= _names(mine)
        rows += mine
    others = {(row.test, row.subject): row for verdict in verdicts for row in verdict.checks if not row.begun}
    rows += [row for name, row in others.items() if name not in begun]
    return replace(
        verdicts[0],
        checks=tuple(rows),
        problem="; ".join(verdict.problem for verdict in verdicts if verdict.problem),
        started=min(verdict.started for verdict in verdicts),
        ended=max(verdict.ended for verdict in verdicts),
        collected=len(_names(rows)),
        figures={name: text for verdict in verdicts for name, text in verdict.figures.items()},
    )


def _names(rows: Iterable[Check]) -> set[tuple[str, str]]:
    return {(row.test, row.subject) for row in rows}


def judge_stack(platform: Platform, moment: datetime, exemptions: Sequence[Exemption]) -> list[Check]:
    """What a preview says of the stack file at ``moment``: a row for each question and for each rule of the pack.

    A rule looks at no object that ``exemptions`` excuse from it, so its row names them. One that shows nothing in a lab
    is ``not run`` there, unless it refuses something.
    """
    try:
        report = preview(platform, moment)
    except MaterialError as error:
        return [_row(f"{PREVIEW}{subject}", "failed", str(error)) for subject in PREVIEW_SUBJECTS] + [
            _row(f"{POLICY}{rule.name}", "failed", str(error)) for rule in RULES
        ]
    found = {verdict.subject: verdict for verdict in report.verdicts}
    rows = []
    for subject in PREVIEW_SUBJECTS:
        verdict = found.get(subject)
        if verdict is None:
            rows.append(_row(f"{PREVIEW}{subject}", "not run", "; ".join(report.notes)))
        else:
            rows.append(_row(f"{PREVIEW}{subject}", *_outcome(str(each) for each in verdict.refusals)))
    policies = found.get("policies")
    simulated = gpus_are_simulated(platform)
    for rule in RULES:
        if policies is None:
            rows.append(_row(f"{POLICY}{rule.name}", "not run", "; ".join(report.notes)))
        else:
            broken = (str(each) for each in policies.refusals if each.rule == rule.name)
            row = _row(f"{POLICY}{rule.name}", *_outcome_of_rule(rule, broken, simulated=simulated))
            rows.append(replace(row, exceptions=texts_of(exemptions, row.test)))
    return rows


def _outcome(refusals: Iterable[str]) -> tuple[Outcome, str]:
    found = list(refusals)
    return ("failed", "; ".join(found)) if found else ("passed", "")


def _outcome_of_rule(rule: Rule, refusals: Iterable[str], *, simulated: bool) -> tuple[Outcome, str]:
    outcome, reason = _outcome(refusals)
    if simulated and rule.in_a_lab and outcome == "passed":
        return "not run", f"{DECLARED}simulated GPUs alone: a lab; {rule.in_a_lab}"
    return outcome, reason


def _row(check: str, outcome: Outcome, reason: str) -> Check:
    area, _, name = check.partition("/")
    return Check(area, "", name.replace("-", " "), outcome, 0.0, reason, check)
