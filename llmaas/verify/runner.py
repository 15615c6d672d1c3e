"""Runs the checks in a process of their own and gathers what they report."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from llmaas.paths import ENVIRONMENT_VARIABLE, PROJECT_ROOT, stack_file, state_dir
from llmaas.verify.inputs import Inputs, differences, digest_of, inputs_of, with_inputs
from llmaas.verify.recorder import DESCRIPTOR
from llmaas.verify.verdict import Check, Verdict

FOLDERS: Final = ("host", "api")
# 0: all passed, 1: some failed; everything else means that the run itself broke.
USUAL_CODES: Final = frozenset({0, 1})


def run_checks(
    environment: str,
    on_check: Callable[[Check], None],
    folders: Sequence[str] = FOLDERS,
    only: str | None = None,
    tests: Path = PROJECT_ROOT / "tests",
) -> Verdict:
    """Run the checks of ``folders`` below ``tests`` that match ``only`` (pytest's ``-k``); each is told as it ends.

    A folder may be a file of tests as well. What was left out or not reached stands in the verdict and is not told.

    The log of the run lies in the environment's ``logs/verify.log``.
    """
    logs = state_dir(environment) / "logs"
    logs.mkdir(exist_ok=True)
    log = logs / "verify.log"
    command = [sys.executable, "-m", "pytest", "-p", "llmaas.verify.recorder", "-p", "no:cacheprovider", "-q"]
    # A file that cannot be read fails by itself; the others are tried all the same.
    command += ["--continue-on-collection-errors"]
    command += [str(tests / folder) for folder in folders]
    if only:
        command += ["-k", only]
    reading, writing = os.pipe()
    variables = {**os.environ, DESCRIPTOR: str(writing), ENVIRONMENT_VARIABLE: environment}
    started, stack, inputs = _now(), stack_digest(environment), inputs_of(environment)
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=PROJECT_ROOT, env=variables, stdout=output, stderr=output, pass_fds=(writing,)
        )
        os.close(writing)
        ended, collected, figures = [], {}, dict[str, str]()
        for said in _reported(reading):
            if "figures" in said:
                figures |= said["figures"]
                continue
            check = Check(**{**said, "exceptions": tuple(said["exceptions"])})
            if check.begun:
                ended.append(check)
                on_check(check)
            else:
                collected[check.test, check.subject] = check
        code = process.wait()
    over = {(check.test, check.subject) for check in ended}
    checks = (*ended, *(check for name, check in collected.items() if name not in over))
    problems = [_problem(code, ended, log), _changed(inputs, inputs_of(environment))]
    problem = "; ".join(each for each in problems if each)
    verdict = Verdict(environment, checks, problem, started, _now(), stack, len(collected), figures)
    return with_inputs(verdict, inputs)


def stack_digest(environment: str) -> str:
    """SHA-256 of the environment's stack file; empty if there is none."""
    try:
        return digest_of(stack_file(environment))
    except FileNotFoundError:
        return ""


def _changed(before: Inputs, after: Inputs) -> str:
    """What nobody can say any more which check was held against it; empty if nothing was changed."""
    found = ", ".join(differences(before, after))
    return f"while the checks ran, {found}; run them again" if found else ""


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _reported(descriptor: int) -> Iterator[dict[str, Any]]:
    with os.fdopen(descriptor, encoding="utf-8") as lines:
        for line in lines:
            # A run that is killed may leave a line cut off.
            if line.endswith("\n"):
                yield json.loads(line)


def _problem(code: int, checks: Sequence[Check], log: Path) -> str:
    if code not in USUAL_CODES:
        return f"the run ended with code {code} before its end; read {log}"
    if not checks:
        return f"no check ran; read {log}"
    return ""
