"""GPUs that are not the declared ones, told from what a host says of them."""

from dataclasses import replace
from functools import cache, partial
from typing import Any

import pytest
import yaml
from ansible_collections.llmaas.host.plugins.module_utils import gpu_judgement as g

from llmaas.paths import PROJECT_ROOT
from llmaas.settings import load_platform
from llmaas.views.inventory import inventory

FIXTURES = PROJECT_ROOT / "tests" / "fixtures" / "gpus"
FAULTS: dict[str, Any] = yaml.safe_load((FIXTURES / "faults.yaml").read_text())
NO_DRIVER = {"nvidia_smi": "", "nvidia_smi_list": "", "fabric_manager": "absent", "modules": "ext4 nvme"}
CASES = [(name, stage) for name, fault in FAULTS.items() for stage in fault["when"]]


@cache
def declared() -> g.Declared:
    """What the role is given for a host of the production example."""
    found = inventory(load_platform("production"))["hosts"]["gpu-host-01"]["gpu_runtime_declared"]
    return g.Declared.of(found)


def facts(**changes: str) -> dict[str, str]:
    return yaml.safe_load((FIXTURES / "h100-sxm-8.yaml").read_text()) | changes


def judged(stage: str, said: dict[str, str], host: g.Declared) -> tuple[str, ...]:
    stages = {"before": g.before, "prepared": partial(g.before, prepared=True), "after": g.after}
    return stages[stage](said, host).problems


@pytest.mark.parametrize("stage", ["before", "prepared", "after"])
def test_eight_h100_as_declared_are_taken(stage: str) -> None:
    assert judged(stage, facts(), declared()) == ()


def test_a_bare_host_is_taken() -> None:
    assert g.before(facts(**NO_DRIVER, headers="available", secure_boot="off"), declared()) == g.Judgement(())


def test_a_host_that_knows_no_packages_of_the_site_is_told_that_its_headers_are_judged_later() -> None:
    judgement = g.before(facts(**NO_DRIVER, headers="unknown", secure_boot="off"), declared())
    assert judgement.problems == ()
    (note,) = judgement.notes
    assert note.startswith("llmaas:hosts[3].gpus: the host does not know the site's packages yet")
    assert "6.1.0-41-amd64 is judged once it does, before the driver is installed" in note


@pytest.mark.parametrize(("name", "stage"), CASES, ids=[f"{name}, {stage}" for name, stage in CASES])
def test_a_fault_is_named_with_its_path_and_a_remedy(name: str, stage: str) -> None:
    fault = FAULTS[name]
    said = facts(**fault.get("set", {}))
    for fact, words in fault.get("replace", {}).items():
        for old, new in words.items():
            assert old in said[fact]
            said[fact] = said[fact].replace(old, new)
    found = judged(stage, said, replace(declared(), **fault.get("declared", {})))
    assert len(found) == 1
    assert found[0].startswith("llmaas:hosts[3].gpus")
    assert fault["says"] in found[0]


def test_everything_is_said_at_once() -> None:
    said = facts(**NO_DRIVER, headers="missing", signing_key="absent") | {"modules": "nouveau", "lspci": ""}
    assert len(g.before(said, declared(), prepared=True).problems) == 5
    early = g.before(said, declared())
    assert (len(early.problems), len(early.notes)) == (3, 2)


@pytest.mark.parametrize("key", ["absent", "unknown"])
def test_a_stock_host_is_taken_and_told_what_the_run_mends(key: str) -> None:
    """Debian loads nouveau for every device of NVIDIA's, and has neither dkms nor mokutil."""
    said = facts(**NO_DRIVER, headers="unknown", signing_key=key) | {"modules": "ext4 nouveau nvme"}
    judgement = g.before(said, declared())
    assert judgement.problems == ()
    nouveau, secure_boot, headers = judgement.notes
    assert nouveau.endswith("the run unloads it, or asks for a restart where it is in use")
    assert "secure boot is on" in secure_boot
    assert "before the driver is installed" in secure_boot
    assert "before the driver is installed" in headers


def test_without_secure_boot_no_key_is_asked_for() -> None:
    said = facts(**NO_DRIVER, headers="available", secure_boot="off", signing_key="absent")
    assert g.before(said, declared(), prepared=True) == g.Judgement(())


def test_what_the_run_mends_is_a_note_and_no_refusal() -> None:
    said = facts(fabric_manager="absent")
    said["nvidia_smi"] = said["nvidia_smi"].replace("580.126.20", "535.247.01")
    judgement = g.before(said, declared())
    assert judgement.problems == ()
    assert len(judgement.notes) == 2


def test_divided_gpus_are_counted_in_parts() -> None:
    host = replace(declared(), mig="1g.10gb", mig_instances=7)
    said = facts()
    assert "GPUs are divided into 7 x 1g.10gb" in g.before(said, host).notes[0]
    said["nvidia_smi"] = said["nvidia_smi"].replace("Enabled, Disabled, Enabled", "Enabled, Enabled, Enabled")
    lines = []
    for line in said["nvidia_smi_list"].splitlines():
        parts = [f"  MIG 1g.10gb     Device  {number}: (UUID: MIG-{number})" for number in range(7)]
        lines += [line, *parts]
    whole = said | {"nvidia_smi_list": "\n".join(lines)}
    assert g.before(whole, host) == g.Judgement(())
    assert g.after(whole, host) == g.Judgement(())
    short = said | {"nvidia_smi_list": "\n".join(lines[:-1])}
    assert "55 parts of 1g.10gb, declared are 56" in g.after(short, host).problems[0]
    others = whole | {"nvidia_smi_list": whole["nvidia_smi_list"].replace("1g.10gb", "2g.20gb")}
    assert "divided into 2g.20gb, declared is 1g.10gb" in g.before(others, host).problems[0]


def test_what_the_kernel_says_of_the_bus_reads_as_lspci_does() -> None:
    # without pciutils the facts have no names of devices
    line = "0000:1b:00.0 Device [0302]: NVIDIA Corporation Device [10de:2330]\n"
    assert g.bus_devices(line) == {"gpus": [("0000:1b:00.0", "10de:2330")], "switches": []}
