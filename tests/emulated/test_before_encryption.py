"""What is wrong is named with its path in the stack file, and then nothing was changed on any host."""

import json

import pytest
from emulated.fleet import FOREIGN, KEY_SERVERS, LOGS, Fleet

# starts and restarts of an emulated host, and Ansible on it, take minutes
pytestmark = pytest.mark.timeout(2400)

WHERE = "llmaas:hosts[0].data_devices[0]"


def what_is_there(fleet: Fleet) -> tuple[str, ...]:
    """All that a run could change: signatures, mounts, packages, tables, units."""
    commands = (
        "lsblk --noheadings --output NAME,TYPE,FSTYPE,UUID,MOUNTPOINTS",
        "cat /etc/fstab /etc/crypttab 2>/dev/null | sha256sum",
        "dpkg-query --show | sha256sum",
        "ls /etc/systemd/system /etc/llmaas 2>/dev/null | sha256sum",
    )
    servers = (server.ssh("dpkg-query --show | sha256sum").stdout for server in fleet.site.key_servers)
    return (*(fleet.guest.output(command) for command in commands), *servers)


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


def test_a_check_run_says_what_would_happen_and_changes_nothing(bare: Fleet) -> None:
    before = what_is_there(bare)
    done = bare.playbook("--check")
    assert done.returncode == 0, done.text
    assert f"format {LOGS.path} as LUKS2" in done.text
    for name, _ in KEY_SERVERS:
        assert done.changed[name] > 0
    assert what_is_there(bare) == before
    assert not bare.records.exists()
