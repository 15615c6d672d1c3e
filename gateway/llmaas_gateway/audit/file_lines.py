"""Reads lines of exported audit files: each is exactly the text that was exported, or none."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from llmaas_gateway.audit.records import canonical
from llmaas_gateway.audit.signing import Signed, Verifier
from llmaas_gateway.chain import Record

SIGNED_NAMES: Final = {"statement", "key", "signature"}
_RECORD_NAMES: Final = {"number", "at", "body", "previous", "hash", "personal"}
_FIELDS: Final[dict[str, dict[str, type | tuple[type, ...]]]] = {
    "file": {
        **dict.fromkeys(("stream", "kind", "month", "previous", "hash", "signed_at"), str),
        **dict.fromkeys(("first", "last", "oldest", "newest", "heads", "removals"), int),
        "tenant": (str, type(None)),
    },
    "manifest": {"files": list, "since": str, "until": str, "signed_at": str},
    "head": {"stream": str, "number": int, "hash": str, "signed_at": str},
    "removal": {"stream": str, "reason": str, "first": int, "last": int, "signed_at": str},
}


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong, and where. Line 0: the file as a whole."""

    file: str
    line: int
    text: str

    def __str__(self) -> str:
        """As it is printed."""
        place = ", ".join(part for part in (self.file, f"line {self.line}" if self.line else "") if part)
        return f"{place}: {self.text}" if place else self.text


class LineError(ValueError):
    """A line that is nothing an audit file may hold."""


def read_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The lines of a file with their numbers, from 1.

    Raises:
        LineError: the number of a line and what is wrong with it.
    """
    with path.open("rb") as file:
        for place, raw in enumerate(file, 1):
            try:
                text = raw.decode()
                content = json.loads(text)
                exact = canonical(content) + "\n"
            except (ValueError, RecursionError):
                raise LineError(place, "not JSON: the file was cut or corrupted here") from None
            if not isinstance(content, dict) or set(content) not in (SIGNED_NAMES, _RECORD_NAMES):
                raise LineError(place, "neither a record nor a signed statement: inserted or altered")
            if text != exact:
                ending = "" if text.endswith("\n") else "; its end is missing: the file was cut"
                raise LineError(place, f"not the text that was exported: altered{ending}")
            yield place, content


def check_signed(content: dict[str, Any], verifier: Verifier, kinds: tuple[str, ...]) -> Signed:
    """A signed line whose signature holds, of a kind that may stand there; ValueError says what is wrong."""
    statement = content["statement"]
    if not isinstance(statement, dict) or not all(isinstance(content[name], str) for name in ("key", "signature")):
        raise ValueError("not a signed statement")
    signed = Signed(statement, content["key"], content["signature"])
    problem = verifier.problem(signed)
    if problem:
        raise ValueError(problem)
    kind = statement.get("is")
    if kind not in kinds:
        raise ValueError(
            f"a statement of kind {kind!r}, where {' or '.join(kinds)} belongs: dropped, moved or inserted"
        )
    for name, expected in _FIELDS[str(kind)].items():
        if not isinstance(statement.get(name), expected) or isinstance(statement.get(name), bool):
            raise ValueError(f"{name}: not as in this version's statements")  # noqa: TRY004 - told as the others are
    return signed


def read_record(content: dict[str, Any]) -> Record:
    """A record, each of whose parts is exactly what was exported: what is only read as equal is altered."""
    number, at, body = content["number"], datetime.fromisoformat(content["at"]), content["body"]
    texts = (content["previous"], content["hash"], body["recorded_at"], body["stream"])
    if type(number) is not int or not isinstance(body, dict) or not all(isinstance(text, str) for text in texts):
        raise TypeError("a part is of a wrong kind")
    if at.isoformat() != content["at"]:
        raise ValueError("the time is written otherwise")
    if datetime.fromisoformat(body["recorded_at"]).tzinfo is None:
        raise ValueError("the time of recording has no time zone")
    return Record(number, at, body, content["previous"], content["hash"])


def read_signed(path: Path, verifier: Verifier, problems: list[Problem]) -> Signed | None:
    """The statement that a file begins with, or None and a problem."""
    line = 1
    try:
        lines = read_lines(path)
        place, content = next(lines)
        if set(content) != SIGNED_NAMES:
            problems.append(Problem(str(path), place, "no signature: the file must begin with a signed statement"))
            return None
        signed = check_signed(content, verifier, ("file", "manifest"))
        if signed.statement["is"] == "manifest" and next(lines, None) is not None:
            raise LineError(2, "a manifest is one line: inserted")  # noqa: TRY301 - told below with all others
        return signed  # noqa: TRY300 - as above
    except StopIteration:
        text, line = "the file is empty", 0
    except OSError as error:
        text, line = f"cannot be read: {error.strerror}", 0
    except LineError as error:
        line, text = error.args
    except ValueError as error:
        text = str(error)
    problems.append(Problem(str(path), line, text))
    return None
