"""Units of systemd: where a host's own lie, which are masked, and how they come to run as their files say."""

from __future__ import annotations

import os
from typing import Any

from ansible_collections.llmaas.host.plugins.module_utils.commands import output
from ansible_collections.llmaas.host.plugins.module_utils.effects import is_due, remember, state_of

UNITS = "/etc/systemd/system/"
PACKAGED = "/lib/systemd/system/"
SHOWN = "UnitFileState,ActiveState,NeedDaemonReload"
# Of a unit, what a role may say.
WORDS = {"name", "restart_if", "start", "start_if"}


def refuse_unknown_words(units: list[dict[str, Any]]) -> None:
    """A word that nobody reads would leave a unit as its role does not want it.

    Raises:
        ValueError: a unit has one.
    """
    for unit in units:
        if unknown := sorted(set(unit) - WORDS):
            raise ValueError(f"unit {unit.get('name')}: {', '.join(unknown)} is nothing that can be said of a unit")


def is_masked(name: str) -> bool:
    """Whether nothing can start the unit: its name is a link to nothing."""
    path = os.path.join(UNITS, name)
    return os.path.islink(path) and os.readlink(path) == os.devnull


def ensure_masked(name: str, *, check: bool) -> str | None:
    """Mask a unit as systemd does, by a link to nothing; the path of the link, or None when it is there."""
    if is_masked(name):
        return None
    path = os.path.join(UNITS, name)
    if not check:
        temporary = f"{path}.new"
        os.symlink(os.devnull, temporary)
        os.replace(temporary, path)
    return path


def ensure_held(name: str, *, check: bool) -> str | None:
    """Mask a unit whose package is still to come, so that its installation starts nothing; the path, or None.

    One that is installed is left as it is: it runs, or it is held since before its installation.
    """
    return None if os.path.exists(os.path.join(PACKAGED, name)) else ensure_masked(name, check=check)


def release(units: list[dict[str, Any]], *, check: bool) -> list[str]:
    """Take the masks off units that shall run; the paths of their links."""
    paths = [os.path.join(UNITS, unit["name"]) for unit in units if is_masked(unit["name"])]
    if not check:
        for path in paths:
            os.unlink(path)
    return paths


def states_of(names: list[str]) -> dict[str, dict[str, str]]:
    """What systemd says of each unit."""
    shown = output("systemctl", "show", f"--property={SHOWN}", *names)
    parts = [dict(line.split("=", 1) for line in part.splitlines()) for part in shown.strip().split("\n\n")]
    return dict(zip(names, parts, strict=True))


def read_anew(units: list[dict[str, Any]], changed: list[str], *, check: bool) -> dict[str, dict[str, str]]:
    """Let systemd read the files of units where some were written, now or before; what it then says of each unit."""
    if not units:
        return {}
    names = [unit["name"] for unit in units]
    states = states_of(names)
    stale = any(state["NeedDaemonReload"] == "yes" for state in states.values())
    if not check and (stale or any(path.startswith(UNITS) for path in changed)):
        output("systemctl", "daemon-reload")
        states = states_of(names)
    return states


def restart_of(unit: dict[str, Any]) -> str:
    """The command under which it is remembered for which files a unit runs."""
    return f"systemctl restart {unit['name']}"


def needed_verb(unit: dict[str, Any], state: dict[str, str], files: dict[str, int | None]) -> str | None:
    """What makes a unit run as its files, in this state, now say; None when it does, or need not."""
    if not unit.get("start", True) or ("start_if" in unit and not os.path.exists(unit["start_if"])):
        return None
    if files and is_due(restart_of(unit), files):
        return "restart"
    return None if state["ActiveState"] in {"active", "activating", "reloading"} else "start"


def ensure_units(units: list[dict[str, Any]], states: dict[str, dict[str, str]], *, check: bool) -> list[str]:
    """Enable, start and restart units, each with ``name`` and others of ``WORDS``; what was or would be done."""
    disabled = [name for name, state in states.items() if state["UnitFileState"] != "enabled"]
    if disabled and not check:
        # What shall run is started by name below: for the links' sake systemd need not read all units again.
        output("systemctl", "enable", "--no-reload", *disabled)
    done = [f"enable {name}" for name in disabled]
    for unit in units:
        files = state_of(unit.get("restart_if", []))
        verb = needed_verb(unit, states[unit["name"]], files)
        if verb is None:
            continue
        if not check:
            output("systemctl", verb, unit["name"])
            if files:
                remember(restart_of(unit), files)
        done.append(f"{verb} {unit['name']}")
    return done
