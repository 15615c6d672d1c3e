"""Checks the manifests of exports: which files belong to each, and which chains the database had at its moment."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from llmaas_gateway.audit.file_check import Anchors, FileCheck
from llmaas_gateway.audit.file_lines import Problem, check_signed
from llmaas_gateway.audit.signing import Verifier


@dataclass(frozen=True, slots=True)
class ManifestCheck:
    """The check of one manifest, whose signature holds."""

    path: Path
    statement: Mapping[str, Any]
    verifier: Verifier
    problems: list[Problem]
    notes: list[str]

    def covers(self) -> str:
        """What was asked for, and of which moment the answer is."""
        said, tenant = self.statement, self.statement.get("tenant")
        whose = "everything" if tenant is None else f"what concerns {tenant!r}"
        span = f"recorded from {said['since']} until before {said['until']}"
        return f"{self.path}: {whose} {span}, as on {said['signed_at']}"

    def run(self, checks: Sequence[FileCheck], anchors: Anchors) -> None:
        """Compare with the given files, and with the anchors that the platform's chain had by then."""
        given = {_identity(check.statement) for check in checks}
        for listed in self.statement["files"]:
            if _identity(listed) not in given:
                self._say(f"lists {listed['name']}, which is not among the given files or is another than was exported")
        if "streams" in self.statement:
            shown = {listed["stream"] for listed in self.statement["files"]}
            streams = {each["stream"]: each for each in self.statement["streams"]}
            for stream, each in streams.items():
                # A chain's own file says the same of it.
                if stream not in shown:
                    self._check_beginning(each)
            self._check_anchored(streams, anchors, shown)

    def _say(self, text: str) -> None:
        self.problems.append(Problem(str(self.path), 1, text))

    def _check_beginning(self, listed: Mapping[str, Any]) -> None:
        stream, newest, gone = listed["stream"], listed["newest"], 0
        if listed["removal"] is not None:
            try:
                removal = check_signed(listed["removal"], self.verifier, ("removal",)).statement
            except ValueError as error:
                self._say(f"stream {stream}: its signed removal: {error}")
                return
            if (removal["stream"], removal["reason"]) == (stream, "retention"):
                gone = removal["last"]
                self.notes.append(removal_text(f"{self.path}: stream {stream}", removal))
        oldest = newest + 1 if listed["oldest"] is None else listed["oldest"]
        if oldest > gone + 1:
            self._say(f"stream {stream}: records {gone + 1} to {oldest - 1} are gone without a signed removal")

    def _check_anchored(self, streams: Mapping[str, Mapping[str, Any]], anchors: Anchors, shown: set[str]) -> None:
        moment = datetime.fromisoformat(self.statement["signed_at"])
        for stream, of_stream in sorted(anchors.items()):
            # An anchor in a later export may be of a chain that began after this one.
            numbers = [number for number, anchor in of_stream.items() if anchor.exported_at <= moment]
            if not numbers:
                continue
            last = max(numbers)
            where = of_stream[last].where
            if stream not in streams:
                self._say(f"stream {stream} is gone, without a signed removal; {where} has an anchor of record {last}")
            elif streams[stream]["newest"] < last and stream not in shown:
                gone = f"records {streams[stream]['newest'] + 1} to {last}"
                self._say(f"stream {stream}: {gone} are gone; {where} has an anchor of them")


def removal_text(where: str, removal: Mapping[str, Any]) -> str:
    """What a signed removal says is gone: whoever reads it can ask whether its time was over."""
    what = f"{removal['last']} records, recorded until {removal.get('until')}, were deleted by retention"
    if removal["reason"] == "erasure":
        what = f"the personal parts of {removal['last']} records were deleted by an erasure"
    return f"{where}: {what}, signed on {removal['signed_at']}"


def _identity(statement: Any) -> str:
    return json.dumps([statement[name] for name in ("stream", "first", "last", "hash")])
