#!/usr/bin/python3
"""llmaas-logs: keeps, watches, verifies, searches and exports the logs of a log host."""

import argparse
import hashlib
import json
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

sys.path[:0] = ["/usr/local/lib/llmaas/logs", str(Path(__file__).parent)]

from log_store import DayFile, Settings, Store, StoreError, utc_now  # noqa: E402
from log_watch import look  # noqa: E402

SETTINGS = Path("/etc/llmaas/logs/host.json")
FAULTS = (StoreError, OSError, ValueError, KeyError)


def keep(store: Store, _arguments: argparse.Namespace) -> int:
    """Make the files for days to come, close those that are over, delete those whose time is over.

    A step that fails keeps none of the others from its work; exit code 2 if one did.
    """
    now, failed = utc_now(), False
    for step in (store.prepare, store.close, store.expire):
        try:
            for line in step(now) or ():
                print(line, flush=True)
        except FAULTS as error:
            failed = True
            complain(error)
    return 2 if failed else 0


def complain(error: Exception) -> None:
    """Say what is wrong where the unit's failure is looked up."""
    print(f"llmaas-logs: {type(error).__name__}: {error}", file=sys.stderr)


def watch(store: Store, _arguments: argparse.Namespace) -> int:
    """Exit code 1, with the reasons, when logs stopped or are missing, or there is no room."""
    problems = look(store.settings, utc_now()).problems()
    for problem in problems:
        print(problem, file=sys.stderr)
    return int(bool(problems))


def verify(store: Store, _arguments: argparse.Namespace) -> int:
    """Exit code 1, with the places, when closed days are not as they were closed."""
    problems = store.verify()
    for problem in problems:
        print(problem, file=sys.stderr)
    if not problems:
        print("every closed day is as it was closed")
    return int(bool(problems))


def chosen(store: Store, arguments: argparse.Namespace) -> Iterator[DayFile]:
    """The files that the arguments name and that hold anything; one that is closed right now stands once."""
    files = {(file.day, file.sender): file for file in store.files()}
    for file in files.values():
        in_time = (arguments.since or file.day) <= file.day <= (arguments.until or file.day)
        if in_time and arguments.sender in {None, file.sender} and file.path.stat().st_size:
            yield file


def search(store: Store, arguments: argparse.Namespace) -> int:
    """Print the lines that a regular expression matches; exit code 1 when there is none."""
    pattern, found = re.compile(arguments.pattern.encode()), False
    for file in chosen(store, arguments):
        rest = b""
        for piece in file.content():
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                if pattern.search(line):
                    found = True
                    sys.stdout.buffer.write(line + b"\n")
    return int(not found)


def export(store: Store, arguments: argparse.Namespace) -> int:
    """Copy logs, the chain and a list of hashes into a new folder, for somebody who checks them elsewhere."""
    folder: Path = arguments.folder
    folder.mkdir(parents=True, mode=0o700)
    hashes = {}
    for path in (*(file.path for file in chosen(store, arguments)), store.chain):
        if path.exists():
            target = folder / path.relative_to(store.settings.store)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
            hashes[str(target.relative_to(folder))] = hashlib.sha256(target.read_bytes()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(hashes, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    print(f"{len(hashes)} files in {folder}")
    return 0


def main(words: list[str], settings: Path = SETTINGS) -> int:
    """Run one command; its exit code."""
    parser = argparse.ArgumentParser(prog="llmaas-logs", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    made: dict[str, argparse.ArgumentParser] = {}
    command: Callable[[Store, argparse.Namespace], int]
    for command in (keep, watch, verify, search, export):
        name = command.__name__
        made[name] = commands.add_parser(name, help=command.__doc__, description=command.__doc__)
        made[name].set_defaults(command=command)
    made["search"].add_argument("pattern", help="a regular expression")
    made["export"].add_argument("folder", type=Path, help="a folder that does not exist yet")
    for name in ("search", "export"):
        made[name].add_argument("--sender", help="one host alone")
        made[name].add_argument("--since", type=date.fromisoformat, help="first day, as 2026-11-25 (UTC)")
        made[name].add_argument("--until", type=date.fromisoformat, help="last day")
    arguments = parser.parse_args(words)
    try:
        return int(arguments.command(Store(Settings.read(settings)), arguments))
    except (*FAULTS, re.error) as error:
        complain(error)
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
