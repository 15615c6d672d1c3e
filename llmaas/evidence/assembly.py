"""Everything that evidence says, put together before any of it is written."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

from llmaas.evidence.control_map import ControlMap
from llmaas.evidence.exceptions import Exemption
from llmaas.evidence.existing import EMULATED, LIVE, covers
from llmaas.evidence.gathering import Gathered
from llmaas.evidence.judgement import Judged, Result, judge_checks, judge_requirements
from llmaas.hardening.record import Judgement, recorded_scores
from llmaas.settings import Platform
from llmaas.verify import Verdict
from llmaas.verify.inputs import digest_of

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
        differences: what records were made against that is not so any more.
        others: by their names in the map, checks of hosts that prove no requirement, without those that a proof names.
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
    differences: tuple[str, ...] = ()
    others: Mapping[str, Result] = field(default_factory=dict)

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
    inputs = dict(sorted({**gathered.verdict.inputs, MAP_COPY: digest_of(map_file)}.items()))
    judgements = recorded_scores(platform.environment, (machine.name for machine in platform.machines))
    source = Source(gathered.verdict.commit, bool(gathered.verdict.changes))
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
        gathered.differences,
        _others(control_map, gathered),
    )


def _others(control_map: ControlMap, gathered: Gathered) -> dict[str, Result]:
    names = [entry.check for entry in control_map.unmapped if entry.check.startswith((*LIVE, *EMULATED))]
    rows = [row for row in gathered.verdict.checks if not any(covers(name, row.test) for name in control_map.checks)]
    return judge_checks(names, rows, gathered.absent, gathered.otherwise)
