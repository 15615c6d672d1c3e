"""Hosts with kernels of their own, after the roles and a restart: nothing that a kernel can show is left out."""

import pytest
from emulated.fleet import HOSTS, Checked, Fleet, Remote, Run

# the checks of live hosts, asked of each of these; those that need Kubernetes are left out
from emulated.live_checks import *  # noqa: F403
from host.excuses import Record, tell
from host.probing import Attempt, Machine
from host.test_volumes import (  # noqa: F401
    test_every_declared_device_is_open_and_mounted_as_luks2,
    test_no_swap_writes_memory_in_the_clear,
)

from lab.emulated.guest import Guest
from lab.emulated.network import BRIDGE
from lab.emulated.site import ADDRESS
from lab.keys import ssh_command
from llmaas.hardening import Score
from llmaas.settings import Host, Platform

# starts and restarts of an emulated host, and Ansible on it, take minutes
pytestmark = pytest.mark.timeout(2400)


@pytest.fixture
def platform(restarted: Fleet) -> Platform:
    return restarted.platform()


@pytest.fixture(params=[name for name, _ in HOSTS])
def declared(request: pytest.FixtureRequest, platform: Platform) -> Host:
    return platform.host(request.param)


@pytest.fixture
def guest(restarted: Fleet, declared: Host) -> Guest:
    return restarted.guest_named(declared.name)


@pytest.fixture
def machine(guest: Guest) -> Machine:
    return Machine(Remote(guest.ssh))


def test_a_role_that_fails_leaves_the_host_reachable_and_the_next_run_mends_it(
    interrupted: tuple[Fleet, Run], converged: tuple[Fleet, Run]
) -> None:
    _, failed = interrupted
    assert failed.returncode != 0
    assert "no_such_parameter" in failed.text
    # it was in the middle: much had been done, and the next run reached the host and did the rest
    assert any(change.startswith("packages : ") for change in failed.changes)
    assert not any(change.startswith("firewall : ") for change in failed.changes)
    assert any(change.startswith("firewall : ") for change in converged[1].changes)


def test_a_check_run_names_what_the_run_then_changes(
    checked: Checked, interrupted: tuple[Fleet, Run], converged: tuple[Fleet, Run]
) -> None:
    done = interrupted[1].changes | converged[1].changes
    assert checked.run.changes == done


def test_the_outside_judge_finds_nothing_broken_that_no_exception_excuses(
    score_before: Score, score_after: Score, record_property: Record
) -> None:
    tell(record_property, {f"scap {rule.rule}": rule.waiver for rule in score_after.waived})
    assert [rule.rule for rule in score_after.failed] == []
    assert score_after.passed > score_before.passed


def test_a_host_lets_nobody_in_but_its_bastion(restarted: Fleet, guest: Guest) -> None:
    """The firewall keeps others away, and without it sshd refuses them, whatever key they have."""
    network, address = restarted.site.network, guest.host.address
    for server in restarted.site.key_servers:
        assert Machine(Remote(server.ssh)).attempt([Attempt(address, 22)]) == ["silent"]
    stranger = str(ADDRESS.ip + 98)
    program, *arguments = ssh_command(restarted.site.layout, address)
    as_stranger = [program, f"-oBindAddress={stranger}", "-oConnectTimeout=30", *arguments, "true"]
    network.run(["ip", "address", "add", f"{stranger}/24", "dev", BRIDGE])
    guest.output("nft insert rule inet llmaas_hosts input tcp dport 22 accept")
    try:
        refused = network.run(as_stranger)
    finally:
        guest.output("systemctl reload llmaas-firewall")
        network.run(["ip", "address", "delete", f"{stranger}/24", "dev", BRIDGE])
    assert refused.returncode == 255
    assert "Permission denied" in refused.stderr
    assert guest.ssh("true").returncode == 0


def test_a_barred_driver_is_not_loaded_and_audit_rules_cannot_be_changed(guest: Guest) -> None:
    assert guest.ssh("modprobe sctp").returncode != 0
    assert guest.ssh("auditctl -D").returncode != 0


def test_what_the_audit_watches_is_recorded(guest: Guest) -> None:
    guest.output("touch /etc/ssh/llmaas-probe && rm /etc/ssh/llmaas-probe")
    assert "llmaas-probe" in guest.output("sleep 1; ausearch --input-logs --key sshd --interpret")


def test_the_clock_s_daemon_is_confined(guest: Guest) -> None:
    assert guest.output("cat /proc/$(pidof -s chronyd)/attr/current") == "/usr/sbin/chronyd (enforce)"
