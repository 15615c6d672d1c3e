"""What a night brings to a host: the approved version of a package, and nothing else that the mirror has."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from emulated.fleet import Fleet
from packages import build_package

from lab.site.packages import add_packages

# Ansible on an emulated host takes minutes
pytestmark = pytest.mark.timeout(1200)

APPROVED, UNASKED = "llmaas-test-approved", "llmaas-test-unasked"
# the new version of the approved package needs it, as that of a kernel's metapackage needs the kernel
NEEDED = "llmaas-test-needed"
OLD, NEW = "1.0-1~deb12u1", "1.0-1~deb12u2"


def _offer(fleet: Fleet, folder: Path, version: str, depends: str = "") -> None:
    """Put the packages into the site's mirror in a version."""
    needs = {APPROVED: depends}
    files = [build_package(folder, name, version, needs.get(name, "")) for name in (APPROVED, UNASKED, NEEDED)]
    add_packages(fleet.site.layout, files, fleet.site.layout.logs / "packages.log")


def _installed(fleet: Fleet) -> dict[str, str]:
    lines = fleet.guest.output("dpkg-query --show --showformat '${Package} ${Version}\\n' 'llmaas-test-*'")
    return dict(line.split() for line in lines.splitlines())


def _let_the_night_come(fleet: Fleet) -> None:
    fleet.guest.output("systemctl start llmaas-updates.service")


@pytest.fixture(scope="module")
def with_old_packages(restarted: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """The host with two packages, of which the mirror has a newer version by now."""
    folder = tmp_path_factory.mktemp("packages")
    _offer(restarted, folder, OLD)
    restarted.guest.output(f"apt-get -q update && apt-get -q -y install {APPROVED} {UNASKED}")
    _offer(restarted, folder, NEW, f"Depends: {NEEDED}\n")
    yield restarted
    restarted.guest.output(f"apt-get -q -y purge {APPROVED} {UNASKED} {NEEDED}")


def test_a_night_changes_nothing_that_nobody_approved(with_old_packages: Fleet) -> None:
    _let_the_night_come(with_old_packages)
    offered = with_old_packages.guest.output(f"apt-cache madison {APPROVED} {UNASKED}")
    assert [offered.count(f" {version} ") for version in (OLD, NEW)] == [2, 2]
    assert _installed(with_old_packages) == {APPROVED: OLD, UNASKED: OLD}


def test_a_night_brings_the_approved_version_and_no_other(with_old_packages: Fleet) -> None:
    approved = {"hardening_updates": [{"package": APPROVED, "version": NEW}]}
    run = with_old_packages.playbook("-e", json.dumps(approved), name="hosts.yml")
    assert run.returncode == 0, run.text
    _let_the_night_come(with_old_packages)
    assert _installed(with_old_packages) == {APPROVED: NEW, UNASKED: OLD, NEEDED: NEW}
