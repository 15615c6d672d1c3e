"""Commands that make changed files take effect, due until they have succeeded for the files as they are.

A record of each lies on the host. A run that ends between writing a file and what the file needs, by a failure or by a
kill, so leaves it to the next run, which finds the file as it should be.
"""

from __future__ import annotations

import hashlib
import json
import os
from typing import Any

from ansible_collections.llmaas.host.plugins.module_utils.commands import output

RECORDS = "/var/lib/llmaas/applied"

# Documentation of the option, for the modules that have it.
APPLY = {"type": "list", "elements": "dict", "default": []}


def state_of(paths: list[str]) -> dict[str, int | None]:
    """Path -> when its content, mode or owner was last written (ns); None where nothing is."""
    return {path: os.lstat(path).st_ctime_ns if os.path.lexists(path) else None for path in paths}


def record_of(command: str) -> str:
    """Where it is written down for which files a command was run."""
    return os.path.join(RECORDS, hashlib.sha256(command.encode()).hexdigest()[:16] + ".json")


def is_due(command: str, files: dict[str, int | None]) -> bool:
    """Whether a command was not run for files in this state; a record that cannot be read is none."""
    try:
        with open(record_of(command), encoding="utf-8") as file:
            return bool(json.load(file) != {"command": command, "files": files})
    except (FileNotFoundError, ValueError):
        return True


def remember(command: str, files: dict[str, int | None]) -> None:
    """Write down that a command was run for files in this state, to be read by people, too."""
    os.makedirs(RECORDS, exist_ok=True)
    path = record_of(command)
    with open(f"{path}.new", "w", encoding="utf-8") as file:
        json.dump({"command": command, "files": files}, file)
    os.replace(f"{path}.new", path)


def apply(entries: list[dict[str, Any]], paths: list[str], *, check: bool) -> list[str]:
    """Run what is due of ``entries``, each with ``command`` and ``of``; the commands that were or would be run.

    One without ``of`` belongs to all ``paths``. One whose ``only_with`` is not there has nothing to act on yet: what
    comes later starts with the files as they are. The first that fails raises ValueError, and it stays due.
    """
    done = []
    for entry in entries:
        # before the command: a file that is written while it runs makes it due again
        command, files = entry["command"], state_of(entry.get("of", paths))
        if not is_due(command, files):
            continue
        acts = not entry.get("only_with") or os.path.lexists(entry["only_with"])
        if acts:
            done.append(command)
        if check:
            continue
        if acts:
            output("/bin/sh", "-euc", command)
        remember(command, files)
    return done
