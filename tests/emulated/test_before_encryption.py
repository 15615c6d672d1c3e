"""What is wrong is named with its path in the stack file, and then nothing was changed on any host."""

import json

import pytest
from emulated.fleet import FOREIGN, LOGS, Fleet, what_is_there

# starts and restarts of an emulated host, and Ansible on it, take minutes
pytestmark = pytest.mark.timeout(2400)

WHERE = "llmaas:hosts[0].data_devices[0]"


def test_a_device_that_is_not_there_is_named(bare: Fleet) -> None:
    before = what_is_there(bare)
    path = "/dev/disk/by-id/virtio-nowhere"
    done = bare.playbook(devices=[{"purpose": "logs", "path": path}])
    assert done.returncode != 0
    assert f"{WHERE}.path: {path} is not there" in done.text
    assert what_is_there(bare) == before


def test_a_device_that_holds_something_is_refused(bare: Fleet) -> None:
    before = what_is_there(bare)
    done = bare.playbook(devices=[{"purpose": "logs", "path": FOREIGN.path}])
    assert done.returncode != 0
    assert f"{WHERE}.path: {FOREIGN.path}: it holds ext4 11111111-2222-3333-4444-555555555555" in done.text
    assert what_is_there(bare) == before


@pytest.mark.parametrize(
    "confirmed",
    [{"another-host": [FOREIGN.path]}, {"store-01": [LOGS.path]}],
    ids=["of another host", "of another device"],
)
def test_a_confirmation_that_names_something_else_confirms_nothing(
    bare: Fleet, confirmed: dict[str, list[str]]
) -> None:
    before = what_is_there(bare)
    given = json.dumps({"disk_encryption_erase": confirmed})
    done = bare.playbook("-e", given, devices=[{"purpose": "logs", "path": FOREIGN.path}])
    assert done.returncode != 0
    assert "it holds ext4" in done.text
    assert what_is_there(bare) == before


def test_a_device_in_use_is_refused_whatever_is_confirmed(bare: Fleet) -> None:
    bare.guest.output(f"mount {FOREIGN.path} /mnt")
    before = what_is_there(bare)
    given = json.dumps({"disk_encryption_erase": {"store-01": [FOREIGN.path]}})
    done = bare.playbook("-e", given, devices=[{"purpose": "logs", "path": FOREIGN.path}])
    after = what_is_there(bare)
    bare.guest.output("umount /mnt")
    assert done.returncode != 0
    assert f"{FOREIGN.path}: it is mounted at /mnt" in done.text
    assert after == before
