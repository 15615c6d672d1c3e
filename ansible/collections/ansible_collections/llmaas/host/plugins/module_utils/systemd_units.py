"""Units of systemd: where a host's own lie, which are masked, and how they come to run as their files say."""

from __future__ import annotations

import os
import subprocess
from typing import Any

from ansible_collections.llmaas.host.plugins.module_utils.effects import is_due, remember, state_of

UNITS = "/etc/systemd/system/"
SHOWN = "UnitFileState,ActiveState,NeedDaemonReload"


def is_masked(name: str) -> bool:
    """Whether nothing can start the unit: its name is a link to nothing."""
    path = os.path.join(UNITS, name)
    return os.path.islink(path) and os.readlink(path) == os.devnull


def systemctl(*arguments: str) -> str:
    """Output of systemctl; a failure raises with what it said."""
    done = subprocess.run(["systemctl", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ValueError(f"systemctl {' '.join(arguments)}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def states_of(names: list[str]) -> dict[str, dict[str, str]]:
    """What systemd says of each unit."""
    shown = systemctl("show", f"--property={SHOWN}", *names)
    parts = [dict(line.split("=", 1) for line in part.splitlines()) for part in shown.strip().split("\n\n")]
    return dict(zip(names, parts, strict=True))


def restart_of(unit: dict[str, Any]) -> str:
    """The command under which it is remembered for which files a unit runs."""
    return f"systemctl restart {unit['name']}"


def needed_verb(unit: dict[str, Any], state: dict[str, str]) -> str | None:
    """What makes a unit run as its files now say; None when it does, or need not."""
    if not unit.get("start", True):
        return None
    if unit.get("restart_if") and is_due(restart_of(unit), unit["restart_if"]):
        return "restart"
    return None if state["ActiveState"] in {"active", "activating", "reloading"} else "start"


def ensure_units(units: list[dict[str, Any]], changed: list[str], *, check: bool) -> list[str]:
    """Enable, start and restart units, each with ``name``, ``restart_if`` and ``start``; what was or would be done."""
    if not units:
        return []
    names = [unit["name"] for unit in units]
    states = states_of(names)
    stale = any(state["NeedDaemonReload"] == "yes" for state in states.values())
    if not check and (stale or any(path.startswith(UNITS) for path in changed)):
        systemctl("daemon-reload")
        states = states_of(names)
    disabled = [name for name, state in states.items() if state["UnitFileState"] != "enabled"]
    if disabled and not check:
        # What shall run is started by name below: for the links' sake systemd need not read all units again.
        systemctl("enable", "--no-reload", *disabled)
    done = [f"enable {name}" for name in disabled]
    for unit in units:
        verb = needed_verb(unit, states[unit["name"]])
        if verb is None:
            continue
        if not check:
            files = state_of(unit.get("restart_if", []))
            systemctl(verb, unit["name"])
            if files:
                remember(restart_of(unit), files)
        done.append(f"{verb} {unit['name']}")
    return done
