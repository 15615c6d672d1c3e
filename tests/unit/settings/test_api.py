"""The address of the Kubernetes API and who stands in front of it: every mistake has its path and its remedy."""

from typing import Any

import pytest
from unit.settings.mistakes import problems, production_sections

from llmaas.settings import build_platform
from llmaas.settings.source import sections_of_file

BALANCERS = "llmaas:kubernetes.api_balancers"


@pytest.fixture
def sections() -> dict[str, Any]:
    """Three control hosts behind an address of the site's."""
    return production_sections()


@pytest.mark.parametrize("balancers", [None, []])
def test_several_control_hosts_name_who_passes_calls_on_to_them(sections: dict[str, Any], balancers: Any) -> None:
    sections["kubernetes"].pop("api_balancers")
    sections["kubernetes"] |= {} if balancers is None else {"api_balancers": balancers}
    (found,) = problems(sections)
    assert found == (
        f"{BALANCERS}: is missing: no host has 10.20.0.10, so others pass on what comes there, and the 3 control hosts"
        " accept port 6443 from no other machine; give the addresses that the balancers connect from"
    )


def test_no_control_host_carries_the_address_of_several(sections: dict[str, Any]) -> None:
    sections["kubernetes"] |= {"api_address": "10.20.0.12", "api_balancers": []}
    (found,) = problems(sections)
    assert found.startswith("llmaas:kubernetes.api_address: 10.20.0.12 is lost with control-02; ")
    assert found.endswith("give an address of the balancers', which no host has")


def test_one_control_host_needs_nobody_in_front() -> None:
    lab = sections_of_file("lab")[1]
    assert "api_balancers" not in lab["kubernetes"]
    assert build_platform("stack", lab).kubernetes.api_balancers == ()


def test_a_balancer_may_connect_from_the_address_of_the_api_itself(sections: dict[str, Any]) -> None:
    sections["kubernetes"]["api_balancers"] = ["10.20.0.10"]
    assert [str(each) for each in build_platform("stack", sections).kubernetes.api_balancers] == ["10.20.0.10"]


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        ("10.20.0.4", "10.20.0.4 stands in api_balancers[0] already; name each once"),
        ("10.20.0.11", "10.20.0.11 is the address of control-01; give one of a machine that is the site's"),
        ("10.20.0.51", "10.20.0.51 is the address of key-01; give one of a machine that is the site's"),
        (
            "fd00::4",
            "'fd00::4' is not an IPv4 address; give the IPv4 addresses from which the site's balancers connect",
        ),
    ],
)
def test_a_balancer_is_a_machine_of_the_site(sections: dict[str, Any], address: str, problem: str) -> None:
    sections["kubernetes"]["api_balancers"] = ["10.20.0.4", address]
    (found,) = problems(sections)
    assert found.startswith(f"{BALANCERS}[1]: {problem}")


def test_a_wrong_balancer_hides_no_other_mistake(sections: dict[str, Any]) -> None:
    sections["kubernetes"] |= {"api_balancers": ["balancer-1"], "api_address": "10.30.0.10"}
    paths = {text.split(": ")[0] for text in problems(sections)}
    assert paths == {f"{BALANCERS}[0]", "llmaas:kubernetes.api_address"}
