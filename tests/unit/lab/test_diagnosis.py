"""What is wrong with a machine prevents the lab before anything is changed; what `make up` mends does not."""

import ipaddress
import json
import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest
from unit.lab.plain_machine import PlainMachine

from lab import doctor
from lab.doctor import Finding, Level, diagnose
from lab.layout import BRIDGE, Layout
from lab.machine import boot_id, process_start
from lab.processes import Process
from lab.spec import LabSpec
from lab.toolchain import official_program
from lab.toolchain.go import installed_go

SPEC = LabSpec(
    hosts=(),
    network=ipaddress.IPv4Network("10.77.0.0/24"),
    site_address="10.77.0.1",
    domain="lab.test",
    registry="registry.lab.test:5000",
)
# The site's services, written out: what each listens at.
SITE_PORTS = {"site-web": ("tcp", 8443), "site-registry": ("tcp", 5000), "site-clock": ("udp", 123)}


@pytest.fixture
def here(tmp_path: Path) -> Layout:
    return Layout(state=tmp_path / "state", cache=tmp_path / "cache")


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, here: Layout) -> Iterator[PlainMachine]:
    """The machine that the doctor looks at."""

    def nothing(*_arguments: object) -> list[Finding]:
        # The stack file is no fact of the machine, and its exceptions end one day.
        return []

    here.run.mkdir(parents=True)
    monkeypatch.setattr(doctor, "settings", nothing)
    plain = PlainMachine()
    plain.takes_the_place(monkeypatch)
    official_program.cache_clear()
    yield plain
    official_program.cache_clear()
    installed_go.cache_clear()


def told(here: Layout, level: Level) -> list[str]:
    """Everything of a level, with what to do about it."""
    installed_go.cache_clear()
    found = [finding for finding in diagnose(here, SPEC) if finding.level is level]
    if level is Level.FAIL:
        assert all(finding.remedy for finding in found), "a failure without a remedy"
    return [f"{finding.subject}: {finding.text}; {finding.remedy}" for finding in found]


def failures(here: Layout) -> list[str]:
    return told(here, Level.FAIL)


def runs(here: Layout, name: str) -> None:
    """Have this process recorded as one of the lab's."""
    ticks = process_start(os.getpid())
    assert ticks is not None
    process = Process(name, os.getpid(), ticks, boot_id())
    (here.run / f"{name}.json").write_text(json.dumps(asdict(process)))


@pytest.mark.usefixtures("machine")
def test_a_machine_with_all_of_it_is_let_through(here: Layout) -> None:
    assert failures(here) == []


@pytest.mark.parametrize(
    ("fact", "value", "says"),
    [
        ("user", 1000, "root"),
        ("cores", 1, "1 core"),
        ("processor", "fpu sse4_2 avx", "AVX2"),
        ("memory_gib", 20, "20 GiB"),
        ("available_gib", 6, "6 GiB"),
        ("free_disk_gib", 10, "10 GiB"),
        ("file_systems", ("proc", "ext4"), "overlay"),
        ("refused", ("bridge",), "bridge"),
        ("refused", ("veth",), "veth"),
        ("refused", ("nft",), "nftables"),
        ("missing_programs", ("dpkg-query",), "Debian 12"),
    ],
    ids=str,
)
def test_what_the_machine_lacks_prevents_the_lab_and_is_all_that_is_told(
    machine: PlainMachine, here: Layout, fact: str, value: object, says: str
) -> None:
    setattr(machine, fact, value)
    found = failures(here)
    assert found
    assert [line for line in found if says not in line] == []


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize(("speed", "notes"), [(0.2, 1), (1.0, 0)])
def test_a_machine_that_is_slow_just_now_is_told_and_let_through(
    monkeypatch: pytest.MonkeyPatch, here: Layout, speed: float, notes: int
) -> None:
    monkeypatch.setattr("lab.doctor.copy_speed", lambda: speed)
    assert sum(f"copies {speed} GB/s" in line for line in told(here, Level.NOTE)) == notes
    assert failures(here) == []


@pytest.mark.parametrize(
    ("fact", "names"),
    [
        ("missing_packages", ["nginx-light"]),
        ("missing_packages", ["npm"]),
        ("missing_programs", ["ip", "nft"]),
        ("missing_programs", ["go"]),
    ],
    ids=str,
)
def test_what_make_up_installs_is_told_and_prevents_nothing(
    machine: PlainMachine, here: Layout, fact: str, names: list[str]
) -> None:
    before = told(here, Level.NOTE)
    setattr(machine, fact, tuple(names))
    if "npm" in names:
        machine.missing_programs = ("npm",)
    assert failures(here) == []
    new = "\n".join(line for line in told(here, Level.NOTE) if line not in before)
    assert [name for name in names if name not in new] == []


def test_what_a_lab_that_runs_took_is_not_asked_for_again(machine: PlainMachine, here: Layout) -> None:
    machine.available_gib, machine.free_disk_gib = 1, 10
    assert len(failures(here)) == 2
    runs(here, "host-control-01")
    assert failures(here) == []
    machine.free_disk_gib = 1
    (line,) = failures(here)
    assert "1 GiB" in line


def test_the_bridge_of_another_lab_that_runs_prevents_this_one_and_is_named(
    monkeypatch: pytest.MonkeyPatch, machine: PlainMachine, here: Layout
) -> None:
    other = here.state.with_name("other") / "lab"
    machine.links = [{"ifname": "lo"}, {"ifname": BRIDGE, "ifalias": str(other)}]
    monkeypatch.setattr("lab.cgroups.lab_processes", lambda: {1})
    assert failures(here) == [], "nothing is left of that lab, so it gives way"
    other.mkdir(parents=True)
    monkeypatch.setattr("lab.cgroups.lab_processes", set)
    assert failures(here) == [], "nothing of it runs, so it gives way"
    monkeypatch.setattr("lab.cgroups.lab_processes", lambda: {1})
    (line,) = failures(here)
    assert str(other) in line
    assert f"LLMAAS_STATE={other.parent} make down" in line


def test_a_bridge_that_does_not_say_whose_it_is_prevents_the_lab(machine: PlainMachine, here: Layout) -> None:
    machine.links = [{"ifname": BRIDGE}]
    (line,) = failures(here)
    assert BRIDGE in line


def test_the_lab_s_own_bridge_is_no_conflict(machine: PlainMachine, here: Layout) -> None:
    machine.links = [{"ifname": BRIDGE, "ifalias": str(here.state)}]
    own = {"family": "inet", "local": SPEC.site_address, "prefixlen": 24}
    machine.addresses = [{"ifname": BRIDGE, "addr_info": [own]}]
    machine.routes = [{"dst": "10.77.0.0/24", "dev": BRIDGE}]
    assert failures(here) == []


def test_another_link_in_the_lab_s_network_prevents_it_and_is_named(machine: PlainMachine, here: Layout) -> None:
    addresses = [
        {"family": "inet6", "local": "fe80::1", "prefixlen": 64},
        {"family": "inet", "local": "10.77.0.200", "prefixlen": 16},
    ]
    machine.addresses = [{"ifname": "eth9", "addr_info": addresses}]
    (line,) = failures(here)
    assert "eth9" in line
    assert "10.77.0.200/16" in line


def test_a_route_into_the_lab_s_network_prevents_it_and_is_named(machine: PlainMachine, here: Layout) -> None:
    machine.routes = [{"dst": "default", "dev": "eth0"}, {"dst": "10.78.0.0/16", "dev": "vpn0"}]
    assert failures(here) == []
    machine.routes.append({"dst": "10.0.0.0/8", "dev": "vpn1"})
    (line,) = failures(here)
    assert "10.0.0.0/8" in line
    assert "vpn1" in line


@pytest.mark.parametrize("service", SITE_PORTS)
@pytest.mark.parametrize("address", [SPEC.site_address, "0.0.0.0"])  # noqa: S104 - on purpose
def test_a_port_of_the_site_that_somebody_has_prevents_the_lab(
    machine: PlainMachine, here: Layout, service: str, address: str
) -> None:
    protocol, port = SITE_PORTS[service]
    machine.listeners = [(protocol, address, port), (protocol, "127.0.0.1", port), (protocol, address, port + 1)]
    (line,) = failures(here)
    assert str(port) in line


@pytest.mark.parametrize("service", SITE_PORTS)
def test_a_port_that_the_lab_itself_has_is_no_conflict(machine: PlainMachine, here: Layout, service: str) -> None:
    machine.listeners = [(protocol, SPEC.site_address, port) for protocol, port in SITE_PORTS.values()]
    runs(here, service)
    own = SITE_PORTS[service][1]
    assert len(failures(here)) == len(SITE_PORTS) - 1
    assert not [line for line in failures(here) if str(own) in line]
