"""The small types that sections are made of; each says in its description what a right value looks like.

Sections are validated from JSON in strict mode: text becomes an address or a date, and nothing else is converted,
so ``"3"`` is no number and ``no`` is no country.
"""

import re
from datetime import date
from ipaddress import IPv4Address, IPv4Network
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints
from pydantic_core import PydanticCustomError


class Section(BaseModel):
    """A part of the stack file: frozen, no unknown keys, no silent conversion."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def _network(value: object) -> object:
    """Refuse a network whose host bits are set, and name the network that was probably meant."""
    if not isinstance(value, str):
        return value
    try:
        loose = IPv4Network(value, strict=False)
    except ValueError:
        return value
    if "/" not in value:
        raise PydanticCustomError(
            "network_without_length", "has no prefix length; write it as {value}/24", {"value": value}
        )
    if value.split("/")[0] != str(loose.network_address):
        raise PydanticCustomError(
            "network_host_bits", "is a host's address; the network is {network}", {"network": str(loose)}
        )
    return value


def _date(value: object) -> date:
    """Take a day as text, also in the form in which Pulumi hands over an unquoted YAML date."""
    if isinstance(value, date):
        return value
    if isinstance(value, str) and re.fullmatch(r"\d{4}-\d{2}-\d{2}(T00:00:00Z)?", value):
        try:
            return date.fromisoformat(value[:10])
        except ValueError as error:
            raise PydanticCustomError("date_parsing", "no such day") from error
    raise PydanticCustomError("date_type", "not a day")


# 63 is the limit of a DNS label; a host's name is also its Kubernetes node name
HostName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
DomainName = Annotated[
    str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+$", max_length=253)
]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?$")]
# Kubernetes objects are named after the slug with a suffix; 40 leaves room for it below 63
ModelName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._:-]*[a-z0-9]$", max_length=40)]
Identifier = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")]
HttpsUrl = Annotated[str, StringConstraints(pattern=r"^https://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]*)?$")]
Registry = Annotated[str, StringConstraints(pattern=r"^[a-z0-9.-]+:[0-9]{1,5}$")]
Version = Annotated[str, StringConstraints(pattern=r"^[0-9]+\.[0-9]+\.[0-9]+$")]
CountryCode = Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")]
RelativePath = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]+([./][A-Za-z0-9_-]+)*$")]
Address = IPv4Address
NetworkRange = Annotated[IPv4Network, BeforeValidator(_network)]
Day = Annotated[date, BeforeValidator(_date)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]
ReplicaCount = Annotated[int, Field(ge=0, le=64)]
Share = Annotated[float, Field(gt=0.0, le=1.0)]
