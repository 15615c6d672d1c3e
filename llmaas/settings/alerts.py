"""Where alerts go: Prometheus finds them, and tells somebody only through a receiver of the site's."""

from typing import Annotated

from pydantic import Field

from llmaas.settings.types import Address, DomainName, RelativePath, Section


class AlertReceiver(Section):
    """The site's Alertmanager; it asks for Prometheus' certificate and shows its own, over TLS 1.3."""

    address: Address = Field(description="the IPv4 address of the site's Alertmanager")
    port: Annotated[int, Field(ge=1, le=65535)] = Field(default=9093, description="its TCP port, 1 to 65535")
    host_name: DomainName = Field(description="the DNS name in its certificate")
    authority: RelativePath | None = Field(
        default=None,
        description="the PEM file of the authority that issued its certificate, relative to the stack file;"
        " absent means the environment's own",
    )


class Alerts(Section):
    """What happens to alerts."""

    receiver: AlertReceiver = Field(description="a mapping with address, port and host_name of the site's Alertmanager")
