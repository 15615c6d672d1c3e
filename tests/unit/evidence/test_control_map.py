import copy
from pathlib import Path
from string import ascii_lowercase
from typing import Any, Final

import pytest
import yaml
from llmaas_policies.pack import RULES
from unit.evidence.sample import MAP

from llmaas.evidence.control_map import ControlMap, MapError, load_control_map
from llmaas.evidence.existing import EMULATED, LIVE, covers, existing_checks, without_name
from llmaas.evidence.gathering import places_to_run
from llmaas.evidence.judgement import judge_checks, judge_requirements
from llmaas.verify import DECLARED, Check, Outcome

LEAST_TIED = 40
# Every section of SecNumCloud 3.2 and every control of ISO 27001's annex A, written out: none may be left out silently.
SECNUMCLOUD: Final = {
    5: 3,
    6: 5,
    7: 5,
    8: 5,
    9: 7,
    10: 6,
    11: 10,
    12: 14,
    13: 3,
    14: 7,
    15: 5,
    16: 6,
    17: 6,
    18: 4,
    19: 6,
}
# How rules of the policy pack cite the frameworks of the map, and what they cite beside these.
CITED_AS: Final = {
    "SecNumCloud 3.2": "secnumcloud-3.2",
    "CIS Kubernetes": "cis-kubernetes",
    "ANSSI BP-028": "anssi-bp-028",
    "ANSSI GenAI": "anssi-genai",
    "ANSSI TLS": "anssi-tls",
    "ANSSI containers": "anssi-containers",
}
LAWS: Final = {"GDPR art. 5"}
ISO_27001: Final = {5: 37, 6: 8, 7: 14, 8: 34}


@pytest.fixture(scope="module")
def real() -> ControlMap:
    return load_control_map()


@pytest.fixture(scope="module")
def existing() -> frozenset[str]:
    return existing_checks()


def test_every_check_that_the_map_names_exists(real: ControlMap, existing: frozenset[str]) -> None:
    unmapped = [entry.check for entry in real.unmapped]
    gone = [name for name in (*real.checks, *unmapped) if not any(covers(name, check) for check in existing)]
    assert gone == []


def test_every_check_that_exists_is_mapped_or_listed_with_a_reason(real: ControlMap, existing: frozenset[str]) -> None:
    assert without_name(existing, [*real.checks, *(entry.check for entry in real.unmapped)]) == []


def test_no_live_check_is_listed_as_unmapped_by_its_folder(real: ControlMap) -> None:
    folders = [entry.check for entry in real.unmapped if not entry.check.partition("::")[0].endswith(".py")]
    assert not [name for name in folders for live in (*LIVE, *EMULATED) if f"{name}/".startswith(live)]


def test_a_new_check_of_any_kind_would_be_missed(real: ControlMap) -> None:
    new = ["tests/host/test_new.py::test_it", "tests/api/test_keys.py::test_new", "policy/new", "preview/new"]
    assert without_name(new, [*real.checks, *(entry.check for entry in real.unmapped)]) == sorted(new)


def test_at_least_forty_requirements_are_tied_to_checks(real: ControlMap) -> None:
    tied = [requirement for _, requirement in real.requirements() if requirement.proofs]
    assert len(tied) >= LEAST_TIED


@pytest.mark.parametrize(
    ("framework", "chapters"), [("secnumcloud-3.2", SECNUMCLOUD), ("iso-27001-2022", ISO_27001)], ids=str
)
def test_no_section_is_left_out(real: ControlMap, framework: str, chapters: dict[int, int]) -> None:
    ids = [requirement.id for each, requirement in real.requirements() if each.id == framework]
    sections = {tuple(number.split(".")[:2]) for number in ids}
    wanted = {(str(chapter), str(section + 1)) for chapter, count in chapters.items() for section in range(count)}
    assert sections == wanted


def test_a_framework_that_is_not_whole_says_what_it_leaves_out(real: ControlMap) -> None:
    assert {framework.id for framework in real.frameworks if not framework.left_out} <= {"iso-27001-2022"}


def _numbers(real: ControlMap, name: str) -> set[str]:
    """What stands in a framework of the map, and what it names as left out."""
    (framework,) = (each for each in real.frameworks if each.id == name)
    return {*(requirement.id for requirement in framework.requirements), *framework.left_out_ids}


def test_no_letter_before_the_last_one_of_a_section_is_left_out_silently(real: ControlMap) -> None:
    numbers = _numbers(real, "secnumcloud-3.2")
    lettered = [number.rpartition(".") for number in numbers if number.count(".") == 2]
    before = {
        f"{section}.{letter}"
        for section, _, last in lettered
        for letter in ascii_lowercase[: ascii_lowercase.index(last)]
    }
    assert before
    assert before - numbers == set()


def test_what_a_rule_cites_stands_in_the_map_or_is_named_as_left_out(real: ControlMap) -> None:
    cited = {tuple(text.rsplit(" ", 1)) for rule in RULES for text in rule.frameworks if text not in LAWS}
    missing = [
        (framework, number)
        for framework, number in cited
        # a section that has no letters in the map stands for all of them
        if not {number, number.rpartition(".")[0]} & _numbers(real, CITED_AS[framework])
    ]
    assert missing == []


def test_all_live_checks_run_and_of_the_software_s_own_what_is_named(real: ControlMap) -> None:
    places = places_to_run(real, emulated=False)
    assert places[:2] == ["host", "api"]
    assert not any(place.startswith(("emulated", "host/", "api/")) for place in places)


def test_emulated_hosts_are_asked_everything_in_the_order_of_their_folder(real: ControlMap) -> None:
    """Their states follow each other: a test out of its turn would judge a bare host when it is hardened already."""
    others = places_to_run(real, emulated=False)
    assert places_to_run(real, emulated=True) == [*others[:2], "emulated", *others[2:]]


def test_a_check_that_a_file_imports_is_a_check_of_that_file(tmp_path: Path) -> None:
    for folder in ("host", "emulated"):
        (tmp_path / "tests" / folder).mkdir(parents=True)
    files = {
        "host/test_live.py": "import os\ndef test_one(): pass\ndef test_two(): pass\ndef helper(): pass\n",
        "emulated/live.py": "from host.test_live import *\n",
        "emulated/test_all.py": "from emulated.live import *\nimport pytest\ndef test_own(): pass\n",
        "emulated/test_some.py": "from host.test_live import helper, test_two\n",
    }
    for name, text in files.items():
        (tmp_path / "tests" / name).write_text(text)
    assert sorted(check for check in existing_checks(tmp_path) if check.startswith(EMULATED)) == [
        "tests/emulated/test_all.py::test_one",
        "tests/emulated/test_all.py::test_own",
        "tests/emulated/test_all.py::test_two",
        "tests/emulated/test_some.py::test_two",
    ]


DEVICES: Final = "tests/host/test_volumes.py::test_every_declared_device_is_open_and_mounted_as_luks2"
NONE: Final = f"Skipped: {DECLARED}no data devices for this host, so nothing on it is encrypted by the platform"


@pytest.mark.parametrize(
    ("live", "state"),
    [
        ({"gpu-host-01": ("passed", "")}, "proved"),
        ({"gpu-host-01": ("failed", "source is /dev/vda")}, "failed"),
        ({"gpu-host-01": ("passed", ""), "control-01": ("not run", NONE)}, "proved"),
        ({"control-01": ("not run", NONE)}, "not run"),
        ({}, "not run"),
    ],
)
def test_encrypted_disks_are_shown_by_the_platform_s_own_and_not_by_emulated_ones_alone(
    real: ControlMap, live: dict[str, tuple[Outcome, str]], state: str
) -> None:
    rows = [Check("", "", "", "passed", 0.0, test=name) for name in real.checks if not covers(name, DEVICES)]
    rows += [Check("", host, "", outcome, 0.0, reason, DEVICES) for host, (outcome, reason) in live.items()]
    judged = judge_requirements(real, judge_checks(real.checks, rows, {}, "is not in the given records"))
    found = {each.requirement.id: each for each in judged if each.framework.id == "iso-27001-2022"}
    assert "disks-encrypted" in found["8.24"].requirement.proofs
    assert found["8.24"].state == state


def _changed(tmp_path: Path, **changes: Any) -> Path:
    path = tmp_path / "map.yaml"
    path.write_text(yaml.safe_dump({**copy.deepcopy(MAP), **changes}))
    return path


def test_everything_wrong_with_a_map_is_said_at_once(tmp_path: Path) -> None:
    framework = {
        "id": "x",
        "title": "X",
        "publisher": "Y",
        "requirements": [
            {"id": "1", "title": "no proof"},
            {"id": "2", "title": "unknown proof", "proofs": ["nowhere"]},
            {"id": "2", "title": "twice", "proofs": ["closed"]},
            {"id": "3", "title": "both", "proofs": ["closed"], "kind": "legal"},
            {"id": "4", "title": "nothing to bring", "kind": "legal"},
        ],
        "left_out_ids": ["4", "5", "5"],
    }
    unmapped = [{"check": "preview/plan", "reason": "no"}]
    with pytest.raises(MapError) as caught:
        load_control_map(_changed(tmp_path, frameworks=[framework], unmapped=unmapped))
    text = str(caught.value)
    for part in (
        "x 1: has no proof",
        "x 2: proof nowhere is not there",
        "x 2: stands here 2 times",
        "x 3: has proofs and a kind",
        "x 4: has no proof",
        "x 4: stands here and is left out",
        "x 5: is left out 2 times",
        "x 5: is left out; say why",
        "proofs.gpu: no requirement uses it",
        "unmapped preview/plan: a proof names it too",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("[", "is no YAML"),
        ("date: 2026-11-25\n", "proofs: Field required"),
        ("date: soon\nproofs: {}\nframeworks: []\nextra: 1\n", "extra: Extra inputs"),
    ],
)
def test_what_is_no_map_is_told(tmp_path: Path, content: str, says: str) -> None:
    path = tmp_path / "map.yaml"
    path.write_text(content)
    with pytest.raises(MapError, match=says):
        load_control_map(path)


def test_a_map_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(MapError, match="cannot be read"):
        load_control_map(tmp_path / "none.yaml")
