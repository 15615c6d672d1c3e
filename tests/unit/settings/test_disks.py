"""Data devices and key servers: every mistake has its path in the stack file and what would be right."""

import copy
import subprocess
from ipaddress import ip_address
from typing import Any

import pytest
from unit.settings.mistakes import problems

from llmaas.settings import bech32, build_platform
from llmaas.settings.source import sections_of_file
from llmaas.views.inventory import inventory

HOST = "llmaas:hosts[1].data_devices"
SERVERS = "llmaas:disk_encryption.key_servers"
# nobody's
RECIPIENT = "age1" + "q" * 52 + "5cu47z"
THUMBPRINT = "A" * 43


@pytest.fixture
def sections() -> dict[str, Any]:
    found = copy.deepcopy(sections_of_file("lab")[1])
    found["hosts"][1]["data_devices"] = [
        {"purpose": "containers", "path": "/dev/disk/by-id/nvme-one"},
        {"purpose": "volumes", "path": "/dev/disk/by-id/nvme-two"},
    ]
    found["disk_encryption"] = {
        "key_servers": [
            {"name": "key-01", "address": "10.77.0.51"},
            {"name": "key-02", "address": "10.77.0.52", "thumbprint": THUMBPRINT},
        ],
        "recovery_recipients": [RECIPIENT],
    }
    return found


def test_only_stable_names_are_devices(sections: dict[str, Any]) -> None:
    sections["hosts"][1]["data_devices"][0]["path"] = "/dev/sdb"
    assert [text.split(": ")[0] for text in problems(sections)] == [f"{HOST}[0].path"]


def test_a_device_serves_one_purpose(sections: dict[str, Any]) -> None:
    sections["hosts"][1]["data_devices"][1] = sections["hosts"][1]["data_devices"][0]
    found = problems(sections)
    assert [text.split(": ")[0] for text in found] == [f"{HOST}[1].path", f"{HOST}[1].purpose"]


def test_devices_need_key_servers(sections: dict[str, Any]) -> None:
    del sections["disk_encryption"]
    assert [text.split(": ")[0] for text in problems(sections)] == [HOST]


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"name": "gpu-host-01"}, f"{SERVERS}[0].name"),
        ({"name": "key-02"}, f"{SERVERS}[1].name"),
        ({"address": "10.77.0.21"}, f"{SERVERS}[0].address"),
        ({"address": "10.77.0.1"}, f"{SERVERS}[0].address"),
        ({"address": "10.77.0.52"}, f"{SERVERS}[1].address"),
        ({"thumbprint": THUMBPRINT}, f"{SERVERS}[1].thumbprint"),
    ],
)
def test_key_servers_are_machines_of_their_own(sections: dict[str, Any], change: dict[str, str], path: str) -> None:
    sections["disk_encryption"]["key_servers"][0] |= change
    assert [text.split(": ")[0] for text in problems(sections)] == [path]


@pytest.mark.parametrize(("field", "what"), [("bastions", "a bastion"), ("time_servers", "a time server")])
def test_key_servers_are_no_machines_of_the_site(sections: dict[str, Any], field: str, what: str) -> None:
    sections["site"][field] = ["10.77.0.52"]
    assert problems(sections) == [f"{SERVERS}[1].address: 10.77.0.52 is the address of {what}; give its own"]


def test_a_threshold_can_be_reached(sections: dict[str, Any]) -> None:
    sections["disk_encryption"]["threshold"] = 3
    assert [text.split(": ")[0] for text in problems(sections)] == ["llmaas:disk_encryption.threshold"]


def test_somebody_can_read_the_recovery_keys(sections: dict[str, Any]) -> None:
    sections["disk_encryption"]["recovery_recipients"] = []
    assert [text.split(": ")[0] for text in problems(sections)] == ["llmaas:disk_encryption.recovery_recipients"]


def test_a_mistyped_recipient_is_told_by_its_place(sections: dict[str, Any]) -> None:
    made = subprocess.run(["age-keygen"], check=True, capture_output=True, text=True).stderr.split()[-1]
    place = "llmaas:disk_encryption.recovery_recipients[1]"
    sections["disk_encryption"]["recovery_recipients"] = [RECIPIENT, made]
    build_platform("stack", sections)
    other = made[:30] + ("q" if made[30] != "q" else "p") + made[31:]
    sections["disk_encryption"]["recovery_recipients"] = [RECIPIENT, other]
    said = "does not carry its own checksum, so it was mistyped; copy what age-keygen printed"
    assert problems(sections) == [f"{place}: {other!r} {said}"]


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        # the examples of BIP-173 in lower case
        ("a12uel5l", True),
        ("an83characterlonghumanreadablepartthatcontainsthenumber1andtheexcludedcharactersbio1tt5tgs", True),
        ("abcdef1qpzry9x8gf2tvdw0s3jn54khce6mua7lmqqqxw", True),
        ("split1checkupstagehandshakeupstreamerranterredcaperred2y9e3w", True),
        ("split1checkupstagehandshakeupstreamerranterredcaperred2y9e3x", False),
        ("split1cheocupstagehandshakeupstreamerranterredcaperred2y9e3w", False),
        ("pzry9x0s0muk", False),
        ("1pzry9x0s0muk", False),
        # what BIP-350 takes, and age does not
        ("a1lqfn3a", False),
    ],
)
def test_a_checksum_is_that_of_the_standard(text: str, *, whole: bool) -> None:
    assert bech32.is_whole(text) is whole


def test_ansible_is_told_the_place_of_each_device_in_the_stack_file(sections: dict[str, Any]) -> None:
    view = inventory(build_platform("stack", sections))
    assert view["groups"]["encrypted"] == ["gpu-host-01"]
    assert view["groups"]["key_servers"] == ["key-01", "key-02"]
    assert [device["where"] for device in view["hosts"]["gpu-host-01"]["disk_encryption_devices"]] == [
        f"{HOST}[0]",
        f"{HOST}[1]",
    ]
    assert {server["where"] for server in view["all"]["disk_encryption_key_servers"]} == {
        f"{SERVERS}[0]",
        f"{SERVERS}[1]",
    }


def test_key_servers_drop_all_but_what_the_matrix_names(sections: dict[str, Any]) -> None:
    for name in ("key-01", "key-02"):
        variables = inventory(build_platform("stack", sections))["hosts"][name]
        accepted = {(rule["name"], *rule["ports"]): rule["sources"] for rule in variables["firewall_input"]}
        hosts = [str(host.address) for host in build_platform("stack", sections).hosts]
        assert accepted == {
            ("disk-unlock", 7500): sorted(hosts, key=ip_address),
            ("administration-of-key-servers", 22): ["10.77.0.1"],
            ("reachability-of-key-servers",): ["10.77.0.1"],
        }
        opened = {rule["name"]: (rule["destinations"], rule["ports"]) for rule in variables["firewall_output"]}
        assert opened == {
            "packages-of-key-servers": (["10.77.0.1"], [8443]),
            "time-of-key-servers": (["10.77.0.1"], [123]),
            "logs-of-key-servers": (["10.77.0.30", "10.77.0.31"], [6514]),
        }
        assert variables["firewall_forward"] == []


def test_nothing_is_encrypted_where_nothing_is_declared() -> None:
    view = inventory(build_platform("stack", sections_of_file("lab")[1]))
    assert view["groups"]["encrypted"] == view["groups"]["key_servers"] == []
    assert not [name for variables in view["hosts"].values() for name in variables if name.startswith("disk_")]
