"""What happens on a host is told on another machine within seconds, under its own name, and nobody takes it back."""

import json
import os
import re
import secrets
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from host.probing import Machine

from llmaas.paths import ENVIRONMENT_VARIABLE
from llmaas.pki import certificates as x
from llmaas.pki import open_authority
from llmaas.settings import Host, Platform, load_platform
from llmaas.settings import Machine as Declared

pytestmark = pytest.mark.key_servers_too

PLATFORM = load_platform(os.environ.get(ENVIRONMENT_VARIABLE) or "lab")
SCRIPT: Final = (Path(__file__).parent / "log_script.py").read_text(encoding="utf-8")
# Written out here on purpose, as in every check of a live environment.
STORE: Final = "/var/lib/llmaas/logs"
PORT: Final = 6514
LEAST_DAYS: Final = 180
# A line takes a second; more where a machine is busy with something else.
WITHIN_SECONDS: Final = 60
# Longer than between two marks, and shorter than what the alarm waits for on its own.
SILENT_SECONDS: Final = 75
NOBODY: Final = "192.0.2.1"
# Every machine has the first one.
KEYS: Final = [
    "/etc/llmaas/trust/host.key",
    "/etc/chrony/chrony.keys",
    "/etc/llmaas/control-plane/api/encryption.yaml",
    "/etc/kubernetes/pki/*.key",
    "/etc/kubernetes/pki/etcd/*.key",
    "/var/lib/tang/.*.jwk",
    "/var/lib/tang/*.jwk",
]

LOG_HOSTS = PLATFORM.hosts_with_role("log")
each_log_host = pytest.mark.parametrize("kept_on", LOG_HOSTS, ids=lambda host: host.name)


def others(host: Declared) -> list[Host]:
    return [other for other in LOG_HOSTS if other.name != host.name]


def run(machine: Machine, task: str, **values: Any) -> Any:
    return machine.json("/usr/bin/python3", "-c", SCRIPT, json.dumps({"task": task, **values}))


def word() -> str:
    return f"verify{secrets.token_hex(8)}"


def kept(machine: Machine, pattern: str, seconds: float = WITHIN_SECONDS) -> list[dict[str, Any]]:
    """The lines on a log host that match, as soon as there are any."""
    since = (datetime.now(UTC) - timedelta(days=1)).date()
    deadline = time.monotonic() + seconds
    while True:
        found = machine.remote.run(f"llmaas-logs search --since {since} '{pattern}'")
        assert found.rc in {0, 1}, found.stderr
        if found.rc == 0 or time.monotonic() > deadline:
            return [json.loads(line) for line in found.stdout.splitlines()]
        time.sleep(1)


def test_every_host_has_a_log_host_that_is_another_machine(declared: Declared) -> None:
    assert others(declared) != []


def test_a_line_is_kept_on_other_machines_within_seconds_under_the_right_name(
    machines: dict[str, Machine], declared: Declared
) -> None:
    mark = word()
    machines[declared.name].output("logger", "--tag", "llmaas-verify", mark)
    for other in others(declared):
        (line,) = kept(machines[other.name], mark)
        assert (line["sender"], line["program"], line["message"]) == (declared.name, "llmaas-verify", mark)


def test_what_a_line_says_of_itself_does_not_decide_under_whose_name_it_is_kept(
    machines: dict[str, Machine], declared: Declared
) -> None:
    claimed, mark = next(host.name for host in PLATFORM.hosts if host != declared), word()
    frame = f"<14>1 2026-01-01T00:00:00Z {claimed} llmaas-verify - - - {mark}"
    for other in others(declared):
        values = {"address": str(other.address), "port": PORT, "version": "1.3", "own": True, "certificate": ""}
        assert run(machines[declared.name], "send", frame=frame, **values) == "taken"
        assert {line["sender"] for line in kept(machines[other.name], mark)} == {declared.name}


def _foreign() -> str:
    """Somebody else's authority, which says the right name."""
    now = datetime.now(UTC)
    root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root = x.make_root(root_key, "lab", now)
    subject = x.Subject.of(f"host-{PLATFORM.hosts[0].name}", [PLATFORM.hosts[0].name], [], "both")
    leaf = x.make_leaf(key, subject, root, root_key, now)
    return (x.certificate_pem(leaf) + x.key_pem(key)).decode()


def _of_a_part() -> str:
    """A certificate of this environment that is no host's."""
    leaf = open_authority(PLATFORM.environment).ensure_leaf("verify-stranger", dns=["verify.invalid"], usage="client")
    return (leaf.certificate.read_bytes() + leaf.key.read_bytes()).decode()


@each_log_host
@pytest.mark.parametrize("who", ["nobody", "another authority", "no host", "TLS 1.2"])
def test_a_stranger_is_refused_and_nothing_of_it_is_kept(machines: dict[str, Machine], kept_on: Host, who: str) -> None:
    sender, mark = machines[others(kept_on)[0].name], word()
    certificate = {"another authority": _foreign, "no host": _of_a_part}.get(who, str)()
    told = run(
        sender,
        "send",
        address=str(kept_on.address),
        port=PORT,
        version="1.2" if who == "TLS 1.2" else "1.3",
        own=who == "TLS 1.2",
        certificate=certificate,
        frame=f"<14>1 2026-01-01T00:00:00Z {PLATFORM.hosts[0].name} llmaas-verify - - - {mark}",
    )
    assert told == "refused"
    assert kept(machines[kept_on.name], mark, seconds=2) == []


def test_no_key_of_a_host_stands_in_its_log(machines: dict[str, Machine], declared: Declared) -> None:
    assert run(machines[declared.name], "leaked", files=KEYS) == []


@each_log_host
def test_what_is_kept_can_only_be_added_to(machines: dict[str, Machine], kept_on: Host) -> None:
    folder = f"{STORE}/hosts/{others(kept_on)[0].name}"
    today, later = datetime.now(UTC).date(), (datetime.now(UTC) + timedelta(days=5)).date()
    values = {"written": f"{folder}/{today}.jsonl", "empty": f"{folder}/{later}.jsonl"}
    assert run(machines[kept_on.name], "tamper", **values) == []


@each_log_host
def test_all_that_is_kept_belongs_to_root_and_others_may_at_most_add(
    machines: dict[str, Machine], kept_on: Host
) -> None:
    found = machines[kept_on.name].output(
        *("find", f"{STORE}/", "!", "-user", "root", "-o", "-type", "d", "-perm", "/022"),
        *("-o", "-type", "f", "-perm", "/013", "-o", "(", "!", "-type", "f", "!", "-type", "d", ")"),
    )
    assert found == ""


@each_log_host
def test_days_that_are_over_are_closed_and_as_they_were_closed(machines: dict[str, Machine], kept_on: Host) -> None:
    machine = machines[kept_on.name]
    verified = machine.remote.run("llmaas-logs verify")
    assert verified.rc == 0, verified.stderr
    names = machine.output("find", f"{STORE}/hosts", "-name", "*.jsonl", "-printf", "%f\n").split()
    day_before_yesterday = (datetime.now(UTC) - timedelta(days=2)).date()
    assert [name for name in names if name.removesuffix(".jsonl") <= str(day_before_yesterday)] == []


@each_log_host
def test_logs_are_kept_for_the_declared_time_and_no_longer(
    machines: dict[str, Machine], kept_on: Host, platform: Platform
) -> None:
    machine = machines[kept_on.name]
    assert platform.retention is not None
    days = platform.retention.logs.days
    assert days >= LEAST_DAYS
    assert machine.json("cat", "/etc/llmaas/logs/host.json")["retention_days"] == days
    names = machine.output("find", f"{STORE}/hosts", "-name", "*.gz", "-printf", "%f\n").split()
    oldest = (datetime.now(UTC) - timedelta(days=days + 1)).date()
    assert [name for name in names if name.removesuffix(".jsonl.gz") < str(oldest)] == []
    assert "ActiveState=active" in machine.output("systemctl", "show", "-p", "ActiveState", "llmaas-log-keep.timer")


def _status(machine: Machine, kept_on: Host) -> str:
    request = (
        "import ssl,urllib.request as u; c=ssl.create_default_context(cafile='/etc/llmaas/trust/root.crt');"
        "c.load_cert_chain('/etc/llmaas/trust/host.crt','/etc/llmaas/trust/host.key');"
        f"print(u.urlopen('https://{kept_on.address}:9443/metrics',context=c,timeout=10).read().decode())"
    )
    return machine.output("/usr/bin/python3", "-c", request)


@each_log_host
def test_prometheus_hears_how_old_every_host_s_last_line_is(machines: dict[str, Machine], kept_on: Host) -> None:
    text = _status(machines[kept_on.name], kept_on)
    last = dict(re.findall(r'^llmaas_log_last_line_timestamp_seconds\{sender="([^"]+)"\} (\S+)$', text, re.MULTILINE))
    assert set(last) == {machine.name for machine in PLATFORM.machines if machine != kept_on}
    silent = [name for name, at in last.items() if time.time() - float(at) > 5 * 60]
    assert silent == []
    (watched,) = re.findall(r"^llmaas_log_watch_timestamp_seconds (\S+)$", text, re.MULTILINE)
    assert time.time() - float(watched) < 3 * 60


@each_log_host
def test_the_file_system_guards_the_store(machines: dict[str, Machine], kept_on: Host) -> None:
    assert "llmaas_log_store_append_only 1" in _status(machines[kept_on.name], kept_on).splitlines()


@pytest.fixture
def silenced(machines: dict[str, Machine]) -> Iterator[tuple[Host, str]]:
    """A host whose sender was stopped, and what was written there since."""
    host, mark = next(host for host in reversed(PLATFORM.hosts) if host not in LOG_HOSTS), word()
    machine = machines[host.name]
    machine.output("systemctl", "stop", "llmaas-log-sender.service")
    try:
        machine.output("logger", "--tag", "llmaas-verify", mark)
        time.sleep(SILENT_SECONDS + 5)
        yield host, mark
    finally:
        machine.output("systemctl", "start", "llmaas-log-sender.service")


def test_a_host_whose_logs_stop_is_told_on_every_log_host_and_loses_nothing(
    machines: dict[str, Machine], silenced: tuple[Host, str]
) -> None:
    host, mark = silenced
    # What the timer runs, only with less patience, and with a memory of its own.
    settings = (
        f"import json,sys,pathlib; sys.path.insert(0,'/usr/local/lib/llmaas/logs'); import tempfile,dataclasses as d;"
        "import log_store as s, log_watch as w; f=tempfile.TemporaryDirectory();"
        "c=s.Settings.read(pathlib.Path('/etc/llmaas/logs/host.json'));"
        f"c=d.replace(c,late_seconds={SILENT_SECONDS},status=pathlib.Path(f.name));"
        "print(json.dumps(sorted(w.look(c,s.utc_now()).silent)))"
    )
    for other in LOG_HOSTS:
        assert machines[other.name].json("/usr/bin/python3", "-c", settings) == [host.name]
    machines[host.name].output("systemctl", "start", "llmaas-log-sender.service")
    for other in LOG_HOSTS:
        assert len(kept(machines[other.name], mark)) == 1


def test_a_log_host_that_is_away_costs_no_line(machines: dict[str, Machine]) -> None:
    away, mark = LOG_HOSTS[-1], word()
    sender = machines[others(away)[0].name]
    receiver = machines[away.name]
    receiver.output("systemctl", "stop", "llmaas-log-receiver.service")
    try:
        sender.output("logger", "--tag", "llmaas-verify", f"{mark} one")
        time.sleep(3)
        sender.output("logger", "--tag", "llmaas-verify", f"{mark} two")
    finally:
        receiver.output("systemctl", "start", "llmaas-log-receiver.service")
    deadline = time.monotonic() + WITHIN_SECONDS
    while len(lines := kept(receiver, mark)) < 2 and time.monotonic() < deadline:
        time.sleep(1)
    assert [line["message"].split()[-1] for line in lines] == ["one", "two"]


def test_egress_to_the_outside_is_refused_and_logged_here_and_on_the_log_hosts(
    machines: dict[str, Machine], declared: Declared, platform: Platform
) -> None:
    # What the firewall does were there a way out; there is none (the hosts' checks say), so one is made for it.
    machine, port = machines[declared.name], 20_000 + secrets.randbelow(10_000)
    # With the sender's address: another host may have tried the same port.
    pattern = f"refused-output .*SRC={declared.address} .*DST={NOBODY} .*DPT={port} "
    deadline = time.monotonic() + WITHIN_SECONDS
    while True:
        told = run(machine, "refuse", address=NOBODY, port=port, by=str(platform.site.address))
        assert told == ["PermissionError", "TimeoutError"]
        command = f"journalctl --quiet --unit llmaas-refused --since -2min --grep '{pattern}'"
        # In a flood, as other checks may have made right before, not every one is logged.
        if machine.remote.run(command).rc == 0:
            break
        assert time.monotonic() < deadline, "refused, and not logged"
    for other in others(declared):
        found = kept(machines[other.name], pattern)
        assert {line["sender"] for line in found} == {declared.name}
