"""A pytest plugin that reports each check on the descriptor in ``LLMAAS_VERIFY_FD``.

Every check that there is to run is told as ``not run`` before any begins, those that were left out too; what is told as
it ends takes the place of that. So a run that is killed leaves nothing out.

A skipped or expected failure is ``not run``: a check that cannot run has shown nothing. ``note`` adds figures. What a
check records as property ``EXCEPTION`` stands with its row: what it let pass because somebody granted so.
"""

import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import pytest

from llmaas.verify.verdict import LEFT_OUT, NOT_REACHED

DESCRIPTOR: Final = "LLMAAS_VERIFY_FD"
EXCEPTION: Final = "exception"
REASON_CHARACTERS: Final = 600
_TITLE: Final = re.compile(r"(?:^|/)test_(?P<file>\w+)\.py::test_(?P<name>\w+)(?:\[(?P<subject>.*)\])?$")


@pytest.hookimpl
def pytest_deselected(items: Iterable[pytest.Item]) -> None:
    """Checks that the run was not asked for."""
    for item in items:
        _send(item.nodeid, "not run", 0.0, LEFT_OUT)


@pytest.hookimpl
def pytest_collection_finish(session: pytest.Session) -> None:
    """All checks that will run are known, and none has begun."""
    for item in session.items:
        _send(item.nodeid, "not run", 0.0, NOT_REACHED)


@pytest.hookimpl
def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """A test ended, or could not begin."""
    if report.when == "call" or report.outcome != "passed":
        outcome = "not run" if report.skipped else report.outcome
        # What fails before or after the test itself has shown nothing either, but needs a repair: failed.
        exceptions = [str(text) for name, text in report.user_properties if name == EXCEPTION]
        _send(report.nodeid, outcome, report.duration, _reason(report), exceptions)


@pytest.hookimpl
def pytest_collectreport(report: pytest.CollectReport) -> None:
    """A file of checks could not be read."""
    if report.outcome != "passed":
        _send(report.nodeid, "not run" if report.skipped else "failed", 0.0, str(report.longrepr))


def note(figures: Mapping[str, str]) -> None:
    """Tell what a check counted, by name; where nobody listens it is told to nobody."""
    if DESCRIPTOR in os.environ:
        _write({"figures": dict(figures)})


def _send(node: str, outcome: str, seconds: float, reason: str, exceptions: Sequence[str] = ()) -> None:
    found = _TITLE.search(node)
    area, name, subject = (found["file"], found["name"], found["subject"] or "") if found else (node, "can be read", "")
    line = {
        "area": area.replace("_", " "),
        "subject": subject,
        "invariant": name.replace("_", " "),
        "outcome": outcome,
        "seconds": round(seconds, 2),
        # Why a check was left out is said at the beginning; what an error comes to, at its end.
        "reason": (reason[:REASON_CHARACTERS] if outcome == "not run" else reason[-REASON_CHARACTERS:]).strip(),
        "test": node.partition("[")[0],
        "exceptions": list(exceptions),
    }
    _write(line)


def _write(line: Mapping[str, object]) -> None:
    os.write(int(os.environ[DESCRIPTOR]), (json.dumps(line) + "\n").encode())


def _reason(report: pytest.TestReport) -> str:
    if report.outcome == "passed":
        return ""
    if isinstance(report.longrepr, tuple):
        return str(report.longrepr[2])
    crash = getattr(report.longrepr, "reprcrash", None)
    return str(crash.message) if crash is not None else str(report.longrepr)
