"""What checks are held against: files by their digests, and the version of the software that runs them."""

import hashlib
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from llmaas.materials import lock_file, price_book_file
from llmaas.paths import PROJECT_ROOT, stack_file
from llmaas.settings import SettingsError, hardening, load_platform, updates
from llmaas.settings.recorded import placement_file, promises_file
from llmaas.verify.verdict import Verdict


@dataclass(frozen=True)
class Inputs:
    """All of it, at one moment.

    Attributes:
        files: name -> SHA-256, of what stands beside the stack file and counts; what is not there yet is left out.
        commit: of the software; empty where it is not known.
        changes: SHA-256 of what was changed since that commit or is there beside it; empty if nothing is.
    """

    files: Mapping[str, str]
    commit: str
    changes: str


def inputs_of(environment: str) -> Inputs:
    """What checks of an environment would be held against now."""
    changes = _git(PROJECT_ROOT, "diff", "--binary", "HEAD") + _untracked(PROJECT_ROOT)
    commit = _git(PROJECT_ROOT, "rev-parse", "HEAD").decode()
    return Inputs(file_digests(environment), commit, _digest(changes) if changes else "")


def with_inputs(verdict: Verdict, inputs: Inputs) -> Verdict:
    """The verdict, with what its checks were held against."""
    return replace(verdict, inputs=dict(inputs.files), commit=inputs.commit, changes=inputs.changes)


def file_digests(environment: str) -> dict[str, str]:
    """Name -> SHA-256 of the files that checks of an environment would be held against now; of those that are there."""
    stack = stack_file(environment)
    names = ("prices.recorded.jsonl", hardening.FILE, updates.FILE, "gpu-runtime.yaml")
    paths = [
        stack,
        price_book_file(environment),
        promises_file(environment),
        placement_file(environment),
        *(stack.with_name(name) for name in names),
        *_lock(environment),
    ]
    files = {f"stacks/{path.name}": path for path in paths} | {"uv.lock": PROJECT_ROOT / "uv.lock"}
    return {name: digest_of(path) for name, path in sorted(files.items()) if path.exists()}


def changed_files(then: Mapping[str, str], now: Mapping[str, str]) -> Iterator[str]:
    """What differs between two times, a phrase for each file."""
    for name in sorted(then.keys() | now.keys()):
        if name not in now:
            yield f"{name} is gone"
        elif name not in then:
            yield f"{name} was not there"
        elif then[name] != now[name]:
            yield f"{name} was changed"


def differences(then: Inputs, now: Inputs) -> tuple[str, ...]:
    """What differs between two times, a phrase for each."""
    found = list(changed_files(then.files, now.files))
    if then.commit != now.commit:
        found.append(
            f"the software was at commit {then.commit or '(not known)'} and is at {now.commit or '(not known)'}"
        )
    if then.changes != now.changes:
        found.append("the software's changes that are not committed were others")
    return tuple(found)


def digest_of(path: Path) -> str:
    """SHA-256 of a file in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _lock(environment: str) -> list[Path]:
    try:
        return [lock_file(load_platform(environment))]
    except (SettingsError, OSError):
        return []  # a stack file that is wrong names no lock; whoever reads it says what is wrong


def _untracked(root: Path) -> bytes:
    """Names and digests of files that git neither has nor ignores: roles and tests among them are used all the same.

    Only in the software's folders: what lies beside them, a record or an earlier evidence among it, changes no check.
    """
    folders = [
        f":(literal){name.decode()}"
        for name in _git(root, "ls-tree", "-dz", "--name-only", "HEAD").split(b"\0")
        if name
    ]
    names = _git(root, "ls-files", "--others", "--exclude-standard", "-z", "--", *folders, ":(glob)*.py").split(b"\0")
    paths = [root / name.decode(errors="surrogateescape") for name in sorted(names) if name]
    return b"".join(
        f"{path.relative_to(root)} {digest_of(path)}\n".encode("utf-8", "surrogateescape")
        for path in paths
        if path.is_file()
    )


def _git(root: Path, *arguments: str) -> bytes:
    try:
        found = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return b""
    return found.stdout.strip()
