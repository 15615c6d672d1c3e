"""Where hosts deviate from ANSSI BP-028 (enhanced), and why: one file for all environments, each entry with its end.

``waiver_problems`` is the one check of it; preview, the Pulumi program, the lab's doctor, Ansible's preflight and the
host tests all ask it. ``ends_soon`` says of an exception from anything whether it is time to warn.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated, Final

from pydantic import Field, StringConstraints

from llmaas.paths import stack_file
from llmaas.settings.beside import read_beside
from llmaas.settings.errors import Problem, SettingsError
from llmaas.settings.infrastructure import Role
from llmaas.settings.platform import Machine, Platform
from llmaas.settings.types import Day, HostName, Section

FILE: Final = "hardening-waivers.yaml"
LONGEST: Final = timedelta(days=366)
# how long before its end an exception is warned of: time to mend the host, or to have the reason judged anew
WARNED: Final = timedelta(days=30)

# a recommendation of ANSSI-BP-028 version 2.0, which has eighty
Control = Annotated[str, StringConstraints(pattern=r"^R([1-9]|[1-7][0-9]|80)$")]
# what deviates, as the host tests and OpenSCAP name it
Deviation = Annotated[
    str,
    StringConstraints(pattern=r"^(kernel|mount|package|scap|service|sshd|sysctl) [A-Za-z0-9/_.:-]+( [a-z0-9_.=-]+)?$"),
]


class HardeningWaiver(Section):
    """One exception: from which recommendation, in what, on which hosts, why and until when."""

    control: Control = Field(description="a recommendation of ANSSI-BP-028, R1 to R80")
    deviations: tuple[Deviation, ...] = Field(
        min_length=1,
        description="a list of what deviates, such as 'sysctl net.ipv4.ip_forward', 'sshd permitrootlogin',"
        " 'mount /tmp noexec', 'service auditd', 'kernel apparmor' or 'scap package_ntp_installed'",
    )
    environments: tuple[HostName, ...] = Field(
        default=(), description="the environments it holds in, such as lab; left away, all of them"
    )
    roles: tuple[Role, ...] = Field(
        default=(), description="a list of control, gpu, log, service; left away, every host and key server"
    )
    hosts: tuple[HostName, ...] = Field(
        default=(), description="a list of names of hosts and key servers; left away, every one of them"
    )
    reason: Annotated[str, StringConstraints(strip_whitespace=True, min_length=20, max_length=600)] = Field(
        description="why it is needed and what protects instead, in 20 to 600 characters"
    )
    expires: Day = Field(description="the last day it holds, as 2027-05-31, a year ahead at most")

    def __str__(self) -> str:
        """What excuses, until when and why, in one line."""
        return f"{self.control} until {self.expires}: {self.reason}"

    def covers(self, environment: str, host: Machine) -> bool:
        """Whether it speaks of that host or key server."""
        if self.environments and environment not in self.environments:
            return False
        if not self.roles and not self.hosts:
            return True
        return host.name in self.hosts or bool(set(self.roles) & set(host.roles))


@dataclass(frozen=True)
class HardeningWaivers:
    """All exceptions, in the order of their file; ``path`` names it in texts."""

    path: str
    entries: tuple[HardeningWaiver, ...]

    def of(self, environment: str, host: Machine) -> dict[str, HardeningWaiver]:
        """What may deviate on a machine, and the exception that says so; whether it has ended is asked elsewhere."""
        return {
            deviation: entry
            for entry in self.entries
            if entry.covers(environment, host)
            for deviation in entry.deviations
        }


class _Document(Section):
    waivers: tuple[HardeningWaiver, ...] = Field(description="a list of exceptions, which may be empty")


def waivers_file() -> Path:
    """Where the exceptions stand: beside the stack files."""
    return stack_file("any").with_name(FILE)


def load_waivers(path: Path | None = None) -> HardeningWaivers:
    """The exceptions that the file grants.

    Raises:
        SettingsError: the file cannot be read or is wrong; every mistake with its place and what would be right.
    """
    source = path or waivers_file()
    name = f"stacks/{source.name}"
    found = read_beside(source, _Document, HardeningWaiver)
    problems = list(_doubled(found.waivers))
    if problems:
        raise SettingsError(name, problems)
    return HardeningWaivers(name, found.waivers)


def waiver_problems(waivers: HardeningWaivers, platform: Platform, today: date) -> tuple[Problem, ...]:
    """What is wrong with the exceptions on a day: ended, too long, or of a host that is not there; all of it."""
    found: list[Problem] = []
    names = {machine.name for machine in platform.machines}
    for index, entry in enumerate(waivers.entries):
        path = f"{waivers.path}: waivers[{index}] ({entry.control})"
        if entry.expires < today:
            found.append(
                Problem(f"{path}.expires", f"was {entry.expires}; end the deviation, or renew it with a reason")
            )
        elif entry.expires - today > LONGEST:
            found.append(Problem(f"{path}.expires", f"is {entry.expires}; a year from {today} is the longest"))
        # names of hosts mean something only in an environment that is named too
        if platform.environment in entry.environments:
            unknown = [name for name in entry.hosts if name not in names]
            found.extend(Problem(f"{path}.hosts", f"{name!r} is no host of {platform.environment}") for name in unknown)
        if entry.hosts and not entry.environments:
            found.append(Problem(f"{path}.environments", "is missing; a host's name needs its environment"))
    return tuple(found)


def ending_waivers(waivers: HardeningWaivers, today: date) -> tuple[Problem, ...]:
    """The exceptions that hold on a day and end soon after, each with its last day."""
    return tuple(
        Problem(f"{waivers.path}: waivers[{index}] ({entry.control}).expires", ending_text(entry.expires, today))
        for index, entry in enumerate(waivers.entries)
        if ends_soon(entry.expires, today)
    )


def ends_soon(expires: date, today: date) -> bool:
    """Whether an exception still holds, and its last day is near."""
    return timedelta(0) <= expires - today <= WARNED


def ending_text(expires: date, today: date) -> str:
    """What is said of an exception that ends soon."""
    left = (expires - today).days
    when = "today" if left == 0 else f"in {left} {'day' if left == 1 else 'days'}"
    return f"is {expires}, {when}; it is refused from the day after: end the deviation, or renew it with a reason"


def _doubled(entries: Sequence[HardeningWaiver]) -> Iterator[Problem]:
    """The same deviation excused twice for the same hosts: nobody could say which reason and which end holds."""
    seen: dict[tuple[object, ...], int] = {}
    for index, entry in enumerate(entries):
        for deviation in entry.deviations:
            key = (deviation, entry.environments, entry.roles, entry.hosts)
            first = seen.setdefault(key, index)
            if first != index:
                yield Problem(f"waivers[{index}].deviations", f"{deviation!r} is excused in waivers[{first}]; keep one")
