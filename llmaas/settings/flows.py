"""Flows that the site needs beyond those that the platform derives itself, such as logs to the site's own collector."""

from typing import Annotated, Final, Literal

from pydantic import Field, StringConstraints

from llmaas.settings.types import HostName, Section

HOST_ZONES: Final = ("hosts", "control", "service", "gpu", "log")
SITE_ZONES: Final = ("bastions", "site", "time-servers")
# The platform's own listeners on hosts, each with callers of its own; Kubernetes gives the range to NodePorts.
RESERVED_PORTS: Final = frozenset({22, 443, 2379, 2380, 6443, 6514, 8444, 9443, 10250})
NODE_PORTS: Final = range(30000, 32768)


class DeclaredFlow(Section):
    """One kind of TCP connection between hosts, or between hosts and the site; always encrypted."""

    name: HostName = Field(description="a name of its own: lower-case letters, digits and hyphens")
    source: str = Field(description=f"who connects, one of {', '.join((*HOST_ZONES, *SITE_ZONES))}")
    destination: str = Field(description=f"who is connected to, one of {', '.join((*HOST_ZONES, *SITE_ZONES))}")
    port: Annotated[int, Field(ge=1, le=65535)] = Field(description="a TCP port, 1 to 65535")
    encryption: Literal["TLS 1.3, mutual", "TLS 1.3", "SSH"] = Field(
        description='"TLS 1.3, mutual", "TLS 1.3" or "SSH"; nothing passes in the clear'
    )
    reason: Annotated[str, StringConstraints(pattern=r"^[^\n|]{10,200}$")] = Field(
        description="why it is needed, one line of 10 to 200 characters"
    )
