"""Checks one exported audit file, line by line; see ``verify`` for what several files say together."""

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, NamedTuple

from llmaas_gateway.audit.file_lines import SIGNED_NAMES, LineError, Problem, check_signed, read_lines, read_record
from llmaas_gateway.audit.records import Personal
from llmaas_gateway.audit.signing import Signed, Verifier
from llmaas_gateway.audit.stored import ANCHOR
from llmaas_gateway.chain import GENESIS, Record

# A head that comes so long after its records is told: somebody may have had time to rewrite them.
LATE: Final = timedelta(hours=1)


class Anchor(NamedTuple):
    """What the platform's chain says of a record: its hash, where that stands, and when that file was exported."""

    hash: str
    where: str
    exported_at: datetime


# By stream and number of the record.
Anchors = dict[str, dict[int, Anchor]]


class FileCheck:
    """The check of one file whose first line holds."""

    def __init__(self, path: Path, signed: Signed, verifier: Verifier, problems: list[Problem]) -> None:
        self.path = path
        self.statement = signed.statement
        # The platform's acts; its other chain, of refused calls, is anchored there as a tenant's are.
        self.anchors_others = (self.statement["tenant"], self.statement["kind"]) == ("", "acts")
        self.exported_at = datetime.fromisoformat(self.statement["signed_at"])
        self.records = 0
        self.notes: list[str] = []
        self.removals: dict[str, dict[str, Any]] = {}  # by reason
        self._verifier = verifier
        self._problems = problems
        self._expected: int = self.statement["first"]
        self._previous: str = self.statement["previous"]
        self._missing: dict[int, int] = {}  # number of a record to the line where it was missed
        self._heads = 0
        self._headed = self.statement["first"] - 1
        self._unsigned_since: datetime | None = None
        self._line = 1

    def _say(self, text: str, line: int | None = None) -> None:
        self._problems.append(Problem(str(self.path), self._line if line is None else line, text))

    def run(self, anchors: Anchors) -> None:
        """Check every line; anchors of the platform's stream are added, those of this one compared."""
        try:
            for line, content in read_lines(self.path):
                self._line = line
                if line == 1:
                    continue
                if set(content) == SIGNED_NAMES:
                    self._check_signed(content)
                else:
                    self._check_record(content, anchors)
        except LineError as error:
            self._line, text = error.args
            self._say(text)
            return
        self._check_end()

    def hashes(self, first: int, last: int) -> Iterator[tuple[int, str]]:
        """Numbers and hashes of a part of the records, read anew: a file may have more than memory holds."""
        with suppress(LineError):  # told by ``run``
            for _, content in read_lines(self.path):
                number = content.get("number")
                if isinstance(number, int) and first <= number <= last:
                    yield number, str(content["hash"])

    def _check_signed(self, content: dict[str, Any]) -> None:
        try:
            signed = check_signed(content, self._verifier, ("removal", "head") if self._at_start() else ("head",))
        except ValueError as error:
            self._say(str(error))
            return
        statement = signed.statement
        if statement["stream"] != self.statement["stream"]:
            self._say(f"a signed {statement['is']} of another stream: inserted")
        elif statement["is"] == "removal":
            if self.removals.keys() & {"erasure", statement["reason"]}:
                self._say(f"a second signed removal by {statement['reason']}, or in a wrong place: inserted or moved")
            self.removals[statement["reason"]] = dict(statement)
        else:
            self._check_head(dict(statement))

    def _at_start(self) -> bool:
        return not self.records and not self._heads

    def _check_head(self, head: dict[str, Any]) -> None:
        self._heads += 1
        if head["number"] != self._expected - 1 or head["number"] <= self._headed:
            self._say(f"the signed head of record {head['number']} stands in a wrong place: moved or inserted")
            return
        if head["hash"] != self._previous:
            span = f"{self._headed + 1} to {head['number']}"
            self._say(f"the signed head does not fit: a record of {span} was rewritten, and those after it rechained")
        if self._unsigned_since and datetime.fromisoformat(head["signed_at"]) - self._unsigned_since > LATE:
            self.notes.append(
                f"{self.path}, line {self._line}: records {self._headed + 1} to {head['number']} were signed only on "
                f"{head['signed_at']}, the first was written on {self._unsigned_since.isoformat()}"
            )
        self._headed, self._unsigned_since = head["number"], None

    def _check_record(self, content: dict[str, Any], anchors: Anchors) -> None:
        try:
            record = read_record(content)
        except (ValueError, TypeError, KeyError) as error:
            self._say(f"not a record ({type(error).__name__}: {error}): altered")
            self._expected += 1
            self._previous = str(content["hash"])
            return
        self.records += 1
        if Record.make(record.number, record.at, record.body, record.previous).hash != record.hash:
            self._say(f"record {record.number} was altered: its hash does not fit its content")
        if record.body.get("stream") != self.statement["stream"]:
            self._say(f"record {record.number} is of another stream: inserted")
        self._check_personal(record, content["personal"])
        if self._placed(record):
            recorded_at = datetime.fromisoformat(record.body["recorded_at"])
            if f"{recorded_at.astimezone(UTC):%Y-%m}" != self.statement["month"]:
                self._say(f"record {record.number} is of another month: the database had another time than was hashed")
            self._unsigned_since = self._unsigned_since or recorded_at
            self._check_anchors(record, anchors)

    def _check_beginning(self) -> None:
        gone = self.removals.get("retention")
        oldest = self.statement["oldest"]
        if oldest > (int(gone["last"]) if gone else 0) + 1:
            self._say(f"records before {oldest} are gone without a signed removal", 1)
        elif self.statement["first"] == oldest and self.statement["previous"] != (gone["hash"] if gone else GENESIS):
            self._say("the first record does not follow what was removed before it: records were rewritten", 1)

    def _placed(self, record: Record) -> bool:
        """Whether a record stands where it belongs."""
        number = record.number
        if number < self._expected:
            if self._missing.pop(number, None) is not None:
                self._say(f"record {number} stands after record {self._expected - 1}: reordered")
            else:
                self._say(f"record {number} where {self._expected} belongs: inserted or repeated")
            return False
        if number > self.statement["last"]:
            self._say(f"record {number}, but the file ends with {self.statement['last']}: inserted")
            return False
        if number > self._expected:
            self._missing.update((skipped, self._line) for skipped in range(self._expected, number))
        elif record.previous != self._previous:
            self._say(f"record {number} does not follow the one before it: one of the two was replaced")
        self._expected, self._previous = number + 1, record.hash
        return True

    def _check_personal(self, record: Record, personal: Any) -> None:
        commitment = record.body.get("personal")
        erased = record.number <= int(self.removals.get("erasure", {"last": 0})["last"])
        if personal is None:
            if commitment is not None and not erased:
                self._say(f"record {record.number}: its personal part is gone without a signed erasure: dropped")
            return
        if erased:
            self._say(f"record {record.number}: its personal part is there although the tenant was erased: inserted")
        try:
            fits = Personal(personal["salt"], personal["fields"]).commitment == commitment
            fits = fits and set(personal) == {"salt", "fields"}
        except (KeyError, TypeError):
            fits = False
        if not fits:
            self._say(f"record {record.number}: its personal part was altered")

    def _check_anchors(self, record: Record, anchors: Anchors) -> None:
        wanted = anchors.get(self.statement["stream"], {}).get(record.number)
        if wanted and wanted.hash != record.hash:
            self._say(f"record {record.number} is not the one that {wanted.where} has an anchor of: it was rewritten")
        facts = record.body.get("facts")
        if self.anchors_others and isinstance(facts, dict) and facts.get("action") == ANCHOR:
            try:
                for stream, (number, end_hash) in facts["heads"].items():
                    where = f"{self.path}, line {self._line}"
                    anchors[stream][int(number)] = Anchor(str(end_hash), where, self.exported_at)
            except (AttributeError, KeyError, TypeError, ValueError):
                self._say(f"record {record.number} is no anchor as the platform makes them: altered")

    def _check_end(self) -> None:
        self._check_beginning()
        for line in sorted(set(self._missing.values())):
            numbers = [number for number, place in self._missing.items() if place == line]
            span = f"record {numbers[0]} is" if len(numbers) == 1 else f"{len(numbers)} records from {numbers[0]} are"
            self._say(f"{span} missing before this line: dropped", line)
        last = self.statement["last"]
        if self._expected <= last:
            self._say(f"records {self._expected} to {last} are missing at the end: the file was cut")
        elif self._previous != self.statement["hash"]:
            self._say(f"record {last} is not the last one that was signed: it was replaced")
        for name, found in (("heads", self._heads), ("removals", len(self.removals))):
            if found != self.statement[name]:
                self._say(f"{found} signed {name} where {self.statement[name]} belong: dropped or inserted", 0)
