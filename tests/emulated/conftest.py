"""One emulated host and two key servers for all tests of this folder; needs root and qemu-system-x86, no lab."""

import os
from collections.abc import Callable, Iterator

import pytest
from emulated.fleet import FOREIGN, HOST, KEY_SERVERS, LOGS, Fleet, Run, new_identity

from lab.emulated.site import emulated_site


@pytest.fixture(scope="session")
def figures() -> Iterator[Callable[[str, float], None]]:
    """Notes a figure; all are printed at the end."""
    noted: list[tuple[str, float]] = []
    yield lambda name, seconds: noted.append((name, seconds))
    for name, seconds in noted:
        print(f"\n{name}: {seconds:.0f} s", end="")


@pytest.fixture(scope="session")
def bare(figures: Callable[[str, float], None]) -> Iterator[Fleet]:
    """The host as it was delivered: an empty disk, and one that holds somebody's file system."""
    assert os.geteuid() == 0, "emulated hosts need root, for a network of their own"
    guest = (*HOST, (LOGS, FOREIGN))
    with emulated_site(KEY_SERVERS, [guest]) as site:
        identity = site.layout.state / "recovery-identity"
        fleet = Fleet(site, new_identity(identity), identity)
        figures("switched on to SSH", fleet.guest.start())
        fleet.guest.output(f"mkfs.ext4 -q -U 11111111-2222-3333-4444-555555555555 {FOREIGN.path}")
        yield fleet


@pytest.fixture(scope="session")
def converged(bare: Fleet, figures: Callable[[str, float], None]) -> tuple[Fleet, Run]:
    """The host after the first run, and that run."""
    done = bare.playbook()
    assert done.returncode == 0, done.text
    figures("converge", done.seconds)
    return bare, done


@pytest.fixture
def encrypted(converged: tuple[Fleet, Run]) -> Fleet:
    """The host after the first run."""
    return converged[0]
