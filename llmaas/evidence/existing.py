"""Which checks there are: tests by file and function, rules of the policy pack, questions of a preview.

Names: ``tests/host/test_hosts.py::test_no_service_has_failed`` (a test with all its parameters),
``tests/gateway/test_ledger.py`` (a file of tests), ``policy/image-by-digest``, ``preview/plan``.
"""

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from llmaas_policies.pack import RULES

from llmaas.paths import PROJECT_ROOT

TESTS: Final = "tests/"
POLICY: Final = "policy/"
PREVIEW: Final = "preview/"
PREVIEW_SUBJECTS: Final = ("plan", "promises", "prices", "policies", "secrets", "hardening")

# Run against the live environment by `llmaas verify`.
LIVE: Final = ("tests/host/", "tests/api/")
# Need much time; run when they are asked for.
EMULATED: Final = ("tests/emulated/",)


def existing_checks(root: Path = PROJECT_ROOT) -> frozenset[str]:
    """Every check by its finest name, tests below ``root``/tests included."""
    rules = (f"{POLICY}{rule.name}" for rule in RULES)
    subjects = (f"{PREVIEW}{subject}" for subject in PREVIEW_SUBJECTS)
    return frozenset([*_tests(root), *rules, *subjects])


def covers(name: str, check: str) -> bool:
    """Whether ``name`` is the check, or a file or a folder that it stands in."""
    return check == name or check.startswith((f"{name}::", f"{name.rstrip('/')}/"))


def without_name(checks: Iterable[str], names: Iterable[str]) -> list[str]:
    """The checks that no name covers, sorted."""
    known = tuple(names)
    return sorted(check for check in checks if not any(covers(name, check) for name in known))


def _tests(root: Path) -> Iterator[str]:
    tests = root / "tests"
    for path in sorted(tests.rglob("test_*.py")):
        place = path.relative_to(root).as_posix()
        yield from (f"{place}::{name}" for name in _names(path, tests))


def _names(path: Path, tests: Path) -> Iterator[str]:
    """The tests of a file and those that it imports: the checks of live hosts are asked of emulated ones so."""
    for node in ast.parse(path.read_bytes()).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            yield node.name
        elif isinstance(node, ast.ImportFrom) and node.module:
            source = tests / f"{node.module.replace('.', '/')}.py"
            imported = {alias.name for alias in node.names}
            if source.exists():
                yield from (name for name in _names(source, tests) if name in imported or "*" in imported)
