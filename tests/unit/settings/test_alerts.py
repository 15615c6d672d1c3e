"""Whom alerts are told: somebody of the site's wherever GPUs are real; every mistake has its path and its remedy."""

import copy
from typing import Any

import pytest
from unit.settings.mistakes import problems, production_sections

from llmaas.settings import build_platform
from llmaas.settings.source import sections_of_file

RECEIVER = "llmaas:alerts.receiver"


@pytest.fixture
def sections() -> dict[str, Any]:
    return production_sections()


def test_where_gpus_are_real_somebody_is_told(sections: dict[str, Any]) -> None:
    del sections["alerts"]
    (found,) = problems(sections)
    assert found == (
        "llmaas:alerts: is missing, and hosts have GPUs of kind nvidia: no alert leaves the platform;"
        " give a mapping with receiver, the site's Alertmanager"
    )


def test_a_lab_tells_nobody() -> None:
    lab = sections_of_file("lab")[1]
    assert "alerts" not in lab
    assert build_platform("stack", lab).alert_receiver is None


def test_gpus_that_cannot_be_read_make_no_mistake_of_alerts() -> None:
    lab = copy.deepcopy(sections_of_file("lab")[1])
    lab["hosts"][3]["gpus"]["kind"] = "real"
    assert [text.split(": ")[0] for text in problems(lab)] == ["llmaas:hosts[3].gpus.kind"]


@pytest.mark.parametrize(("address", "owner"), [("10.20.0.30", "gpu-host-10"), ("10.20.0.52", "key-02")])
def test_the_receiver_is_a_machine_of_the_site(sections: dict[str, Any], address: str, owner: str) -> None:
    sections["alerts"]["receiver"]["address"] = address
    assert problems(sections) == [
        f"{RECEIVER}.address: {address} is the address of {owner}; give one of a machine that is the site's"
    ]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"port": 0}, "port: 0 is too small; give its TCP port, 1 to 65535"),
        ({"host_name": "alerts"}, "host_name: 'alerts' is not of the right form; give the DNS name in its certificate"),
        ({"authority": "/etc/ca.crt"}, "authority: '/etc/ca.crt' is not of the right form; give the PEM file of the"),
        ({"url": "https://x"}, "url: is no known key; known are: address, port, host_name, authority"),
    ],
)
def test_a_receiver_that_cannot_be_is_named_with_its_path(
    sections: dict[str, Any], change: dict[str, Any], problem: str
) -> None:
    sections["alerts"]["receiver"] |= change
    (found,) = problems(sections)
    assert found.startswith(f"{RECEIVER}.{problem}")
