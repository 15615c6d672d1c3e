"""Encrypted storage: the data devices of a host, and the key servers that unlock them without a person."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints
from pydantic_core import PydanticCustomError

from llmaas.settings import bech32
from llmaas.settings.types import Address, HostName, Section


def _whole_recipient(value: str) -> str:
    """Refuse a recipient that was mistyped: age would do so in the middle of a run."""
    if not bech32.is_whole(value):
        raise PydanticCustomError(
            "recipient_checksum", "does not carry its own checksum, so it was mistyped; copy what age-keygen printed"
        )
    return value


Purpose = Literal["containers", "kubelet", "weights", "volumes", "logs", "log_store"]

# names that the kernel gives in the order of discovery, such as /dev/sdb, name another disk after the next start
DevicePath = Annotated[str, StringConstraints(pattern=r"^/dev/disk/by-id/[A-Za-z0-9][A-Za-z0-9._:+=@-]*$")]
Thumbprint = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{43}$")]
Recipient = Annotated[str, StringConstraints(pattern=r"^age1[02-9ac-hj-np-z]{58}$"), AfterValidator(_whole_recipient)]


class DataDevice(Section):
    """A whole device that holds data of one kind, always under LUKS2."""

    purpose: Purpose = Field(description="what it holds: containers, kubelet, weights, volumes, logs or log_store")
    path: DevicePath = Field(description="its stable name, /dev/disk/by-id/...")


class KeyServer(Section):
    """A host that does nothing but answer for keys; it stands apart from the hosts whose devices it unlocks."""

    name: HostName = Field(description="the key server's name: lower-case letters, digits and hyphens")
    address: Address = Field(description="the key server's own IPv4 address")
    thumbprint: Thumbprint | None = Field(
        default=None, description="the SHA-256 thumbprint of its signing key, as tang-show-keys prints it, once known"
    )

    @property
    def roles(self) -> tuple[()]:
        """None: what the roles of hosts bring runs on no key server."""
        return ()


class DiskEncryption(Section):
    """Who unlocks, how many of them it takes, and who can read the recovery keys."""

    key_servers: tuple[KeyServer, ...] = Field(min_length=2, description="a list of key servers, at least two")
    threshold: Annotated[int, Field(ge=1, le=8)] = Field(
        default=1, description="how many key servers must answer before a device opens, at least 1"
    )
    recovery_recipients: tuple[Recipient, ...] = Field(
        min_length=1, description="the age recipients (age1...) that can read recovery keys, at least one"
    )
