"""Data devices lie under LUKS2, open by themselves when a key server answers, and stay locked when none does."""

import json

import pytest
from emulated.fleet import (
    DEVICES,
    DISKS,
    FOREIGN,
    FOUNDATION,
    HOST,
    KEY_SERVERS,
    LOGS,
    MIRROR,
    OTHER,
    VOLUMES,
    Fleet,
    Note,
    Run,
    opened,
    wait_until_open,
    what_is_there,
)
from emulated.pods import stand_in_kubelet

from lab.command import run
from lab.emulated.guest import Guest
from lab.emulated.site import ADDRESS
from lab.site.services import WEB_PORT
from llmaas.views.disks import MOUNTS

# starts and restarts of an emulated host, and Ansible on it, take minutes
pytestmark = pytest.mark.timeout(2400)

each_volume = pytest.mark.parametrize(("name", "purpose"), VOLUMES)


def header(guest: Guest, purpose: str) -> dict[str, dict[str, dict[str, object]]]:
    text = guest.output(f"cryptsetup luksDump --dump-json-metadata {DISKS[guest.host.name][purpose].path}")
    found: dict[str, dict[str, dict[str, object]]] = json.loads(text)
    return found


@each_volume
def test_a_volume_is_luks2_with_aes_xts_and_argon2id(encrypted: Fleet, name: str, purpose: str) -> None:
    found = header(encrypted.guest_named(name), purpose)
    bound = {slot for token in found["tokens"].values() if token["type"] == "clevis" for slot in token["keyslots"]}
    assert {segment["encryption"] for segment in found["segments"].values()} == {"aes-xts-plain64"}
    assert {slot["key_size"] for slot in found["keyslots"].values()} == {64}
    by_person = {number: slot["kdf"]["type"] for number, slot in found["keyslots"].items() if number not in bound}
    assert list(by_person.values()) == ["argon2id"]
    assert len(bound) == 1


@each_volume
def test_data_lies_on_the_volume_and_on_nothing_else(encrypted: Fleet, name: str, purpose: str) -> None:
    guest = encrypted.guest_named(name)
    guest.output(f"echo llmaas-plain-text-{purpose} > {MOUNTS[purpose]}/probe && sync")
    assert guest.output(f"findmnt --noheadings --output SOURCE {MOUNTS[purpose]}") == f"/dev/mapper/llmaas-{purpose}"
    content = guest.disk_file(DISKS[name][purpose]).read_bytes()
    assert b"LUKS\xba\xbe" in content
    assert f"llmaas-plain-text-{purpose}".encode() not in content


@each_volume
def test_the_recovery_key_opens_the_volume_and_only_its_recipient_has_it(
    encrypted: Fleet, name: str, purpose: str
) -> None:
    guest, records = encrypted.guest_named(name), encrypted.records(name)
    key = encrypted.recovery_key(purpose, name)
    guest.output("sync")
    command = f"printf %s {key} | cryptsetup open --test-passphrase --key-file - {DISKS[name][purpose].path}"
    assert guest.ssh(command, 300).returncode == 0
    assert key.encode() not in (guest.folder / "root.img").read_bytes()
    kept = [path for path in records.rglob("*") if key.encode() in path.read_bytes()]
    assert kept == []


@each_volume
def test_the_copy_of_the_header_is_encrypted_and_whole(encrypted: Fleet, name: str, purpose: str) -> None:
    guest, records = encrypted.guest_named(name), encrypted.records(name)
    (path,) = records.glob(f"{purpose}-*.header.age")
    assert b"LUKS\xba\xbe" not in path.read_bytes()
    plain = path.with_suffix(".plain")
    run(["age", "--decrypt", "--identity", encrypted.identity, "--output", plain, path])
    record = json.loads((records / f"{purpose}.json").read_text())
    said = run(["blkid", "--probe", "--output", "value", "--match-tag", "UUID", plain]).strip()
    plain.unlink()
    assert said == record["uuid"] == guest.output(f"cryptsetup luksUUID {DISKS[name][purpose].path}")
    assert record["status"] == "ready"


def test_a_host_opens_its_volumes_by_itself_when_one_key_server_answers(restarted: Fleet) -> None:
    for name, purpose in VOLUMES:
        asked = f"findmnt --noheadings --output SOURCE {MOUNTS[purpose]}"
        assert restarted.guest_named(name).output(asked) == f"/dev/mapper/llmaas-{purpose}"


def test_a_second_run_after_a_restart_changes_nothing(restarted: Fleet, figures: Note) -> None:
    again = restarted.playbook(name=FOUNDATION)
    assert again.returncode == 0, again.text
    assert set(again.changed.values()) == {0}, again.text
    figures("second run", again.seconds)


def test_a_host_stays_locked_and_says_so_when_no_key_server_answers(encrypted: Fleet, figures: Note) -> None:
    guest = encrypted.guest
    disks = DISKS[HOST[0]]
    why = "1 of 2 key servers must answer"
    said = [f"LOCKED: {purpose} on {disk.path} ({MOUNTS[purpose]}): {why}" for purpose, disk in disks.items()]
    with stand_in_kubelet(guest):
        encrypted.silence("key-01", "key-02")
        try:
            guest.reboot()
            guest.wait(
                lambda: all(line in guest.console.read_text(errors="replace") for line in said), "word of the lock", 420
            )
            journal = guest.output('journal=$(journalctl --boot --unit llmaas-disks); echo "$journal"')
            assert [line for line in said if line not in journal] == []
            assert opened(guest) == {}
            for purpose in disks:
                assert guest.ssh(f"mountpoint --quiet {MOUNTS[purpose]}").returncode != 0
                # nothing is written beside the volume, and no service that needs it runs
                assert guest.ssh(f"touch {MOUNTS[purpose]}/stray").returncode != 0
            assert guest.output("systemctl is-active kubelet || true") == "inactive"
            # the rules of the audit need no volume
            assert "enabled 2" in guest.output("auditctl -s")
            # a volume that is open stays so
            for purpose in DISKS[OTHER[0]]:
                encrypted.other.output(f"touch {MOUNTS[purpose]}/written && rm {MOUNTS[purpose]}/written")
        finally:
            encrypted.let_answer("key-01", "key-02")
        figures("key servers back to unlocked", guest.wait(lambda: set(opened(guest)) == set(disks), "volumes", 300))
        guest.wait(lambda: guest.ssh("systemctl is-active --quiet kubelet").returncode == 0, "kubelet", 120)


def test_a_swapped_disk_is_named_and_left_alone(converged: tuple[Fleet, Run]) -> None:
    fleet, _ = converged
    guest = fleet.guest
    kept = guest.disk_file(LOGS).with_suffix(".kept")
    guest.power_off()
    guest.disk_file(LOGS).rename(kept)
    guest.new_disk(LOGS)
    try:
        guest.start()
        done = fleet.playbook()
        uuid = json.loads((fleet.records() / "logs.json").read_text())["uuid"]
        assert done.returncode != 0
        assert set(done.changed.values()) == {0}, done.text
        assert f"llmaas:hosts[0].data_devices[0].path: {LOGS.path} is not the recorded disk (LUKS {uuid})" in done.text
        assert guest.ssh(f"blkid --probe {LOGS.path}").returncode == 2
    finally:
        guest.power_off()
        kept.replace(guest.disk_file(LOGS))
        guest.start()
    wait_until_open(guest)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "llmaas:disk_encryption.key_servers[0].thumbprint: key-01 answers at"),
        # without a host that could ask it
        (("--limit", "key_servers"), "key-01 signs with"),
    ],
    ids=["in preflight", "on the key server itself"],
)
def test_a_key_server_with_another_key_than_the_declared_one_is_refused(
    encrypted: Fleet, arguments: tuple[str, ...], said: str
) -> None:
    before = what_is_there(encrypted)
    done = encrypted.playbook(*arguments, thumbprints={"key-01": "A" * 43})
    assert done.returncode != 0
    # long lines are folded
    assert said in " ".join(done.text.split())
    assert "A" * 43 in done.text
    assert set(done.changed.values()) == {0}
    assert what_is_there(encrypted) == before


def test_a_confirmed_device_is_erased_and_the_others_stay(converged: tuple[Fleet, Run]) -> None:
    fleet, _ = converged
    devices = [*DEVICES, {"purpose": "weights", "path": FOREIGN.path}]
    given = json.dumps({"disk_encryption_erase": {HOST[0]: [FOREIGN.path]}})
    ask = f"cryptsetup luksUUID {LOGS.path}"
    before = [guest.output(ask) for guest in fleet.site.guests]
    done = fleet.playbook("-e", given, devices=devices)
    assert done.returncode == 0, done.text
    assert (
        fleet.guest.output("findmnt --noheadings --output SOURCE /var/lib/llmaas/models")
        == "/dev/mapper/llmaas-weights"
    )
    assert [guest.output(ask) for guest in fleet.site.guests] == before
    # and taken away, so that the host is again what its declaration says
    take_away = (
        "umount /var/lib/llmaas/models",
        "cryptsetup close llmaas-weights",
        f"wipefs --all {FOREIGN.path}",
        "sed -i '/llmaas-weights/d' /etc/fstab /etc/crypttab",
        "systemctl daemon-reload",
    )
    fleet.guest.output(" && ".join(take_away))


def test_the_mirror_s_name_leads_to_the_declared_address_alone(encrypted: Fleet) -> None:
    """Also where the table led elsewhere before, and nothing but the role packages writes it."""
    for ask in (
        *(guest.ssh for guest in encrypted.site.guests),
        *(server.ssh for server in encrypted.site.key_servers),
    ):
        known = ask(f"getent --service files ahostsv4 {MIRROR}").stdout.splitlines()
        assert {line.split()[0] for line in known} == {str(ADDRESS.ip)}


@pytest.mark.parametrize(("name", "address"), KEY_SERVERS)
def test_a_key_server_opens_disks_for_hosts_alone_and_opens_nothing_itself(
    encrypted: Fleet, name: str, address: str
) -> None:
    knock = "timeout 20 bash -c '</dev/tcp/{}/{}' 2>/dev/null && echo open || echo closed"
    (server,) = (each for each in encrypted.site.key_servers if each.host.name == name)
    from_here = {port: encrypted.site.network.run(["sh", "-c", knock.format(address, port)]) for port in (22, 7500)}
    assert {port: done.stdout.strip() for port, done in from_here.items()} == {22: "open", 7500: "closed"}
    for guest in encrypted.site.guests:
        assert guest.output(knock.format(address, 7500)) == "open"
        assert guest.output(knock.format(address, 22)) == "closed"
        assert server.ssh(knock.format(guest.host.address, 22)).stdout.strip() == "closed"
    assert server.ssh(knock.format(ADDRESS.ip, WEB_PORT)).stdout.strip() == "open"
