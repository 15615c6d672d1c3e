"""Verifies exported audit files offline: with the files, the public key, and nothing else.

Every problem is named with file and line. A file that does not begin with a statement signed by a given key is refused.
"""

import itertools
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llmaas_gateway.audit.file_check import Anchors, FileCheck, Problem, read_signed
from llmaas_gateway.audit.signing import Signed, Verifier


@dataclass
class Report:
    """What a verification found.

    Attributes:
        files: that were read.
        records: in them.
        problems: empty if everything holds.
        notes: what the files given cannot show.
    """

    files: int = 0
    records: int = 0
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Only if something was verified and nothing was wrong."""
        return self.records > 0 and not self.problems


def verify_files(paths: Iterable[Path], verifier: Verifier) -> Report:
    """Verify files of one or several exports together."""
    report = Report()
    manifests: list[tuple[Path, Signed]] = []
    checks: list[FileCheck] = []
    for path in paths:
        report.files += 1
        signed = read_signed(path, verifier, report.problems)
        if signed is None:
            continue
        if signed.statement["is"] == "manifest":
            manifests.append((path, signed))
        else:
            checks.append(FileCheck(path, signed, verifier, report.problems))
    # The platform's own files first: their anchors say what all other streams were.
    anchors: Anchors = defaultdict(dict)
    for check in sorted(checks, key=lambda check: (check.statement["tenant"] != "", str(check.path))):
        check.run(anchors)
        report.records += check.records
        report.notes += check.notes
    _check_streams(checks, anchors, report)
    _check_manifests(manifests, checks, report)
    if not report.records and not report.problems:
        report.problems.append(Problem("", 0, "no record in any of the files; nothing was shown"))
    return report


def _check_streams(checks: Sequence[FileCheck], anchors: Anchors, report: Report) -> None:
    by_stream: dict[str, list[FileCheck]] = defaultdict(list)
    for check in checks:
        by_stream[check.statement["stream"]].append(check)
    for stream, files in sorted(by_stream.items()):
        files.sort(key=lambda check: (check.statement["first"], str(check.path)))
        for before, after in itertools.pairwise(files):
            _check_joint(before, after, report.problems)
        _note_removals(files, report.notes)
        first, last = files[0].statement, files[-1].statement
        if first["first"] > first["oldest"]:
            report.notes.append(
                f"{files[0].path}: records {first['oldest']} to {first['first'] - 1} are in no given file"
            )
        for number, (_, where) in anchors.get(stream, {}).items():
            # The platform's chain vouches for a record that the stream did not have any more when it was exported.
            if number > last["newest"]:
                text = f"records {last['newest'] + 1} to {number} are gone; {where} has an anchor of them"
                report.problems.append(Problem(str(files[-1].path), 1, text))
                break
    absent = len(set(anchors) - set(by_stream))
    if absent:
        report.notes.append(f"{absent} streams that the platform's anchors name are in no given file")


def _note_removals(files: Sequence[FileCheck], notes: list[str]) -> None:
    """What is gone by a signature of the platform alone: whoever reads it can ask whether its time was over."""
    last: dict[str, tuple[str, dict[str, Any]]] = {}
    for check in files:
        for reason, statement in check.removals.items():
            if reason not in last or statement["last"] >= last[reason][1]["last"]:
                last[reason] = (str(check.path), statement)
    for reason, (path, statement) in sorted(last.items()):
        what = f"{statement['last']} records, recorded until {statement.get('until')}, were deleted by retention"
        if reason == "erasure":
            what = f"the personal parts of {statement['last']} records were deleted by an erasure"
        notes.append(f"{path}: {what}, signed on {statement['signed_at']}")


def _check_joint(before: FileCheck, after: FileCheck, problems: list[Problem]) -> None:
    end, start = before.statement, after.statement
    where = str(after.path)
    if start["first"] > end["last"] + 1:
        gone = f"records {end['last'] + 1} to {start['first'] - 1}"
        problems.append(Problem(where, 1, f"{gone} are missing between {before.path} and this file"))
    elif start["first"] <= end["last"]:
        problems.append(Problem(where, 1, f"holds records that are in {before.path} too; give one of the two"))
    elif start["previous"] != end["hash"]:
        problems.append(Problem(where, 1, f"does not follow {before.path}: one of the two was replaced"))


def _check_manifests(manifests: Sequence[tuple[Path, Signed]], checks: Sequence[FileCheck], report: Report) -> None:
    given = {_identity(check.statement) for check in checks}
    for path, signed in manifests:
        for listed in signed.statement["files"]:
            if _identity(listed) not in given:
                text = f"lists {listed['name']}, which is not among the given files or is another than was exported"
                report.problems.append(Problem(str(path), 1, text))
    if not manifests:
        report.notes.append("no manifest is among the files: a whole file that was left out would not show")


def _identity(statement: Any) -> str:
    return json.dumps([statement[name] for name in ("stream", "first", "last", "hash")])
