"""containerd starts no sooner than its volume is mounted, and keeps all it has there."""

import pytest
from emulated.fleet import HOST, Fleet, Run

from llmaas.views.disks import MOUNTS

# Ansible on an emulated host takes minutes
pytestmark = pytest.mark.timeout(2400)

STATE = f"{MOUNTS['containers']}/io.containerd.metadata.v1.bolt"


def test_installing_containerd_starts_nothing(encrypted: Fleet) -> None:
    """The run that failed had installed it before the disks, and the next one found its folder empty."""
    assert encrypted.guest.output("dpkg-query --show --showformat '${db:Status-Status}' containerd") == "installed"
    assert encrypted.guest.output("systemctl is-enabled containerd || true") == "masked"
    assert encrypted.guest.output(f"test -e {STATE} && echo there || echo empty") == "empty"


def test_the_role_starts_it_on_its_volume(running: tuple[Fleet, Run]) -> None:
    fleet, run = running
    assert run.changes == {f"container_runtime : Run containerd with its only registry on {HOST[0]}"}
    assert fleet.guest.output("systemctl is-enabled containerd && systemctl is-active containerd") == "enabled\nactive"
    assert (
        fleet.guest.output(f"findmnt --noheadings --output SOURCE --target {STATE}") == "/dev/mapper/llmaas-containers"
    )


def test_later_runs_leave_it_as_it_runs(running: tuple[Fleet, Run]) -> None:
    fleet, _ = running
    asked = "systemctl show --property=MainPID containerd"
    before = fleet.guest.output(asked)
    packages = fleet.playbook("--limit", HOST[0], name="hosts.yml")
    assert packages.returncode == 0, packages.text
    assert packages.changed[HOST[0]] == 0, packages.text
    assert fleet.guest.output(asked) == before
