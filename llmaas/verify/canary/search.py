"""Searches streams, and a host's files and journal. Runs here, and by itself on hosts: standard library only.

On a host it is read from standard input, so that what is searched for stands in no command line and in no log of
commands. It answers one JSON object: where which pattern was found, and what could not be searched.
"""

import gzip
import json
import os
import stat
import subprocess
import tempfile
import time
from typing import Any

CHUNK = 1 << 20
JOURNAL_TRIES = 20
JOURNAL_PAUSE_SECONDS = 0.5


class Finder:
    """Finds names of patterns in a stream that comes in pieces, whatever the case of its letters."""

    def __init__(self, patterns: "dict[str, bytes]") -> None:
        self._patterns = {name: pattern.lower() for name, pattern in patterns.items()}
        self._keep = max(len(pattern) for pattern in self._patterns.values()) - 1
        self._tail = b""
        self.found: set[str] = set()

    def feed(self, piece: bytes) -> None:
        """Search the next piece; a pattern that lies across two pieces is found too."""
        text = self._tail + piece.lower()
        self.found.update(name for name, pattern in self._patterns.items() if pattern in text)
        self._tail = text[-self._keep :]


def search_file(path: str, patterns: "dict[str, bytes]") -> "set[str]":
    """Names of the patterns that a file holds; one that is compressed with gzip is searched as it was."""
    finder = Finder(patterns)
    with open(path, "rb") as file:  # noqa: PTH123 - names of files need not be text
        compressed = file.read(2) == b"\x1f\x8b"
    with gzip.open(path, "rb") if compressed else open(path, "rb") as file:  # noqa: PTH123 - as above
        while piece := file.read(CHUNK):
            finder.feed(piece)
    return finder.found


def changed_files(roots: "list[str]", since: float) -> "tuple[list[str], list[str]]":
    """Regular files below the roots that were changed since a moment, and what could not be looked at."""
    files, problems = [], []

    def note(error: OSError) -> None:
        # What went away meanwhile holds nothing any more.
        if not isinstance(error, FileNotFoundError):
            problems.append(f"{error.filename}: {error.strerror}")

    for root in roots:
        for folder, _, names in os.walk(root, onerror=note):
            for name in names:
                path = os.path.join(folder, name)  # noqa: PTH118 - as above
                try:
                    status = os.lstat(path)
                except OSError as error:
                    note(error)
                    continue
                if stat.S_ISREG(status.st_mode) and max(status.st_mtime, status.st_ctime) >= since:
                    files.append(path)
    return files, problems


def search_files(roots: "list[str]", since: float, patterns: "dict[str, bytes]") -> "dict[str, Any]":
    """Where files below the roots hold a pattern, how many were searched, and what could not be."""
    files, problems = changed_files(roots, since)
    hits = []
    for path in files:
        try:
            hits += [[path, name] for name in sorted(search_file(path, patterns))]
        except FileNotFoundError:
            continue
        except (OSError, EOFError) as error:
            problems.append(f"{path}: {error}")
    return {"hits": hits, "searched": len(files), "problems": problems}


def search_journal(since: float, patterns: "dict[str, bytes]", control: str) -> "tuple[list[str], str]":
    """Names of patterns in the journal since a moment, and why it could not be searched, if so.

    ``control`` is written into it first: a search that does not find what is there is none.
    """
    try:
        subprocess.run(["logger", "-t", "llmaas-verify", control], check=True)
        for _ in range(JOURNAL_TRIES):
            finder = Finder({**patterns, "control": control.encode()})
            command = ["journalctl", "--no-pager", "--all", "--output=export", f"--since=@{int(since)}"]
            with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
                assert process.stdout is not None  # noqa: S101 - it was asked for
                while piece := process.stdout.read(CHUNK):
                    finder.feed(piece)
            if process.returncode:
                return [], f"journalctl ended with code {process.returncode}"
            if "control" in finder.found:
                return sorted(finder.found - {"control"}), ""
            time.sleep(JOURNAL_PAUSE_SECONDS)
    except (OSError, subprocess.SubprocessError) as error:
        return [], str(error)
    return [], "what was just written into it is not there"


def search_host(roots: "list[str]", since: float, patterns: "dict[str, bytes]", control: str) -> "dict[str, Any]":
    """The files and the journal of this host."""
    there = [root for root in roots if os.path.isdir(root)]  # noqa: PTH112 - as above
    with tempfile.NamedTemporaryFile(dir="/var/tmp", prefix="llmaas-verify-") as planted:
        planted.write(control.encode())
        planted.flush()
        answer = search_files(there, since, {**patterns, "control": control.encode()})
        hits = answer["hits"]
        if [planted.name, "control"] not in hits:
            answer["problems"].append("files: what was just written into one was not found")
        answer["hits"] = [hit for hit in hits if hit[1] != "control"]
    found, problem = search_journal(since, patterns, control)
    answer["hits"] += [["journal", name] for name in found]
    if problem:
        answer["problems"].append(f"journal: {problem}")
    return answer


def program(order: str) -> str:
    """This module as a program that does what ``order`` (JSON) says, for ``python3 -`` on a host."""
    with open(__file__, encoding="utf-8") as file:  # noqa: PTH123 - as above
        text = file.read()
    return text.replace('\nORDER_TEXT = ""\n', f"\nORDER_TEXT = {order!r}\n", 1)


# What ``program`` puts in.
ORDER_TEXT = ""

if __name__ == "__main__":
    ORDER = json.loads(ORDER_TEXT)
    PATTERNS = {name: bytes.fromhex(pattern) for name, pattern in ORDER["patterns"].items()}
    print(json.dumps(search_host(ORDER["roots"], ORDER["since"], PATTERNS, ORDER["control"])))
