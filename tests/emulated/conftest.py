"""Two emulated hosts and two key servers for all tests of this folder; needs root and qemu-system-x86, no lab.

Their states follow each other: bare, interrupted (a role failed in the middle), converged, restarted.
"""

import json
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from emulated.fleet import (
    DISKS,
    FOREIGN,
    FOUNDATION,
    HOST,
    KEY_SERVERS,
    MIRROR,
    OTHER,
    SWAP,
    Checked,
    Fleet,
    Note,
    Run,
    new_identity,
    wait_until_open,
    what_is_there,
)
from emulated.pods import RUNTIME

from lab.emulated.guest import Guest
from lab.emulated.site import emulated_site
from llmaas.hardening import Score
from llmaas.verify.recorder import note

# the kernel refuses it, after packages were installed and files were written
WRONG = {"base_network_sysctl": {"net.ipv4.no_such_parameter": 1}}


def pytest_sessionstart() -> None:
    """A polite kill, as at the end of the time that was given, takes hosts and network away as Ctrl-C does."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.fixture(scope="session")
def figures() -> Iterator[Note]:
    """Notes a figure; all are printed at the end."""
    noted: list[tuple[str, float | str]] = []
    yield lambda name, value: noted.append((name, value))
    for name, value in noted:
        print(f"\n{name}: {value}" if isinstance(value, str) else f"\n{name}: {value:.0f} s", end="")


@pytest.fixture(scope="session")
def bare(figures: Note) -> Iterator[Fleet]:
    """The hosts as they were delivered: swap in the clear, an empty disk, and one that holds somebody's file system."""
    assert os.geteuid() == 0, "emulated hosts need root, for a network of their own"
    guests = [(*HOST, (*DISKS[HOST[0]].values(), FOREIGN)), (*OTHER, tuple(DISKS[OTHER[0]].values()))]
    with emulated_site(KEY_SERVERS, guests) as site:
        identity = site.layout.state / "recovery-identity"
        fleet = Fleet(site, new_identity(identity), identity)
        began = time.monotonic()
        for guest in site.guests:
            guest.switch_on()
        # the address of a mirror that is no more
        stale = f"echo '192.0.2.1 {MIRROR}' >> /etc/hosts"
        for guest in site.guests:
            guest.wait_for_ssh()
            figures(f"{guest.host.name} switched on to SSH", time.monotonic() - began)
            guest.output(f"fallocate -l 64M {SWAP} && chmod 600 {SWAP} && mkswap {SWAP} && swapon {SWAP}")
            guest.output(f"echo '{SWAP} none swap sw 0 0' >> /etc/fstab")
            guest.output(stale)
        fleet.guest.output(f"mkfs.ext4 -q -U 11111111-2222-3333-4444-555555555555 {FOREIGN.path}")
        assert [server.ssh(stale).returncode for server in site.key_servers] == [0] * len(KEY_SERVERS)
        yield fleet


@pytest.fixture(scope="session")
def score_before(bare: Fleet, figures: Note) -> Score:
    """What OpenSCAP says of the first bare host."""
    return judged(bare, "before", figures)


@pytest.fixture(scope="session")
def checked(bare: Fleet, figures: Note) -> Checked:
    """A check run on the bare hosts."""
    before = what_is_there(bare)
    run = bare.playbook("--check", name=FOUNDATION)
    figures("check run on the bare hosts", run.seconds)
    return Checked(run, before, what_is_there(bare))


@pytest.fixture(scope="session")
def interrupted(bare: Fleet, figures: Note) -> tuple[Fleet, Run]:
    """The hosts after a run in which a role failed in the middle, and that run."""
    run = bare.playbook("-e", json.dumps(WRONG), name=FOUNDATION)
    figures("first run, to the role that fails", run.seconds)
    return bare, run


@pytest.fixture(scope="session")
def converged(interrupted: tuple[Fleet, Run], figures: Note) -> tuple[Fleet, Run]:
    """The hosts after the run that mended them, and that run."""
    fleet, _ = interrupted
    run = fleet.playbook(name=FOUNDATION)
    assert run.returncode == 0, run.text
    figures("converge, after the run that failed", run.seconds)
    return fleet, run


@pytest.fixture
def encrypted(converged: tuple[Fleet, Run]) -> Fleet:
    """The hosts after they were mended."""
    return converged[0]


@pytest.fixture(scope="session")
def restarted(converged: tuple[Fleet, Run], figures: Note) -> Fleet:
    """The hosts after a restart at which one of two key servers was silent."""
    fleet, _ = converged
    fleet.silence("key-01")
    try:
        with ThreadPoolExecutor() as pool:
            resets = list(pool.map(Guest.reboot, fleet.site.guests))
        for guest, seconds in zip(fleet.site.guests, resets, strict=True):
            figures(f"{guest.host.name}: reset to SSH", seconds)
            unlocked = wait_until_open(guest)
            name = f"{guest.host.name}: start of the kernel to unlocked, one of two key servers"
            figures(name, unlocked)
            note({f"emulated host {name}": f"{unlocked:.0f} s"})
    finally:
        fleet.let_answer("key-01")
    return fleet


@pytest.fixture(scope="session")
def running(converged: tuple[Fleet, Run], figures: Note) -> tuple[Fleet, Run]:
    """The first host after the role of the container runtime, and that run."""
    fleet, _ = converged
    run = fleet.playbook(name=RUNTIME)
    assert run.returncode == 0, run.text
    figures("container runtime", run.seconds)
    return fleet, run


@pytest.fixture(scope="session")
def score_after(restarted: Fleet, figures: Note) -> Score:
    """What OpenSCAP says of the first host when it is done."""
    return judged(restarted, "after", figures)


def judged(fleet: Fleet, when: str, figures: Note) -> Score:
    """OpenSCAP's judgement, noted as figures."""
    began = time.monotonic()
    score = fleet.judgement()
    figures(f"OpenSCAP's judgement {when}", time.monotonic() - began)
    found = {
        f"OpenSCAP {when}, {profile}": "{passed} of {judged} rules hold ({percent} %)".format(**part)
        for profile, part in score.as_data()["profiles"].items()
    }
    found[f"OpenSCAP {when}, broken without an exception"] = str(len(score.failed))
    for name, text in found.items():
        figures(name, text)
    # for the evidence, where that asked for this run
    note({f"emulated host: {name}": text for name, text in found.items()})
    return score
