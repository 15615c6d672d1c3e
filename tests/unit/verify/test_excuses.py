"""What the checks of hardened hosts let pass by an exception, and what they tell of it."""

from datetime import date
from typing import Final

import pytest
from host import test_hardening as checks
from host.excuses import excuse

from llmaas.evidence.control_map import load_control_map
from llmaas.evidence.judgement import judge_checks, judge_requirements
from llmaas.settings.hardening import HardeningWaiver
from llmaas.verify import Check

REASON: Final = "Kubernetes hosts carry packets between pods."
PODS: Final = HardeningWaiver(
    control="R12",
    deviations=("sysctl net.ipv4.ip_forward", "sysctl net.ipv4.conf.all.arp_filter"),
    reason=REASON,
    expires=date(2027, 5, 31),
)


@pytest.fixture
def told() -> list[tuple[str, object]]:
    return []


def _judge(told: list[tuple[str, object]], live: dict[str, str]) -> list[str]:
    waived = dict.fromkeys(PODS.deviations, PODS)
    right = dict.fromkeys(("net.ipv4.ip_forward", "net.ipv4.conf.all.arp_filter", "kernel.sysrq"), "0")
    return checks.deviations(
        "sysctl", right, live, lambda found: excuse(found, waived, lambda *property: told.append(property))
    )


def test_an_exception_that_was_needed_is_told_once_with_what_it_excused(told: list[tuple[str, object]]) -> None:
    live = {"net.ipv4.ip_forward": "1", "net.ipv4.conf.all.arp_filter": "1", "kernel.sysrq": "1"}
    assert _judge(told, live) == ["kernel.sysrq is 1, not 0"]
    assert told == [("exception", f"{', '.join(PODS.deviations)}: R12 until 2027-05-31: {REASON}")]


def test_an_exception_that_was_not_needed_is_not_told(told: list[tuple[str, object]]) -> None:
    live = {"net.ipv4.ip_forward": "0", "net.ipv4.conf.all.arp_filter": "0", "kernel.sysrq": "0"}
    assert _judge(told, live) == told == []


def test_a_requirement_of_another_framework_that_rests_on_it_is_not_plainly_proved() -> None:
    control_map = load_control_map()
    sshd = "tests/host/test_hardening.py::test_sshd_grants_nothing_that_bp_028_refuses"
    rows = [
        Check("", "", "", "passed", 0.0, test=name, exceptions=("R33: root",) if name == sshd else ())
        for name in control_map.checks
    ]
    judged = judge_requirements(control_map, judge_checks(control_map.checks, rows, {}, ""))
    found = {(each.framework.id, each.requirement.id): each for each in judged}
    assert found["secnumcloud-3.2", "10.2.e"].state == "proved, with exceptions"
    assert found["secnumcloud-3.2", "10.2.e"].exceptions == (f"{sshd}: R33: root",)
