"""A host leaves: its disks open for nobody, and a certificate says so. Runs last: there is no way back."""

import json
from pathlib import Path

import pytest
from emulated.fleet import HOST, LOGS, Fleet, Run, wait_until_open
from llmaas_gateway.audit.signing import ERASURE, Signer, Verifier

from lab.emulated.site import ENVIRONMENT
from llmaas.erasure import problems
from llmaas.secrets import SecretStore

pytestmark = pytest.mark.timeout(2400)
NAMED = ("-e", f"decommission_host={HOST[0]}", "-e", "decommission_by=Ada")


@pytest.fixture(scope="module")
def erased(converged: tuple[Fleet, Run]) -> tuple[Fleet, str]:
    """The host after it was decommissioned, and the key that opened its volume before."""
    fleet = converged[0]
    key = fleet.recovery_key("logs")
    done = fleet.playbook(*NAMED, name="decommission.yml")
    assert done.returncode == 0, done.text
    return fleet, key


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


def test_neither_key_servers_nor_the_recovery_key_open_the_volume(erased: tuple[Fleet, str]) -> None:
    fleet, key = erased
    guest = fleet.guest
    assert guest.ssh("test -e /dev/mapper/llmaas-logs").returncode != 0
    assert guest.ssh(f"clevis luks unlock -d {LOGS.path} -n llmaas-logs", 120).returncode != 0
    command = f"printf %s {key} | cryptsetup open --test-passphrase --key-file - {LOGS.path}"
    assert guest.ssh(command, 300).returncode != 0


def test_the_other_host_keeps_its_volume(erased: tuple[Fleet, str]) -> None:
    other = erased[0].other
    assert other.output("findmnt --noheadings --output SOURCE /var/log/pods") == "/dev/mapper/llmaas-logs"
    other.reboot()
    wait_until_open(other)


def test_the_certificate_holds_and_names_the_disk(erased: tuple[Fleet, str]) -> None:
    fleet, _ = erased
    text = certificate(fleet).read_text()
    public = Signer.from_secret(SecretStore.open(ENVIRONMENT).text("evidence-signing-key")).public_pem()
    assert problems(text, Verifier.from_pems([public], ERASURE)) == []
    (device,) = json.loads(text)["statement"]["devices"]
    assert device["path"] == LOGS.path
    assert device["attempts"][0]["with"] == "the key of the key servers"
    assert device["attempts"][0]["before"] == "opened"
    assert device["key_slots"] == {"before": 2, "after": 0}


def test_the_host_comes_back_without_its_volume(erased: tuple[Fleet, str]) -> None:
    fleet, _ = erased
    fleet.guest.reboot()
    assert fleet.guest.ssh("test -e /dev/mapper/llmaas-logs").returncode != 0
    done = fleet.playbook()
    assert done.returncode != 0
    assert "was erased when its host was decommissioned" in done.text
