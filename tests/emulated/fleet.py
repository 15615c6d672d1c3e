"""An environment of two emulated hosts and two key servers, and Ansible run against it as an operator would."""

import json
import re
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lab.command import run
from lab.emulated.guest import DataDisk, Guest
from lab.emulated.site import ADDRESS, DOMAIN, ENVIRONMENT, REGISTRY, EmulatedSite
from lab.keys import ssh_command
from lab.site.services import WEB_PORT
from llmaas.hardening import Score, judge_host
from llmaas.paths import PROJECT_ROOT
from llmaas.settings import Platform, build_platform
from llmaas.settings.hardening import load_waivers
from llmaas.settings.source import sections_of_file
from llmaas.views.inventory import RUNTIME_PACKAGES, inventory

KEY_SERVERS = (("key-01", "10.79.0.11"), ("key-02", "10.79.0.12"))
# What is tried on one host is tried on the first; the other is then to be as it was.
HOST, OTHER = HOSTS = (("store-01", "10.79.0.21"), ("store-02", "10.79.0.22"))
LOGS = DataDisk("data-01", 256)
# holds somebody's file system
FOREIGN = DataDisk("data-02", 128)
CONTAINERS, KUBELET = DataDisk("data-03", 512), DataDisk("data-04", 128)
# host -> purpose -> disk; the first host is one of Kubernetes as far as its disks and packages go
DISKS = {HOST[0]: {"logs": LOGS, "containers": CONTAINERS, "kubelet": KUBELET}, OTHER[0]: {"logs": LOGS}}
VOLUMES = [(name, purpose) for name, disks in DISKS.items() for purpose in disks]
MIRROR = f"site.{DOMAIN}"
# as the installer leaves it
SWAP = "/swapfile"
OPENED = "/run/llmaas-disks/state.json"
DEVICES, OTHER_DEVICES = (
    tuple({"purpose": purpose, "path": disk.path} for purpose, disk in disks.items()) for disks in DISKS.values()
)
ROLES = ("control", "service")
FOUNDATION = "foundation.yml"

# Notes a figure: what it is of, and how much, seconds where it is a number.
Note = Callable[[str, float | str], None]


@dataclass(frozen=True)
class Run:
    """What one run of ansible-playbook did."""

    returncode: int
    text: str
    seconds: float

    @property
    def changed(self) -> dict[str, int]:
        """Host -> number of changed tasks, from the recap."""
        return {
            host: int(count)
            for host, count in re.findall(r"^(\S+)\s+: ok=\d+\s+changed=(\d+)", self.text, re.MULTILINE)
        }

    @property
    def changes(self) -> set[str]:
        """Each task that changed something, by its name and its host."""
        found, task = set(), ""
        for line in self.text.splitlines():
            if begun := re.match(r"TASK \[(.*)\] \**$", line):
                task = begun[1]
            elif changed := re.match(r"changed: \[([^] ]+)", line):
                found.add(f"{task} on {changed[1]}")
        return found


@dataclass(frozen=True)
class Checked:
    """A check run, and what was there before and after it."""

    run: Run
    before: tuple[str, ...]
    after: tuple[str, ...]


@dataclass(frozen=True)
class Fleet:
    """The site, and the recipient of recovery keys whose identity lies in ``identity``."""

    site: EmulatedSite
    recipient: str
    identity: Path

    @property
    def guest(self) -> Guest:
        """The first host."""
        return self.site.guests[0]

    @property
    def other(self) -> Guest:
        """The other host."""
        return self.site.guests[1]

    def guest_named(self, name: str) -> Guest:
        """A host by its name."""
        (found,) = (guest for guest in self.site.guests if guest.host.name == name)
        return found

    def records(self, name: str = HOST[0]) -> Path:
        """What is kept of a host's volumes on this machine."""
        return self.site.layout.state / "disks" / name

    def platform(
        self,
        devices: Sequence[dict[str, str]] = DEVICES,
        thumbprints: Mapping[str, str] | None = None,
        roles: Sequence[str] = ROLES,
    ) -> Platform:
        """The lab's stack file with other hosts and no models.

        Args:
            devices: of the first host; the other has the usual ones.
            thumbprints: those of key servers by name.
            roles: of the first host; the other serves.
        """
        declared = thumbprints or {}
        _, sections = sections_of_file("lab")
        changed: dict[str, Any] = {
            "environment": ENVIRONMENT,
            "domain": DOMAIN,
            "network": sections["network"] | {"hosts": str(ADDRESS.network)},
            "site": sections["site"]
            | {
                "address": str(ADDRESS.ip),
                "bastions": [str(ADDRESS.ip)],
                # by name, as in production: a bare host has no name server
                "packages_url": f"https://{MIRROR}:{WEB_PORT}/debian",
                "artefacts_url": f"https://{ADDRESS.ip}:{WEB_PORT}/models",
                "registry": REGISTRY,
                "time_servers": [str(ADDRESS.ip)],
            },
            "kubernetes": sections["kubernetes"]
            | {"api_address": HOST[1], "control_plane_host_names": [f"kubernetes.{DOMAIN}"]},
            "hosts": [
                {"name": name, "address": address, "country": "FR", "roles": list(its), "data_devices": list(disks)}
                for (name, address), its, disks in (
                    (HOST, roles, devices),
                    (OTHER, ("service",), OTHER_DEVICES),
                )
            ],
            "models": [],
            "demand": [],
            "disk_encryption": {
                "key_servers": [
                    {"name": name, "address": address, "thumbprint": declared.get(name)}
                    for name, address in KEY_SERVERS
                ],
                "threshold": 1,
                "recovery_recipients": [self.recipient],
            },
        }
        return build_platform("the emulated environment", sections | changed)

    def playbook(
        self,
        *arguments: str,
        devices: Sequence[dict[str, str]] = DEVICES,
        thumbprints: Mapping[str, str] | None = None,
        roles: Sequence[str] = ROLES,
        name: str = "disks.yml",
        seconds: float = 1200,
    ) -> Run:
        """Run a playbook of the project, or any by its whole path, against the environment."""
        view = inventory(self.platform(devices, thumbprints, roles))
        # one host shows what comes of the container runtime; the other is not made to install it
        other = view["hosts"][OTHER[0]]
        other["packages_names"] = [name for name in other["packages_names"] if name not in RUNTIME_PACKAGES]
        hosts = dict(view["hosts"].items())
        groups = {group: {"hosts": dict.fromkeys(names)} for group, names in view["groups"].items()}
        document = {"all": {"vars": view["all"], "hosts": hosts, "children": groups}}
        path = self.site.layout.state / "inventory.yaml"
        path.write_text(yaml.safe_dump(document), encoding="utf-8")
        environment = {
            "ANSIBLE_CONFIG": str(PROJECT_ROOT / "ansible" / "ansible.cfg"),
            "ANSIBLE_INVENTORY_ENABLED": "yaml",
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_TIMEOUT": "120",
            # connections of an earlier start of the host would only time out
            "ANSIBLE_SSH_ARGS": "-o ControlMaster=auto -o ControlPersist=20s -o Compression=no",
        }
        command = [PROJECT_ROOT / ".venv/bin/ansible-playbook", "-i", path, Path("playbooks", name), *arguments]
        began = time.monotonic()
        done = self.site.network.run(["env", "-C", PROJECT_ROOT / "ansible", *command], seconds, environment)
        return Run(done.returncode, done.stdout + done.stderr, time.monotonic() - began)

    def silence(self, *names: str) -> None:
        """Make key servers stop answering."""
        self._each(names, "systemctl stop tangd.socket")

    def let_answer(self, *names: str) -> None:
        """Make key servers answer again."""
        self._each(names, "systemctl start tangd.socket")

    def _each(self, names: Sequence[str], command: str) -> None:
        for server in self.site.key_servers:
            if server.host.name in names:
                done = server.ssh(command)
                assert done.returncode == 0, done.stderr

    def judgement(self) -> Score:
        """What OpenSCAP says of the first host."""
        platform = self.platform()
        return judge_host(HOST[0], self._remote, load_waivers().of(ENVIRONMENT, platform.hosts[0]))

    def _remote(self, command: str, given: bytes, seconds: float) -> subprocess.CompletedProcess[bytes]:
        arguments = self.site.network.inside([*ssh_command(self.site.layout, HOST[1]), command])
        return subprocess.run(arguments, input=given, capture_output=True, check=False, timeout=seconds)

    def recovery_key(self, purpose: str, name: str = HOST[0]) -> str:
        """The recovery key of a host's volume, as its recipient reads it."""
        (path,) = self.records(name).glob(f"{purpose}-*.recovery.age")
        return run(["age", "--decrypt", "--identity", self.identity, path]).splitlines()[-1]


class Remote:
    """A host as the checks of live hosts ask it: a way to run a command there."""

    def __init__(self, ssh: Callable[[str, float], subprocess.CompletedProcess[str]]) -> None:
        self.ssh = ssh

    def check_output(self, command: str) -> str:
        """What ``command`` prints; one that fails fails the test."""
        done = self.ssh(command, 600)
        assert done.returncode == 0, f"{command}\nended with {done.returncode}: {done.stdout}{done.stderr}"
        return done.stdout.rstrip("\n")


def what_is_there(fleet: Fleet) -> tuple[str, ...]:
    """All that a run could change: signatures, mounts, packages, tables, units."""
    commands = (
        "lsblk --noheadings --output NAME,TYPE,FSTYPE,UUID,MOUNTPOINTS",
        "cat /etc/fstab /etc/crypttab 2>/dev/null | sha256sum",
        "dpkg-query --show | sha256sum",
        "find /etc -type f -exec sha256sum {} + | sort | sha256sum",
    )
    guests = (guest.output(command) for guest in fleet.site.guests for command in commands)
    servers = (server.ssh(command).stdout for server in fleet.site.key_servers for command in commands[2:])
    return (*guests, *servers)


def opened(guest: Guest) -> dict[str, float]:
    """Purpose -> seconds from the start of the kernel to the opening of its volume."""
    done = guest.ssh(f"cat {OPENED}")
    found: dict[str, float] = json.loads(done.stdout) if done.returncode == 0 else {}
    return found


def wait_until_open(guest: Guest) -> float:
    """Seconds from the start of the kernel to the last volume's opening."""
    guest.wait(lambda: set(opened(guest)) == set(DISKS[guest.host.name]), "open volumes", 420)
    return max(opened(guest).values())


def new_identity(path: Path) -> str:
    """Make an age identity; its recipient."""
    made = subprocess.run(["age-keygen", "--output", str(path)], check=True, capture_output=True, text=True)
    return made.stderr.split()[-1]
