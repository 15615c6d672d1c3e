"""What this machine lacks to carry the lab: looked at before anything is changed, all of it at once."""

import ipaddress
import os
import shutil
import subprocess
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum
from pathlib import Path
from typing import Final

from lab.base import packages
from lab.cgroups import lab_runs_at
from lab.layout import BRIDGE, ENVIRONMENT, Layout
from lab.machine import copy_speed, unified_cgroups
from lab.network import address_conflicts, bridge_owner, route_conflicts
from lab.processes import ProcessTable
from lab.reach import answering_hosts
from lab.site.services import CLOCK_PORT, REGISTRY_PORT, WEB_PORT
from lab.spec import LabSpec
from lab.toolchain import official_program
from lab.toolchain.go import RELEASE, WANTED, installed_go
from lab.toolchain.plugins import PLUGINS, official_plugin
from llmaas.paths import PROJECT_ROOT
from llmaas.settings import SettingsError, load_platform
from llmaas.views.hardening import ending, refused

_CORES: Final = 2
_MEMORY_GIB: Final = 22
_FREE_MEMORY_GIB: Final = 14
_FREE_DISK_GIB: Final = 25
# A tenth of it, which others can leave of a shared machine, made hosts and pods start five times as slowly.
_COPY_GB_A_SECOND: Final = 1.0
# What a lab that runs, whose images and disks are made, may still write.
_FREE_DISK_RUNNING_GIB: Final = 5
# Small things of every kernel feature, each made in a network namespace that goes with the command.
_KERNEL_TRIALS: Final = {
    "bridge": ["ip", "link", "add", "trial", "type", "bridge"],
    "veth": ["ip", "link", "add", "trial", "type", "veth"],
    "nftables": ["nft", "add", "table", "inet", "trial"],
}


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    NOTE = "note"
    FAIL = "fail"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    subject: str
    level: Level
    text: str
    remedy: str = ""


_NOT_LOOKED_AT: Final = Finding("network", Level.NOTE, "not looked at: the stack file is wrong")


def diagnose(here: Layout, spec: LabSpec | None) -> list[Finding]:
    """Look at everything; nothing is changed. Without ``spec``, whose file is wrong, not at addresses and ports."""
    running = bool(ProcessTable.at(here.run).running())
    return [
        *settings(datetime.now(UTC).date()),
        *_resources(here, running=running),
        _cgroups(),
        *_kernel(),
        _packages(),
        _go(),
        *(_network(here, spec) if spec else [_NOT_LOOKED_AT]),
        *(_ports(here, spec) if spec else []),
        *(_hosts(here, spec) if spec else []),
        *_official(),
    ]


def problems_text(findings: list[Finding]) -> str:
    """The failures, one a line with what to do; empty when there is none."""
    bad = [finding for finding in findings if finding.level is Level.FAIL]
    return "\n".join(f"{finding.subject}: {finding.text}; {finding.remedy}" for finding in bad)


def _judge(subject: str, text: str, remedy: str, *, good: bool) -> Finding:
    return Finding(subject, Level.OK, text) if good else Finding(subject, Level.FAIL, text, remedy)


def settings(today: date) -> list[Finding]:
    """Whether the stack file can be used, and whether its exceptions hold on that day."""
    try:
        platform = load_platform(ENVIRONMENT)
    except SettingsError as error:
        return [Finding("stack file", Level.FAIL, str(error), f"mend stacks/Pulumi.{ENVIRONMENT}.yaml")]
    remedy = "Ansible would refuse before any host is changed; mend that entry"
    ended = [Finding("exceptions", Level.FAIL, str(each), remedy) for each in refused(platform, today)]
    soon = [Finding("exceptions", Level.NOTE, str(each)) for each in ending(platform, today)]
    return [
        Finding("stack file", Level.OK, f"{len(platform.hosts)} hosts, {len(platform.models)} models"),
        *(ended or [Finding("exceptions", Level.OK, "all hold today")]),
        *soon,
    ]


def _resources(here: Layout, *, running: bool) -> list[Finding]:
    memory = _memory_gib()
    cores = len(os.sched_getaffinity(0))
    avx2 = _has_avx2()
    disk = shutil.disk_usage(here.cache).free / 2**30
    wanted_disk = _FREE_DISK_RUNNING_GIB if running else _FREE_DISK_GIB
    found = [
        _judge("user", "root" if os.geteuid() == 0 else "not root", "run it as root", good=os.geteuid() == 0),
        _judge("processor", f"{cores} cores", f"at least {_CORES} are needed", good=cores >= _CORES),
        _judge(
            "vector units",
            "AVX2" if avx2 else "no AVX2",
            "the kernels of vLLM need a processor with AVX2",
            good=avx2,
        ),
        _judge(
            "memory",
            f"{memory['MemTotal']:.0f} GiB",
            f"at least {_MEMORY_GIB} GiB are needed",
            good=memory["MemTotal"] >= _MEMORY_GIB,
        ),
        _judge(
            "disk",
            f"{disk:.0f} GiB free at {here.cache}",
            f"at least {wanted_disk} GiB are needed; LLMAAS_CACHE and LLMAAS_STATE put it elsewhere",
            good=disk >= wanted_disk,
        ),
    ]
    if not running:
        found.append(
            _judge(
                "free memory",
                f"{memory['MemAvailable']:.0f} GiB available",
                f"at least {_FREE_MEMORY_GIB} GiB are needed: end what uses it",
                good=memory["MemAvailable"] >= _FREE_MEMORY_GIB,
            )
        )
        # of a lab that runs, it would show the lab's own work
        found.append(_speed())
    return found


def _speed() -> Finding:
    speed = copy_speed()
    text = f"copies {speed:.1f} GB/s"
    if speed >= _COPY_GB_A_SECOND:
        return Finding("memory speed", Level.OK, text)
    return Finding("memory speed", Level.NOTE, f"{text}: this machine is busy or slow, and so is what comes up on it")


def _has_avx2() -> bool:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return any(line.startswith("flags") and "avx2" in line.split() for line in lines)


def _memory_gib() -> dict[str, float]:
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    fields = (line.split() for line in lines)
    return {field[0].rstrip(":"): int(field[1]) / 2**20 for field in fields}


def _cgroups() -> Finding:
    return Finding("control groups", Level.OK, "v2" if unified_cgroups() else "v1 or hybrid")


def _kernel() -> list[Finding]:
    remedy = "a kernel with it is needed (on Debian: modprobe overlay bridge veth nf_tables vxlan)"
    found = []
    for feature, command in _KERNEL_TRIALS.items():
        if shutil.which(command[0]) is None:
            found.append(Finding(feature, Level.NOTE, f"not tried: {command[0]} is not installed yet"))
            continue
        if os.geteuid() != 0:
            found.append(Finding(feature, Level.NOTE, "not tried: only root can"))
            continue
        done = subprocess.run(["unshare", "--net", *command], check=False, capture_output=True, text=True)
        text = "works" if done.returncode == 0 else f"does not work: {done.stderr.strip()}"
        found.append(_judge(feature, text, remedy, good=done.returncode == 0))
    known = {line.split()[-1] for line in Path("/proc/filesystems").read_text(encoding="ascii").splitlines()}
    overlay = "overlay" in known
    return [*found, _judge("overlay", "works" if overlay else "unknown to the kernel", remedy, good=overlay)]


def _packages() -> Finding:
    wanted = packages(PROJECT_ROOT / "lab" / "debian-packages.txt")
    if shutil.which("npm") is None:
        # as bin/install-packages: some builds of Node.js bring it themselves
        wanted = (*wanted, "npm")
    if shutil.which("dpkg-query") is None:
        return Finding("packages", Level.FAIL, "this is no Debian machine", "use Debian 12")
    command = ["dpkg-query", "--show", "--showformat=${Package} ${db:Status-Status}\n", *wanted]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    there = {line.split()[0] for line in done.stdout.splitlines() if line.endswith(" installed")}
    missing = [name for name in wanted if name not in there]
    if not missing:
        return Finding("packages", Level.OK, f"{len(wanted)} Debian packages are there")
    line = f"apt-get install --no-install-recommends {' '.join(missing)}"
    return Finding("packages", Level.NOTE, f"missing, `make up` installs them: {line}")


def _go() -> Finding:
    installed = installed_go()
    if installed:
        return Finding("go", Level.OK, f"{installed[0]}, {installed[1]}")
    oldest = ".".join(map(str, WANTED))
    return Finding("go", Level.NOTE, f"none of {oldest} or newer, `make up` fetches {RELEASE} from the module mirror")


def _network(here: Layout, spec: LabSpec) -> list[Finding]:
    if shutil.which("ip") is None:
        return [Finding("network", Level.NOTE, "not looked at: iproute2 is not installed yet")]
    owner = bridge_owner()
    # a lab of which nothing runs any more gives way
    foreign = owner is not None and owner != str(here.state) and (not owner or lab_runs_at(owner))
    conflicts = [*address_conflicts(spec), *route_conflicts(spec)]
    return [
        _judge(
            "bridge",
            f"{BRIDGE} belongs to {owner or 'something else'}" if foreign else f"{BRIDGE} is ours or free",
            f"end that lab first: LLMAAS_STATE={Path(owner or '').parent} make down"
            if owner
            else f"if nothing needs it: ip link delete {BRIDGE}",
            good=not foreign,
        ),
        _judge(
            "addresses",
            f"{spec.network} is in use: {'; '.join(conflicts)}" if conflicts else f"{spec.network} is free",
            "change llmaas:network.hosts and the addresses in stacks/Pulumi.lab.yaml, or that link",
            good=not conflicts,
        ),
    ]


def _ports(here: Layout, spec: LabSpec) -> list[Finding]:
    table = ProcessTable.at(here.run)
    wanted = (
        ("site-web", "tcp", WEB_PORT),
        ("site-registry", "tcp", REGISTRY_PORT),
        ("site-clock", "udp", CLOCK_PORT),
    )
    address = ipaddress.IPv4Address(spec.site_address)
    found = []
    for name, protocol, port in wanted:
        if table.get(name) is not None:
            continue
        taken = listens(protocol, port, address)
        text = f"{protocol} port {port} is {'in use' if taken else 'free'} at {address}"
        remedy = f"see who has it: ss -lnp 'sport = :{port}'; end it or let it listen elsewhere"
        found.append(_judge(f"port {port}", text, remedy, good=not taken))
    return found


def _hosts(here: Layout, spec: LabSpec) -> list[Finding]:
    """Those that run must answer; where none runs there is nothing to tell."""
    running, silent = answering_hosts(here, spec)
    if not running:
        return []
    remedy = f"see {here.hosts}/NAME/console.log; to start one afresh: bin/llmaas lab hosts down NAME, then make up"
    text = "; ".join(f"{name} does not answer: {why}" for name, why in silent.items()) or f"{running} run and answer"
    return [_judge("hosts", text, remedy, good=not silent)]


def listens(protocol: str, port: int, address: ipaddress.IPv4Address) -> bool:
    """Whether something listens at the address or at all addresses."""
    state = {"tcp": "0A", "udp": "07"}[protocol]
    wanted = {"00000000", address.packed[::-1].hex().upper(), "0" * 32}
    for table in (protocol, f"{protocol}6"):
        path = Path("/proc/net") / table
        if not path.exists():
            continue
        for line in path.read_text(encoding="ascii").splitlines()[1:]:
            local, socket_state = line.split()[1], line.split()[3]
            where, _, number = local.partition(":")
            if socket_state == state and int(number, 16) == port and where in wanted:
                return True
    return False


def _official() -> list[Finding]:
    """Which programs are the official ones, and which are built here or stand in for them."""
    found = []
    for program in ("kubelet", "kubeadm", "etcd", "coredns", "pulumi"):
        path = official_program(program)
        found.append(Finding(program, Level.OK, f"{path}, installed" if path else "built from its Go module"))
    for program in PLUGINS:
        path = official_plugin(program)
        found.append(Finding(program, Level.OK, f"{path}, installed" if path else "our stand-in, lab/standins"))
    return found
