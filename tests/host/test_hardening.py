import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
from host.excuses import Record, excuse
from host.probing import Machine

from llmaas.settings import Machine as Declared
from llmaas.settings import Platform
from llmaas.settings.hardening import HardeningWaiver, load_waivers, waiver_problems
from llmaas.settings.updates import load_updates
from llmaas.verify.verdict import DECLARED

pytestmark = pytest.mark.key_servers_too

# which of some deviations are excused
Excused = Callable[[Iterable[str]], set[str]]

_SCRIPT: Final = (Path(__file__).parent / "hardening_script.py").read_text(encoding="utf-8")
_FACTS: Final[dict[tuple[str, str], dict[str, Any]]] = {}

# Written out here on purpose: a wrong setting must not weaken its own check.
SSHD = {
    "allowstreamlocalforwarding": "no",
    "compression": "no",
    "gatewayports": "no",
    "hostbasedauthentication": "no",
    "ignorerhosts": "yes",
    "loglevel": "VERBOSE",
    "permitrootlogin": "no",
    "permituserrc": "no",
    "strictmodes": "yes",
    "usepam": "yes",
}
SYSCTL = {
    "fs.protected_fifos": "2",
    "fs.protected_hardlinks": "1",
    "fs.protected_regular": "2",
    "fs.protected_symlinks": "1",
    "fs.suid_dumpable": "0",
    "kernel.dmesg_restrict": "1",
    "kernel.kptr_restrict": "2",
    "kernel.modules_disabled": "1",
    "kernel.panic_on_oops": "1",
    "kernel.perf_cpu_time_max_percent": "1",
    "kernel.perf_event_max_sample_rate": "1",
    "kernel.perf_event_paranoid": "3",
    "kernel.pid_max": "65536",
    "kernel.randomize_va_space": "2",
    "kernel.sysrq": "0",
    "kernel.unprivileged_bpf_disabled": "1",
    "kernel.yama.ptrace_scope": "1",
    "net.core.bpf_jit_harden": "2",
    "net.ipv4.conf.all.accept_local": "0",
    "net.ipv4.conf.all.accept_redirects": "0",
    "net.ipv4.conf.all.accept_source_route": "0",
    "net.ipv4.conf.all.route_localnet": "0",
    "net.ipv4.conf.all.rp_filter": "1",
    "net.ipv4.conf.all.secure_redirects": "0",
    "net.ipv4.conf.all.send_redirects": "0",
    "net.ipv4.conf.all.shared_media": "0",
    "net.ipv4.conf.default.secure_redirects": "0",
    "net.ipv4.conf.default.shared_media": "0",
    "net.ipv4.icmp_ignore_bogus_error_responses": "1",
    "net.ipv4.ip_forward": "0",
    "net.ipv4.ip_local_port_range": "32768 65535",
    "net.ipv4.tcp_rfc1337": "1",
    "net.ipv4.tcp_syncookies": "1",
    "net.ipv6.conf.all.accept_redirects": "0",
    "net.ipv6.conf.all.accept_source_route": "0",
    "net.ipv6.conf.all.disable_ipv6": "1",
    "vm.mmap_min_addr": "65536",
}
MOUNT_OPTIONS = {"/tmp": {"nosuid", "nodev", "noexec"}, "/dev/shm": {"nosuid", "nodev", "noexec"}}  # noqa: S108
SETUID = {"/usr/bin/passwd", "/usr/bin/su", "/usr/bin/sudo", "/usr/lib/dbus-1.0/dbus-daemon-launch-helper"}
AUDITED = ("/etc/passwd", "/etc/sudoers", "/etc/ssh", "/etc/kubernetes", "finit_module", "-F euid=0")
UNWANTED_PACKAGES = {
    *("autofs", "avahi-daemon", "cups", "gcc", "inetutils-telnetd", "nis", "rpcbind", "rsh-client", "rsyslog"),
    *("telnet", "telnetd", "tftpd", "xinetd"),
}
MASKED = ("apt-daily-upgrade.timer", "apt-daily.timer", "ctrl-alt-del.target", "debug-shell.service")
BARRED_MODULES = ("cramfs", "dccp", "firewire-core", "hfs", "sctp", "tipc", "usb-storage")


@pytest.fixture
def facts(machine: Machine, declared: Declared, platform: Platform) -> dict[str, Any]:
    """What the host's live parts say; it is asked once."""
    # emulated hosts, which one run may ask too, have names that others may bear
    place = platform.environment, declared.name
    if place not in _FACTS:
        _FACTS[place] = json.loads(machine.output("/usr/bin/python3", "-c", _SCRIPT))
    return _FACTS[place]


@pytest.fixture
def waived(platform: Platform, declared: Declared) -> dict[str, HardeningWaiver]:
    """What may deviate on the host."""
    return load_waivers().of(platform.environment, declared)


@pytest.fixture
def unless_waived(waived: dict[str, HardeningWaiver]) -> Callable[[str], None]:
    """Ends a check that an exception makes impossible here, as not run and with the exception's reason."""

    def ask(deviation: str) -> None:
        if waiver := waived.get(deviation):
            pytest.skip(f"{DECLARED}the exception {waiver}")

    return ask


@pytest.fixture
def excused(waived: dict[str, HardeningWaiver], record_property: Record) -> Excused:
    """Those of some deviations that an exception excuses; the row names each exception that was needed."""
    return lambda found: excuse(found, waived, record_property)


def deviations(kind: str, right: dict[str, str], live: dict[str, str], excused: Excused) -> list[str]:
    """Names whose live value is not the right one, and that no exception excuses."""
    wrong = {
        f"{kind} {name}": f"{name} is {live.get(name)}, not {value}"
        for name, value in right.items()
        if live.get(name) != value
    }
    used = excused(wrong)
    return [text for deviation, text in wrong.items() if deviation not in used]


def test_every_exception_still_holds(platform: Platform) -> None:
    assert [str(problem) for problem in waiver_problems(load_waivers(), platform, datetime.now(UTC).date())] == []


def test_sshd_grants_nothing_that_bp_028_refuses(facts: dict[str, Any], excused: Excused) -> None:
    assert deviations("sshd", SSHD, facts["sshd"], excused) == []
    assert int(facts["sshd"]["clientaliveinterval"]) * int(facts["sshd"]["clientalivecountmax"]) <= 300


def test_sshd_lets_administrators_in_from_bastions_alone(facts: dict[str, Any], platform: Platform) -> None:
    assert set(facts["allowed_users"]) == {f"root@{address}" for address in platform.site.bastions}


def test_wrong_passwords_lock_an_account(facts: dict[str, Any]) -> None:
    assert facts["counted_failures"] == 3


def test_passwords_that_can_be_guessed_are_refused(facts: dict[str, Any]) -> None:
    assert facts["passwords"] == {"guessed": False, "short": False, "long": True}
    # and what judges so is asked by whatever sets one
    asked = ["requisite pam_passwdqc.so"]
    assert facts["password_asks_first"] == {"passwd": asked, "chpasswd": asked}


def test_no_password_opens_an_account_and_root_is_one_account(facts: dict[str, Any]) -> None:
    assert facts["opened_accounts"] == []
    assert facts["accounts_of_root"] == ["root"]


def test_sudo_grants_nobody_anything_and_answers_at_a_terminal_alone(facts: dict[str, Any]) -> None:
    assert "User nobody is not allowed to run sudo" in facts["sudo"]
    assert "User root is not allowed to run sudo" in facts["sudo"]


def test_kernel_parameters_are_those_of_bp_028(facts: dict[str, Any], excused: Excused) -> None:
    assert deviations("sysctl", SYSCTL, facts["sysctl"], excused) == []


def test_nothing_runs_from_temporary_folders_and_processes_are_hidden(facts: dict[str, Any]) -> None:
    for path, options in MOUNT_OPTIONS.items():
        assert options <= set(facts["mounts"][path]), path
    assert {"hidepid=2", "hidepid=invisible"} & set(facts["mounts"]["/proc"])


def test_people_s_files_are_theirs_and_idle_shells_end(facts: dict[str, Any]) -> None:
    assert facts["umask"] == "0077"
    assert 0 < int(facts["idle_seconds"]) <= 900


def test_few_programs_have_root_s_rights_and_no_file_is_everybody_s(facts: dict[str, Any]) -> None:
    assert set(facts["files"]["setuid"]) <= SETUID
    assert facts["files"]["writable"] == []
    assert facts["files"]["unowned"] == []


def test_packages_and_services_are_few(facts: dict[str, Any], excused: Excused) -> None:
    unwanted = {f"package {name}" for name in sorted(UNWANTED_PACKAGES & set(facts["packages"]))}
    assert unwanted - excused(unwanted) == set()
    assert {unit: facts["units"].get(unit) for unit in MASKED} == dict.fromkeys(MASKED, "masked")


def test_drivers_that_no_host_needs_cannot_be_loaded(facts: dict[str, Any]) -> None:
    barred = {line.split()[1].replace("_", "-") for line in facts["modprobe"] if line.endswith("/bin/false")}
    assert set(BARRED_MODULES) <= barred


def test_programs_are_confined_by_apparmor(facts: dict[str, Any], unless_waived: Callable[[str], None]) -> None:
    unless_waived("kernel apparmor")
    assert facts["apparmor_profiles"] > 0


def test_the_kernel_audits_and_nobody_can_stop_it(facts: dict[str, Any], unless_waived: Callable[[str], None]) -> None:
    unless_waived("service auditd")
    assert facts["audit"]["enabled"] == "2"
    rules = "\n".join(facts["audit_rules"])
    assert [part for part in AUDITED if part not in rules] == []


def test_the_journal_is_kept_on_disk(facts: dict[str, Any]) -> None:
    assert facts["journal"]


def test_time_is_taken_from_clocks_that_sign_it(facts: dict[str, Any], platform: Platform) -> None:
    """``chronyc authdata``: name, mode, number and kind of the key, its bits, seconds since it was agreed on."""
    assert {row[0] for row in facts["time"]} == {str(address) for address in platform.site.time_servers}
    assert all(row[1] == "SK" and int(row[2]) > 0 and int(row[4]) >= 256 for row in facts["time"])


def test_updates_are_taken_only_when_they_were_approved(facts: dict[str, Any], platform: Platform) -> None:
    approved = {(each.package, each.version) for each in load_updates(platform.environment)}
    # Inst NAME [OLD] (NEW ...)
    offered = {(line.split()[1], line.partition("(")[2].split()[0]) for line in facts["upgrades"]}
    assert offered <= approved
    assert facts["units"]["llmaas-updates.timer"] == "enabled"
