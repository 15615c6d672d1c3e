"""Exceptions in force: what is excused from a rule of the policy pack, or from a recommendation for hosts.

What is excused passes its check, so evidence has to name it beside what it proves.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from typing import Final

from llmaas.evidence.existing import POLICY
from llmaas.settings import Platform
from llmaas.settings.hardening import load_waivers

# How the control map names the framework whose recommendations hosts deviate from.
HARDENING: Final = "anssi-bp-028"


@dataclass(frozen=True)
class Exemption:
    """One exception.

    Attributes:
        control: a check of the control map (``policy/no-host-path``), or framework and id (``anssi-bp-028 R12``).
        what: the object that is excused, or what deviates.
        where: the hosts; of an object, the cluster.
        reason: as whoever granted it wrote it.
        expires: the last day.
    """

    control: str
    what: str
    where: str
    reason: str
    expires: date

    def __str__(self) -> str:
        """In one line."""
        return f"{self.what} ({self.where}) until {self.expires}: {self.reason}"


def exemptions_in_force(platform: Platform, day: date) -> tuple[Exemption, ...]:
    """Every exception that holds in an environment on a day, those from the policies first.

    Raises:
        SettingsError: the exceptions from the hardening cannot be read; without them nothing may be called proved.
    """
    return (*_policies(platform, day), *_hardening(platform, day))


def texts_of(exemptions: Iterable[Exemption], control: str) -> tuple[str, ...]:
    """The exceptions from one control, a line each."""
    return tuple(str(each) for each in exemptions if each.control == control)


def _policies(platform: Platform, day: date) -> Iterator[Exemption]:
    for waiver in platform.waivers:
        if waiver.expires >= day:
            yield Exemption(f"{POLICY}{waiver.rule}", waiver.resource, "cluster", waiver.reason, waiver.expires)


def _hardening(platform: Platform, day: date) -> Iterator[Exemption]:
    for entry in load_waivers().entries:
        hosts = [machine.name for machine in platform.machines if entry.covers(platform.environment, machine)]
        if hosts and entry.expires >= day:
            where = "all hosts" if len(hosts) == len(platform.machines) else ", ".join(hosts)
            control = f"{HARDENING} {entry.control}"
            yield Exemption(control, ", ".join(entry.deviations), where, entry.reason, entry.expires)
