"""Everything that evidence says, put together before any of it is written."""

import hashlib
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from llmaas.evidence.control_map import ControlMap
from llmaas.evidence.exceptions import Exemption
from llmaas.evidence.gathering import Gathered
from llmaas.evidence.judgement import Judged, Result, judge_checks, judge_requirements
from llmaas.hardening.record import Judgement, recorded_scores
from llmaas.materials import lock_file, price_book_file
from llmaas.paths import PROJECT_ROOT, stack_file
from llmaas.settings import Platform, hardening, updates
from llmaas.verify import Verdict

# What the control map is called within a folder of evidence.
MAP_COPY: Final = "control-map.yaml"


@dataclass(frozen=True)
class Source:
    """The version of the software: ``commit`` is empty where it is not known; ``changed`` since that commit."""

    commit: str
    changed: bool


@dataclass(frozen=True)
class Evidence:
    """All that is written.

    Attributes:
        platform: what was declared.
        control_map: what is asked for.
        map_file: where that was read.
        verdict: every row of every check.
        results: by the names of checks in the map.
        judged: every requirement.
        inputs: file -> SHA-256 of what was judged.
        source: the software that judged.
        key: the id of the key that signs.
        judgements: what OpenSCAP said of hosts, as it is on record; the first and the latest time of each.
        exemptions: the exceptions in force.
    """

    platform: Platform
    control_map: ControlMap
    map_file: Path
    verdict: Verdict
    results: Mapping[str, Result]
    judged: tuple[Judged, ...]
    inputs: Mapping[str, str]
    source: Source
    key: str
    judgements: tuple[Judgement, ...] = ()
    exemptions: tuple[Exemption, ...] = ()

    @property
    def ended(self) -> datetime:
        """When the last check had ended."""
        return datetime.fromisoformat(self.verdict.ended)


def assemble(platform: Platform, control_map: ControlMap, map_file: Path, gathered: Gathered, key: str) -> Evidence:
    """Judge what was gathered; ``key`` is the id of the key that will sign.

    Raises:
        ScoreRecordError: judgements of OpenSCAP are on record and cannot be read.
    """
    results = judge_checks(control_map.checks, gathered.verdict.checks, gathered.absent, gathered.otherwise)
    judged = judge_requirements(control_map, results, gathered.exemptions)
    inputs = input_digests(platform, map_file)
    judgements = recorded_scores(platform.environment, (machine.name for machine in platform.machines))
    source = source_of(PROJECT_ROOT)
    return Evidence(
        platform,
        control_map,
        map_file,
        gathered.verdict,
        results,
        judged,
        inputs,
        source,
        key,
        judgements,
        gathered.exemptions,
    )


def input_digests(platform: Platform, map_file: Path) -> dict[str, str]:
    """File -> SHA-256, of the map and of what counts beside the stack file; what is not there yet is left out."""
    stack = stack_file(platform.environment)
    promises = stack.with_name(f"promises.{platform.environment}.jsonl")
    beside = [stack.with_name(name) for name in (hardening.FILE, updates.FILE, "gpu-runtime.yaml")]
    files = {
        f"stacks/{path.name}": path
        for path in (stack, lock_file(platform), price_book_file(platform.environment), promises, *beside)
    }
    files |= {MAP_COPY: map_file, "uv.lock": PROJECT_ROOT / "uv.lock"}
    return {name: digest_of(path) for name, path in sorted(files.items()) if path.exists()}


def digest_of(path: Path) -> str:
    """SHA-256 of a file in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def source_of(root: Path) -> Source:
    """What version control says of ``root``; nothing where there is none."""
    commit = _git(root, "rev-parse", "HEAD")
    return Source(commit, bool(commit and _git(root, "status", "--porcelain", "--untracked-files=no")))


def _git(root: Path, *arguments: str) -> str:
    try:
        found = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return found.stdout.strip()
