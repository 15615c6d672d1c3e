"""Keys of a key server and recovery keys are exchanged while the volumes stay open."""

import pytest
from emulated.fleet import DISKS, HOSTS, LOGS, VOLUMES, Fleet

# starts and restarts of an emulated host, and Ansible on it, take minutes
pytestmark = pytest.mark.timeout(2400)

MOUNT = "/var/log/pods"


def old_keys(fleet: Fleet) -> list[int]:
    """How many keys each key server keeps and no longer advertises."""
    command = "ls -A /var/lib/tang | grep -c '^\\.'"
    return [int(server.ssh(command).stdout) for server in fleet.site.key_servers]


def opens(fleet: Fleet, key: str) -> bool:
    command = f"printf %s {key} | cryptsetup open --test-passphrase --key-file - {LOGS.path}"
    return fleet.guest.ssh(command, 300).returncode == 0


def assert_key_servers_open_all(fleet: Fleet) -> None:
    for name, purpose in VOLUMES:
        asked = f"clevis luks pass -d {DISKS[name][purpose].path} -s 1 | wc -c"
        assert fleet.guest_named(name).output(asked) != "0"


def test_no_key_is_forgotten_while_a_volume_is_bound_to_it(encrypted: Fleet) -> None:
    # as after a rotation that ended before it reached the host
    rotated = encrypted.playbook("-e", "key_server_rotate=true", "--limit", "key_servers")
    assert rotated.returncode == 0, rotated.text
    before = old_keys(encrypted)
    assert min(before) > 0
    refused = encrypted.playbook("-e", "key_server_forget=true", "--limit", "key_servers")
    assert refused.returncode != 0
    bound = ", ".join(sorted(f"{DISKS[name][purpose].path} of {name}" for name, purpose in VOLUMES))
    assert f"{bound}; bind them anew first" in " ".join(refused.text.split())
    assert old_keys(encrypted) == before
    assert_key_servers_open_all(encrypted)


def test_both_kinds_of_keys_are_exchanged_under_an_open_volume(encrypted: Fleet) -> None:
    guest = encrypted.guest
    before = encrypted.recovery_key("logs")
    # a process that would be cut off if the volume were closed
    guest.output(
        f"echo before > {MOUNT}/kept; nohup sleep infinity < {MOUNT}/kept > /dev/null 2>&1 & echo $! > /run/holder"
    )

    rotated = encrypted.playbook("-e", "key_server_rotate=true", "-e", "disk_encryption_new_recovery_keys=true")
    assert rotated.returncode == 0, rotated.text
    assert f"bind {LOGS.path} to 1 of" in rotated.text
    assert f"replace the recovery key of {LOGS.path}" in rotated.text

    forgotten = encrypted.playbook("-e", "key_server_forget=true")
    assert forgotten.returncode == 0, forgotten.text
    # nothing was bound to the old keys any more
    assert [forgotten.changed[name] for name, _ in HOSTS] == [0, 0], forgotten.text
    assert old_keys(encrypted) == [0, 0]

    after = encrypted.recovery_key("logs")
    assert after != before
    assert opens(encrypted, after)
    assert not opens(encrypted, before)
    assert_key_servers_open_all(encrypted)
    # ended by this, so that nothing holds the volume when the host is decommissioned
    assert guest.output(f"cat {MOUNT}/kept; kill $(cat /run/holder) && echo alive") == "before\nalive"
