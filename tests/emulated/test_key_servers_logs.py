"""Where a log host is declared, it hears key servers under their own names, and tells when one falls silent."""

import json

import pytest
from emulated.fleet import FOUNDATION, HOST, KEY_SERVERS, ROLES, Fleet, Run

# Ansible on an emulated host takes minutes, and so does a silence that nobody doubts
pytestmark = pytest.mark.timeout(2400)

NAMES = [name for name, _ in KEY_SERVERS]
WITH_LOGS = (*ROLES, "log")
WORD = "llmaas-verify-of-{}"


@pytest.fixture(scope="module")
def checked(restarted: Fleet) -> Run:
    """A check run before the host was made a log host."""
    return restarted.playbook("--check", name=FOUNDATION, roles=WITH_LOGS)


@pytest.fixture(scope="module")
def made(restarted: Fleet, checked: Run) -> Run:  # noqa: ARG001  (it comes first)
    """The run that made the host a log host."""
    return restarted.playbook(name=FOUNDATION, roles=WITH_LOGS)


@pytest.fixture(scope="module")
def fleet(restarted: Fleet, made: Run) -> Fleet:
    """The site with a log host."""
    assert made.returncode == 0, made.text
    return restarted


def ssh(fleet: Fleet, name: str, command: str) -> str:
    (server,) = (each for each in fleet.site.key_servers if each.host.name == name)
    done = server.ssh(command)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", NAMES)
def test_a_line_of_a_key_server_is_kept_on_the_log_host_under_its_name(fleet: Fleet, name: str) -> None:
    word = WORD.format(name)
    ssh(fleet, name, f"logger --tag llmaas-verify {word}")
    search = f'llmaas-logs search "{word}"'
    fleet.guest.wait(lambda: fleet.guest.ssh(search).returncode == 0, "the line on the log host", 120)
    lines = [json.loads(line) for line in fleet.guest.output(search).splitlines()]
    assert {line["sender"] for line in lines if line["program"] == "llmaas-verify"} == {name}


@pytest.mark.parametrize("name", NAMES)
def test_what_a_key_server_s_firewall_refuses_is_kept_on_the_log_host(fleet: Fleet, name: str) -> None:
    ssh(fleet, name, f"timeout 2 bash -c '</dev/tcp/{HOST[1]}/22' 2>/dev/null || true")
    search = f"llmaas-logs search --sender {name} 'refused-output .*DST={HOST[1]} .*DPT=22 '"
    fleet.guest.wait(lambda: fleet.guest.ssh(search).returncode == 0, "the refusal on the log host", 120)


def test_a_check_run_names_what_making_a_log_host_then_changes(checked: Run, made: Run) -> None:
    assert checked.returncode == 0, checked.text
    assert checked.changes == made.changes


def test_a_second_run_with_a_log_host_changes_nothing(fleet: Fleet) -> None:
    again = fleet.playbook(name=FOUNDATION, roles=WITH_LOGS)
    assert again.returncode == 0, again.text
    assert set(again.changed.values()) == {0}, again.text


def test_a_key_server_that_falls_silent_is_told(fleet: Fleet) -> None:
    silent, other = NAMES
    told = "llmaas-logs watch 2>&1 || true"
    ssh(fleet, silent, "systemctl stop llmaas-log-sender.service")
    try:
        fleet.guest.wait(lambda: f"{silent}: no line for" in fleet.guest.output(told), "word of the silence", 420)
        assert f"{other}: no line for" not in fleet.guest.output(told)
    finally:
        ssh(fleet, silent, "systemctl start llmaas-log-sender.service")
    fleet.guest.wait(lambda: f"{silent}: no line for" not in fleet.guest.output(told), "its lines again", 120)
