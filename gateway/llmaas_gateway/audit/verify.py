"""Verifies exported audit files offline: with the files, the public key, and nothing else.

Every problem is named with file and line. A file that does not begin with a statement signed by a given key is refused.
"""

import itertools
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llmaas_gateway.audit.file_check import Anchors, FileCheck
from llmaas_gateway.audit.file_lines import Problem, read_signed
from llmaas_gateway.audit.manifest_check import ManifestCheck, removal_text
from llmaas_gateway.audit.signing import Verifier


@dataclass
class Report:
    """What a verification found.

    Attributes:
        files: that were read.
        records: in them.
        problems: empty if everything holds.
        covers: what each manifest says that its files are.
        notes: what the files given cannot show, and what is gone by a signature of the platform.
    """

    files: int = 0
    records: int = 0
    problems: list[Problem] = field(default_factory=list)
    covers: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Only if something was verified and nothing was wrong."""
        return self.records > 0 and not self.problems


def verify_files(paths: Iterable[Path], verifier: Verifier) -> Report:
    """Verify files of one or several exports together."""
    report = Report()
    manifests: list[ManifestCheck] = []
    checks: list[FileCheck] = []
    for path in paths:
        report.files += 1
        signed = read_signed(path, verifier, report.problems)
        if signed is None:
            continue
        if signed.statement["is"] == "manifest":
            manifests.append(ManifestCheck(path, signed.statement, verifier, report.problems, report.notes))
        else:
            checks.append(FileCheck(path, signed, verifier, report.problems))
    # The platform's acts first: their anchors say what all other streams were.
    anchors: Anchors = defaultdict(dict)
    for check in sorted(checks, key=lambda check: (not check.anchors_others, str(check.path))):
        check.run(anchors)
        report.records += check.records
        report.notes += check.notes
    _check_streams(checks, anchors, report)
    for manifest in manifests:
        manifest.run(checks, anchors)
        report.covers.append(manifest.covers())
    if not manifests:
        report.notes.append("no manifest is among the files: a whole file that was left out would not show")
    if not report.records and not report.problems:
        report.problems.append(Problem("", 0, "no record in any of the files; nothing was shown"))
    return report


def _check_streams(checks: Sequence[FileCheck], anchors: Anchors, report: Report) -> None:
    by_stream: dict[str, list[FileCheck]] = defaultdict(list)
    for check in checks:
        by_stream[check.statement["stream"]].append(check)
    for stream, files in sorted(by_stream.items()):
        files.sort(key=lambda check: (check.statement["first"], str(check.path)))
        furthest = files[0]
        for check in files[1:]:
            _check_joint(furthest, check, report)
            furthest = max(furthest, check, key=lambda each: int(each.statement["last"]))
        _note_removals(files, report.notes)
        _check_ends(files, report.problems)
        first, newest = files[0].statement, max(check.statement["newest"] for check in files)
        last = max(files, key=lambda check: int(check.statement["last"]))
        for path, start, end in (
            (files[0].path, first["oldest"], first["first"] - 1),
            (last.path, last.statement["last"] + 1, newest),
        ):
            if start <= end:
                report.notes.append(f"{path}: records {start} to {end} are in no given file")
        for number, anchor in anchors.get(stream, {}).items():
            # The platform's chain vouches for a record that the stream did not have any more when it was exported.
            if number > newest:
                text = f"records {newest + 1} to {number} are gone; {anchor.where} has an anchor of them"
                report.problems.append(Problem(str(last.path), 1, text))
                break
    absent = len(set(anchors) - set(by_stream))
    if absent:
        report.notes.append(f"{absent} streams that the platform's anchors name are in no given file")


def _note_removals(files: Sequence[FileCheck], notes: list[str]) -> None:
    """Each once, although every file of a chain has them."""
    last: dict[str, tuple[Path, Mapping[str, Any]]] = {}
    for check in files:
        for reason, statement in check.removals.items():
            if reason not in last or statement["last"] >= last[reason][1]["last"]:
                last[reason] = (check.path, statement)
    notes.extend(removal_text(str(path), statement) for _, (path, statement) in sorted(last.items()))


def _check_ends(files: Sequence[FileCheck], problems: list[Problem]) -> None:
    """A chain only grows: what an export says its last record is cannot be before what an earlier one says."""
    for before, after in itertools.pairwise(sorted(files, key=lambda check: check.exported_at)):
        start, end = after.statement["newest"] + 1, before.statement["newest"]
        if start <= end:
            text = f"records {start} to {end} are gone; {before.path} says that they were there before"
            problems.append(Problem(str(after.path), 1, text))


def _check_joint(before: FileCheck, after: FileCheck, report: Report) -> None:
    end, start = before.statement, after.statement
    first, last = start["first"], min(start["last"], end["last"])
    text = ""
    if first > end["last"] + 1:
        text = f"records {end['last'] + 1} to {first - 1} are missing between {before.path} and this file"
    elif first <= last:
        for one, other in zip(before.hashes(first, last), after.hashes(first, last), strict=False):
            if one != other:
                number = min(one[0], other[0])
                text = f"record {number} is not the one that is in {before.path}: one of the two was replaced"
                break
        else:
            report.notes.append(f"{after.path}: records {first} to {last} are in {before.path} too, and the same")
    elif start["previous"] != end["hash"]:
        text = f"does not follow {before.path}: one of the two was replaced"
    if text:
        report.problems.append(Problem(str(after.path), 1, text))
