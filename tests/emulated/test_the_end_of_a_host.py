"""A host leaves: no pod holds its disks, they open for nobody, and a certificate says so. Runs last: it is for good."""

import json
from pathlib import Path

import pytest
from emulated.fleet import DISKS, HOST, LOGS, Fleet, Run, wait_until_open
from emulated.pods import run_pod
from llmaas_gateway.audit.signing import ERASURE, Signer, Verifier

from lab.emulated.site import ENVIRONMENT
from llmaas.erasure import problems
from llmaas.secrets import SecretStore
from llmaas.views.disks import MOUNTS

pytestmark = pytest.mark.timeout(2400)
NAMED = ("-e", f"decommission_host={HOST[0]}", "-e", "decommission_by=Ada")
Keys = dict[str, str]


@pytest.fixture(scope="module")
def held(running: tuple[Fleet, Run]) -> tuple[Fleet, Keys]:
    """The host while a pod runs on it that no drain moves, and purpose -> the key that opens its volume."""
    fleet = running[0]
    run_pod(fleet.guest)
    return fleet, {purpose: fleet.recovery_key(purpose) for purpose in DISKS[HOST[0]]}


@pytest.fixture(scope="module")
def erased(held: tuple[Fleet, Keys]) -> tuple[Fleet, Keys]:
    """The host after it was decommissioned."""
    done = held[0].playbook(*NAMED, name="decommission.yml")
    assert done.returncode == 0, done.text
    return held


def certificate(fleet: Fleet) -> Path:
    (path,) = fleet.records().glob("erasure-*.json")
    return path


@pytest.mark.parametrize("arguments", [(), NAMED[:2], ("-e", "decommission_host=store-09", *NAMED[2:])])
def test_a_host_that_is_not_named_is_not_touched(converged: tuple[Fleet, Run], arguments: tuple[str, ...]) -> None:
    fleet, _ = converged
    before = fleet.guest.output(f"cryptsetup luksDump --dump-json-metadata {LOGS.path}")
    done = fleet.playbook(*arguments, name="decommission.yml")
    assert done.returncode != 0
    assert "give -e decommission_host=NAME" in done.text
    assert fleet.guest.output(f"cryptsetup luksDump --dump-json-metadata {LOGS.path}") == before


def test_a_check_run_changes_nothing(converged: tuple[Fleet, Run]) -> None:
    fleet, _ = converged
    done = fleet.playbook(*NAMED, "--check", name="decommission.yml")
    assert done.returncode == 0, done.text
    assert fleet.guest.output("findmnt --noheadings --output SOURCE /var/log/pods") == "/dev/mapper/llmaas-logs"


def test_a_volume_in_use_is_left_whole_and_its_user_is_named(held: tuple[Fleet, Keys]) -> None:
    guest = held[0].guest
    assert guest.ssh(f"umount {MOUNTS['kubelet']}").returncode != 0
    guest.output(f"cd {MOUNTS['logs']}; nohup sleep infinity > /dev/null 2>&1 & echo $! > /run/user-of-logs")
    done = held[0].playbook(*NAMED, name="decommission.yml")
    user = guest.output("cat /run/user-of-logs; kill $(cat /run/user-of-logs)")
    assert done.returncode != 0
    assert f"it is used by sleep ({user})" in " ".join(done.text.split())
    assert guest.output(f"cryptsetup luksDump --dump-json-metadata {LOGS.path} | jq '.keyslots | length'") == "2"


def test_no_container_is_left_and_none_comes_back(erased: tuple[Fleet, Keys]) -> None:
    guest = erased[0].guest
    assert guest.output("pgrep --count containerd || true") == "0"
    assert guest.output("systemctl is-enabled containerd || true") == "disabled"
    held = "-e containerd -e /var/lib/kubelet -e /var/log/pods"
    assert guest.output(f"grep --count {held} /proc/self/mountinfo || true") == "0"


def test_neither_key_servers_nor_the_recovery_key_open_a_volume(erased: tuple[Fleet, Keys]) -> None:
    fleet, keys = erased
    guest = fleet.guest
    for purpose, disk in DISKS[HOST[0]].items():
        assert guest.ssh(f"test -e /dev/mapper/llmaas-{purpose}").returncode != 0
        assert guest.ssh(f"clevis luks unlock -d {disk.path} -n llmaas-{purpose}", 120).returncode != 0
        command = f"printf %s {keys[purpose]} | cryptsetup open --test-passphrase --key-file - {disk.path}"
        assert guest.ssh(command, 300).returncode != 0


def test_the_other_host_keeps_its_volume(erased: tuple[Fleet, Keys]) -> None:
    other = erased[0].other
    assert other.output("findmnt --noheadings --output SOURCE /var/log/pods") == "/dev/mapper/llmaas-logs"
    other.reboot()
    wait_until_open(other)


def test_the_certificate_holds_and_names_the_disk(erased: tuple[Fleet, Keys]) -> None:
    fleet, _ = erased
    text = certificate(fleet).read_text()
    public = Signer.from_secret(SecretStore.open(ENVIRONMENT).text("evidence-signing-key")).public_pem()
    assert problems(text, Verifier.from_pems([public], ERASURE)) == []
    devices = json.loads(text)["statement"]["devices"]
    assert [device["path"] for device in devices] == [disk.path for disk in DISKS[HOST[0]].values()]
    assert {device["key_slots"]["after"] for device in devices} == {0}
    # the first run had erased the others, and could not close this one
    device = devices[0]
    assert device["attempts"][0]["with"] == "the key of the key servers"
    assert device["attempts"][0]["before"] == "opened"
    assert device["key_slots"] == {"before": 2, "after": 0}


def test_the_host_comes_back_without_its_volume(erased: tuple[Fleet, Keys]) -> None:
    fleet, _ = erased
    fleet.guest.reboot()
    assert fleet.guest.output("ls /dev/mapper") == "control"
    done = fleet.playbook()
    assert done.returncode != 0
    assert "was erased when its host was decommissioned" in done.text
