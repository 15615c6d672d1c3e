"""A tiny platform's worth of checks, run by the real runner, and a control map of them."""

from pathlib import Path
from typing import Final

import yaml

from llmaas.evidence.assembly import Evidence, assemble
from llmaas.evidence.control_map import ControlMap, load_control_map
from llmaas.evidence.gathering import gather
from llmaas.settings import load_platform
from llmaas.verify import Verdict, run_checks

PASSING: Final = """
import pytest
from llmaas.verify.recorder import note

@pytest.mark.parametrize("host", ["gpu-host-01", "gpu-host-02"])
def test_it_is_closed(host): pass

def test_it_is_known(): note({"forbidden connections": "7 tried, 7 found as the flow matrix says"})
"""
MIXED: Final = """
import pytest

def test_it_fails(): assert 1 == 2, "one is not two"

@pytest.mark.parametrize("gpu", ["real", "simulated"])
def test_it_has_a_gpu(gpu):
    if gpu == "simulated": pytest.skip("GPUs are simulated here")

@pytest.fixture
def broken(): raise OSError("no way in")

def test_it_breaks(broken): pass

@pytest.mark.parametrize("host", ["gpu-host-01", "gpu-host-02"])
def test_it_is_counted(host):
    if host == "gpu-host-02": pytest.skip("there is no device to count")
"""
UNREADABLE: Final = "import no_such_module\n\ndef test_never(): pass\n"

MAP: Final = {
    "date": "2026-11-25",
    "proofs": {
        "closed": {"says": "It is closed", "checks": ["tests/host/test_good.py::test_it_is_closed", "preview/plan"]},
        "whole-file": {"says": "All of it", "checks": ["tests/host/test_good.py"]},
        "gpu": {"says": "GPUs are real", "checks": ["tests/host/test_mixed.py::test_it_has_a_gpu"]},
        "fails": {"says": "It fails", "checks": ["tests/host/test_mixed.py::test_it_fails", "preview/plan"]},
        "breaks": {"says": "It breaks", "checks": ["tests/host/test_mixed.py::test_it_breaks"]},
        "unreadable": {"says": "Never", "checks": ["tests/host/test_unreadable.py::test_never"]},
        "absent": {"says": "Nobody ran it", "checks": ["tests/emulated/test_disks.py::test_locked"]},
    },
    "frameworks": [
        {
            "id": "sample-1",
            "title": "Sample <1>",
            "publisher": "Nobody",
            "left_out": "Chapter 2.",
            "left_out_ids": ["2.1.a", "2.1.b"],
            "requirements": [
                {"id": "1.1.a", "title": "Closed", "proofs": ["closed", "whole-file"]},
                {"id": "1.1.b", "title": "Closed and guarded", "proofs": ["closed"], "operator": "the guard's diary"},
                {"id": "1.2", "title": "GPUs", "proofs": ["closed", "gpu"]},
                {"id": "1.3", "title": "Fails", "proofs": ["gpu", "fails"]},
                {"id": "1.4", "title": "Breaks", "proofs": ["breaks"]},
                {"id": "1.5", "title": "Cannot be read", "proofs": ["unreadable"]},
                {"id": "1.6", "title": "Nobody ran it", "proofs": ["absent", "closed"]},
                {"id": "1.7", "title": "A policy is written", "kind": "organisational", "operator": "the policy"},
                {"id": "1.8", "title": "A contract is signed", "kind": "legal", "operator": "the contract"},
            ],
        }
    ],
    "unmapped": [
        {"check": "tests/host/test_mixed.py", "reason": "that GPUs are counted"},
        {"check": "tests/emulated/test_more.py", "reason": "asked once more"},
        {"check": "tests", "reason": "all others of the software"},
        {"check": "policy", "reason": "as above"},
    ],
}
STATES: Final = {
    "1.1.a": "proved",
    "1.1.b": "proved in part",
    "1.2": "not run",
    "1.3": "failed",
    "1.4": "failed",
    "1.5": "failed",
    "1.6": "not run",
    "1.7": "organisational",
    "1.8": "legal",
}


def run_sample(root: Path, *, bad: bool = True, only: str | None = None) -> Verdict:
    """Run the sample's checks as `llmaas verify` does; without ``bad``, those that pass."""
    folder = root / "tests" / "host"
    folder.mkdir(parents=True, exist_ok=True)
    # Names of tests are told from the folder of this file.
    (root / "pytest.ini").write_text("[pytest]\n")
    (folder / "test_good.py").write_text(PASSING)
    if bad:
        (folder / "test_mixed.py").write_text(MIXED)
        (folder / "test_unreadable.py").write_text(UNREADABLE)
    return run_checks("lab", lambda _: None, ["host"], only, tests=root / "tests")


def write_record(verdict: Verdict, path: Path) -> Path:
    """As `llmaas verify --json` prints it."""
    path.write_text(verdict.as_json())
    return path


def write_map(path: Path) -> tuple[ControlMap, Path]:
    """The sample's map as a file, and what is read of it."""
    path.write_text(yaml.safe_dump(MAP, sort_keys=False))
    return load_control_map(path), path


def evidence_of(folder: Path, verdict: Verdict, key: str) -> Evidence:
    """Evidence from the sample's record, of the lab's stack file."""
    platform = load_platform("lab")
    control_map, map_file = write_map(folder / "map.yaml")
    gathered = gather(platform, control_map, lambda _: None, records=[write_record(verdict, folder / "verify.json")])
    return assemble(platform, control_map, map_file, gathered, key)
