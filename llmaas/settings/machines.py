"""Which addresses are taken, by hosts and key servers among others, for checks of who must be somebody else."""

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address

from llmaas.settings.disks import DiskEncryption
from llmaas.settings.draft import Draft
from llmaas.settings.errors import Problem
from llmaas.settings.infrastructure import Host
from llmaas.settings.platform import Machine


def machines_by_address(draft: Draft) -> dict[IPv4Address, str]:
    """The name of each host and key server whose name and address can be relied on, by its address."""
    machines: list[Machine] = [item.value for item in draft.entries("hosts", Host) if item.sure("name", "address")]
    # of a section that may be missing the draft keeps only what is right as a whole
    encryption: DiskEncryption | None = draft.values.get("disk_encryption")
    machines += encryption.key_servers if encryption else ()
    return {machine.address: machine.name for machine in machines}


def claimed(
    path: str, addresses: Sequence[IPv4Address], index: int, taken: Mapping[IPv4Address, str], remedy: str
) -> Problem | None:
    """What is wrong with an entry of a list at ``path`` of addresses that must be new: named before, or somebody's."""
    address, first = addresses[index], addresses.index(addresses[index])
    if first != index:
        name = path.rpartition(".")[2]
        return Problem(f"{path}[{index}]", f"{address} stands in {name}[{first}] already; name each once")
    if address in taken:
        return Problem(f"{path}[{index}]", f"{address} is the address of {taken[address]}; {remedy}")
    return None
