"""What the lab has to stand up, from the stack file: the hosts and the site around them."""

import ipaddress
from dataclasses import dataclass
from functools import cache
from typing import Any

import yaml

from lab.errors import LabError
from lab.layout import ENVIRONMENT
from llmaas.paths import stack_file


@dataclass(frozen=True)
class LabHost:
    """A host as the machine sees it; all else that it is for is Ansible's business."""

    name: str
    address: str
    prefix_length: int
    control: bool = False


@dataclass(frozen=True)
class LabSpec:
    """The hosts, and the network that they and the site's services share."""

    hosts: tuple[LabHost, ...]
    network: ipaddress.IPv4Network
    site_address: str
    domain: str
    registry: str

    @property
    def site_interface(self) -> str:
        """Address of the site with the length of the network's prefix."""
        return f"{self.site_address}/{self.network.prefixlen}"

    def host(self, name: str) -> LabHost:
        """The host of this name; KeyError names those that there are."""
        for host in self.hosts:
            if host.name == name:
                return host
        raise KeyError(f"no host {name!r} in the stack file; there are: {', '.join(host.name for host in self.hosts)}")


@cache
def lab_spec() -> LabSpec:
    """Read the stack file of the lab.

    Raises:
        LabError: it is wrong; the text has every mistake.
    """
    try:
        return _read()
    except (AttributeError, KeyError, OSError, TypeError, ValueError, yaml.YAMLError) as error:
        raise LabError(_mistakes(error), remedy=f"mend {stack_file(ENVIRONMENT)}") from error


def _read() -> LabSpec:
    """Only what is needed here, without the settings' own checks: those take their time, and the doctor makes them."""
    document: dict[str, Any] = yaml.safe_load(stack_file(ENVIRONMENT).read_text(encoding="utf-8"))["config"]
    site = document["llmaas:site"]
    network = ipaddress.IPv4Network(document["llmaas:network"]["hosts"])
    return LabSpec(
        hosts=tuple(
            LabHost(host["name"], _address(host["address"]), network.prefixlen, "control" in host["roles"])
            for host in document["llmaas:hosts"]
        ),
        network=network,
        site_address=_address(site["address"]),
        domain=document["llmaas:domain"],
        registry=site["registry"],
    )


def _address(text: str) -> str:
    return str(ipaddress.IPv4Address(text))


def _mistakes(error: Exception) -> str:
    from llmaas.settings import SettingsError, load_platform  # noqa: PLC0415 - takes its time

    try:
        load_platform(ENVIRONMENT)
    except SettingsError as mistakes:
        return str(mistakes)
    return f"{stack_file(ENVIRONMENT)}: {type(error).__name__}: {error}"
