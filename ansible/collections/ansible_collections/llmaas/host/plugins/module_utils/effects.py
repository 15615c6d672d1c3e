"""Commands that make changed files take effect, due until they have succeeded for the files as they are.

A record of each lies on the host. A run that ends between writing a file and what the file needs, by a failure or by a
kill, so leaves it to the next run, which finds the file as it should be.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from typing import Any

RECORDS = "/var/lib/llmaas/applied"

# Documentation of the option, for the modules that have it.
APPLY = {"type": "list", "elements": "dict", "default": []}


def state_of(paths: list[str]) -> dict[str, int | None]:
    """Path -> when its content, mode or owner was last written (ns); None where nothing is."""
    return {path: os.lstat(path).st_ctime_ns if os.path.lexists(path) else None for path in paths}


def record_of(command: str) -> str:
    """Where it is written down for which files a command was run."""
    return os.path.join(RECORDS, hashlib.sha256(command.encode()).hexdigest()[:16] + ".json")


def content_of(command: str, files: dict[str, int | None]) -> dict[str, Any]:
    """A record, which says to people, too, what it is of."""
    return {"command": command, "files": files}


def is_due(command: str, paths: list[str]) -> bool:
    """Whether any of the files was written since the command was run for them; a record that cannot be read is none."""
    try:
        with open(record_of(command), encoding="utf-8") as file:
            return bool(json.load(file) != content_of(command, state_of(paths)))
    except (FileNotFoundError, ValueError):
        return True


def remember(command: str, files: dict[str, int | None]) -> None:
    """Write down that a command was run for files in this state."""
    os.makedirs(RECORDS, exist_ok=True)
    path = record_of(command)
    with open(f"{path}.new", "w", encoding="utf-8") as file:
        json.dump(content_of(command, files), file)
    os.replace(f"{path}.new", path)


def run_for(command: str, paths: list[str]) -> None:
    """Run a command of the shell and remember it; a failure raises with what it said, and it stays due."""
    files = state_of(paths)
    done = subprocess.run(["/bin/sh", "-euc", command], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ValueError(f"{command}: exit code {done.returncode}: {(done.stderr or done.stdout).strip()}")
    remember(command, files)


def apply(entries: list[dict[str, Any]], *, check: bool) -> list[str]:
    """Run what is due of ``entries``, each with ``command`` and ``of``; the commands that were or would be run.

    One whose ``only_with`` is not there has nothing to act on yet: what comes later starts with the files as they are.
    """
    done = []
    for entry in entries:
        command, paths = entry["command"], entry["of"]
        if not is_due(command, paths):
            continue
        if entry.get("only_with") and not os.path.lexists(entry["only_with"]):
            if not check:
                remember(command, state_of(paths))
            continue
        if not check:
            run_for(command, paths)
        done.append(command)
    return done
