"""One emulated host and two key servers for all tests of this folder; needs root and qemu-system-x86, no lab.

Its states follow each other: bare, interrupted (a role failed in the middle), converged, restarted.
"""

import json
import os
import time
from collections.abc import Iterator

import pytest
from emulated.fleet import (
    FOREIGN,
    FOUNDATION,
    HOST,
    KEY_SERVERS,
    LOGS,
    MIRROR,
    SWAP,
    Checked,
    Fleet,
    Note,
    Run,
    new_identity,
    wait_until_open,
    what_is_there,
)

from lab.emulated.site import emulated_site
from llmaas.hardening import Score
from llmaas.verify.recorder import note

# the kernel refuses it, after packages were installed and files were written
WRONG = {"base_network_sysctl": {"net.ipv4.no_such_parameter": 1}}


@pytest.fixture(scope="session")
def figures() -> Iterator[Note]:
    """Notes a figure; all are printed at the end."""
    noted: list[tuple[str, float | str]] = []
    yield lambda name, value: noted.append((name, value))
    for name, value in noted:
        print(f"\n{name}: {value}" if isinstance(value, str) else f"\n{name}: {value:.0f} s", end="")


@pytest.fixture(scope="session")
def bare(figures: Note) -> Iterator[Fleet]:
    """The host as it was delivered: swap in the clear, an empty disk, and one that holds somebody's file system."""
    assert os.geteuid() == 0, "emulated hosts need root, for a network of their own"
    guest = (*HOST, (LOGS, FOREIGN))
    with emulated_site(KEY_SERVERS, [guest]) as site:
        identity = site.layout.state / "recovery-identity"
        fleet = Fleet(site, new_identity(identity), identity)
        figures("switched on to SSH", fleet.guest.start())
        fleet.guest.output(f"mkfs.ext4 -q -U 11111111-2222-3333-4444-555555555555 {FOREIGN.path}")
        fleet.guest.output(f"fallocate -l 64M {SWAP} && chmod 600 {SWAP} && mkswap {SWAP} && swapon {SWAP}")
        fleet.guest.output(f"echo '{SWAP} none swap sw 0 0' >> /etc/fstab")
        # the address of a mirror that is no more
        stale = f"echo '192.0.2.1 {MIRROR}' >> /etc/hosts"
        fleet.guest.output(stale)
        assert [server.ssh(stale).returncode for server in site.key_servers] == [0] * len(KEY_SERVERS)
        yield fleet


@pytest.fixture(scope="session")
def score_before(bare: Fleet, figures: Note) -> Score:
    """What OpenSCAP says of the bare host."""
    return judged(bare, "before", figures)


@pytest.fixture(scope="session")
def checked(bare: Fleet, figures: Note) -> Checked:
    """A check run on the bare host."""
    before = what_is_there(bare)
    run = bare.playbook("--check", name=FOUNDATION)
    figures("check run on the bare host", run.seconds)
    return Checked(run, before, what_is_there(bare))


@pytest.fixture(scope="session")
def interrupted(bare: Fleet, figures: Note) -> tuple[Fleet, Run]:
    """The host after a run in which a role failed in the middle, and that run."""
    run = bare.playbook("-e", json.dumps(WRONG), name=FOUNDATION)
    figures("first run, to the role that fails", run.seconds)
    return bare, run


@pytest.fixture(scope="session")
def converged(interrupted: tuple[Fleet, Run], figures: Note) -> tuple[Fleet, Run]:
    """The host after the run that mended it, and that run."""
    fleet, _ = interrupted
    run = fleet.playbook(name=FOUNDATION)
    assert run.returncode == 0, run.text
    figures("converge, after the run that failed", run.seconds)
    return fleet, run


@pytest.fixture
def encrypted(converged: tuple[Fleet, Run]) -> Fleet:
    """The host after it was mended."""
    return converged[0]


@pytest.fixture(scope="session")
def restarted(converged: tuple[Fleet, Run], figures: Note) -> Fleet:
    """The host after a restart at which one of two key servers was silent."""
    fleet, _ = converged
    fleet.silence("key-01")
    try:
        figures("reset to SSH", fleet.guest.reboot())
        figures("start of the kernel to unlocked, one of two key servers", wait_until_open(fleet))
    finally:
        fleet.let_answer("key-01")
    return fleet


@pytest.fixture(scope="session")
def score_after(restarted: Fleet, figures: Note) -> Score:
    """What OpenSCAP says of the host when it is done."""
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
