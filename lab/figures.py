"""Measures the lab as it runs and writes what it found, with the date and the machine, to docs/figures.md."""

import json
import os
import platform as machine
import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from lab.cgroups import lab_processes
from lab.command import run
from lab.deploy import converge_hosts
from lab.environment import PIPELINING, STRATEGY, demo_key_file, tool_environment
from lab.errors import LabError
from lab.first_token import first_token
from lab.layout import ENVIRONMENT, Layout
from lab.machine import core_speed
from lab.phases import Start, times_file
from llmaas.files import write_atomically
from llmaas.paths import PROJECT_ROOT
from llmaas.settings import load_platform

# Mitogen keeps a Python on each host and has nothing to pipeline: only by Ansible's own strategy is there a difference.
_OWN_STRATEGY: Final = {STRATEGY: "linear"}
_OWN: Final = ", by Ansible's own strategy"
_UNPIPELINED: Final = f"{_OWN} without pipelining"


@dataclass(frozen=True)
class Figure:
    """One measured value beside what it should be; without a ``wanted`` it is only told."""

    what: str
    value: str
    wanted: str
    met: bool | None


def read_figures(path: Path) -> list[Figure]:
    """Figures that another program measured and wrote as JSON: a list of objects with the fields of ``Figure``.

    Raises:
        LabError: the file is missing or of another form.
    """
    try:
        return [Figure(**entry) for entry in json.loads(path.read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError) as error:
        raise LabError(f"{path} holds no figures: {error}", remedy="run: make bench") from error


def measure(layout: Layout, log: Path) -> list[Figure]:
    """Everything that can be measured on a running lab, and the latest times of `make up`.

    Raises:
        LabError: the lab does not run, or a command failed.
    """
    if not demo_key_file(layout).exists():
        raise LabError("the lab does not run", remedy="run: make up")
    return [
        _core(),
        *past_runs(layout),
        _second_converge(layout, log, "", {}, "60 s at most, no change"),
        _second_converge(layout, log, _OWN, _OWN_STRATEGY, ""),
        _second_converge(layout, log, _UNPIPELINED, _OWN_STRATEGY | {PIPELINING: "no"}, ""),
        _preview(layout, log),
        _memory(),
        _first_token(layout),
    ]


def _core() -> Figure:
    """The same loop on every machine: figures of two dates compare only as far as it does."""
    return Figure("one core", core_speed(), "", None)


def write_figures(figures: list[Figure]) -> Path:
    """Write docs/figures.md."""
    path = PROJECT_ROOT / "docs" / "figures.md"
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    where = f"{os.cpu_count()} cores, {memory:.0f} GiB, Linux {machine.release()}"
    marks = {True: "yes", False: "**no**", None: "not measured"}
    rows = [
        f"| {figure.what} | {figure.value} | {figure.wanted or '-'} | {marks[figure.met] if figure.wanted else '-'} |"
        for figure in figures
    ]
    lines = [
        "# Figures",
        "",
        f"Measured by `make bench` on {datetime.now(UTC):%Y-%m-%d %H:%M} UTC. Machine: {where}.",
        "",
        "| what | measured | wanted | met |",
        "| --- | --- | --- | --- |",
        *rows,
        "",
    ]
    write_atomically(path, "\n".join(lines))
    return path


def past_runs(layout: Layout) -> list[Figure]:
    """What is known of earlier runs of `make up`."""
    path = times_file(layout)
    ups = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []
    # those with another strategy are of somebody who measures what Mitogen and pipelining gain
    usual = [entry for entry in ups if not entry.get("strategy") and entry.get("pipelining", True)]
    own = [entry for entry in ups if entry.get("strategy") == _OWN_STRATEGY[STRATEGY]]
    pipelined = [entry for entry in own if entry["pipelining"]]
    others = [entry for entry in own if not entry["pipelining"]]
    by_hand = f"{STRATEGY}={_OWN_STRATEGY[STRATEGY]}"
    return [
        *_bring_up_times(usual),
        _first_converge("", usual, ""),
        _first_converge(_OWN, pipelined, f": make down; {by_hand} make up"),
        _first_converge(_UNPIPELINED, others, f": make down; {by_hand} {PIPELINING}=no make up"),
    ]


def _bring_up_times(ups: list[dict[str, Any]]) -> list[Figure]:
    latest = {entry["start"]: entry for entry in ups}
    limits = {Start.COLD: 1800, Start.WARM: 360, Start.RUNNING: 60}
    found = []
    for start, limit in limits.items():
        entry_of = latest.get(start.value)
        what = f"`make up`, {start.value}"
        if entry_of is None:
            found.append(Figure(what, "no such run yet", f"{limit} s at most", None))
        else:
            value = f"{entry_of['total']:.0f} s ({entry_of['at'][:10]})"
            found.append(Figure(what, value, f"{limit} s at most", entry_of["total"] <= limit))
    return found


def _first_converge(how: str, ups: list[dict[str, Any]], remedy: str) -> Figure:
    """The latest run of Ansible on bare hosts."""
    value = f"no such run yet{remedy}"
    hosts = len(load_platform(ENVIRONMENT).hosts)
    for entry in ups:
        if entry["start"] in {Start.COLD, Start.WARM}:
            value = f"{entry['phases']['ansible']:.0f} s, {hosts} hosts ({entry['at'][:10]})"
    return Figure(f"Ansible, first run{how}", value, "", None)


def _second_converge(layout: Layout, log: Path, how: str, variables: dict[str, str], wanted: str) -> Figure:
    began = time.monotonic()
    hosts, changes = converge_hosts(layout, log, variables)
    seconds = time.monotonic() - began
    value = f"{seconds:.0f} s, {hosts} hosts, {changes} changes"
    met = seconds <= 60 and changes == 0 if wanted else None
    return Figure(f"Ansible, second run{how}", value, wanted, met)


def _preview(layout: Layout, log: Path) -> Figure:
    environment = {**os.environ, **tool_environment(layout)}
    command = ["pulumi", "--non-interactive", "--color", "never", "preview", "--stack", ENVIRONMENT]
    began = time.monotonic()
    run(
        [*command, "--expect-no-changes"],
        cwd=PROJECT_ROOT,
        environment=environment,
        log=log,
        remedy="preview shows a change: read the log",
    )
    seconds = time.monotonic() - began
    return Figure("`pulumi preview`, no change", f"{seconds:.1f} s", "15 s at most", seconds <= 15)


def _memory() -> Figure:
    """Proportional set sizes of all processes of the lab: shared pages are counted once."""
    pids = lab_processes()
    kib = 0
    for pid in pids:
        try:
            text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
        except OSError:
            continue
        match = re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)
        kib += int(match[1]) if match else 0
    gib = kib / 2**20
    return Figure(
        "memory of the whole lab at rest", f"{gib:.1f} GiB in {len(pids)} processes", "18 GiB at most", gib <= 18
    )


def _first_token(layout: Layout) -> Figure:
    through, alone = first_token(layout)
    added = (through - alone) * 1000
    value = f"{added:.0f} ms ({through * 1000:.0f} ms through the edge, {alone * 1000:.0f} ms inside the server's pod)"
    return Figure("first token through the edge, over vLLM direct", value, "+30 ms at most", added <= 30)
