"""Which addresses are those of hosts and key servers, for checks of who must be somebody else."""

from ipaddress import IPv4Address

from llmaas.settings.disks import DiskEncryption
from llmaas.settings.draft import Draft
from llmaas.settings.infrastructure import Host
from llmaas.settings.platform import Machine


def machines_by_address(draft: Draft) -> dict[IPv4Address, str]:
    """The name of each host and key server whose name and address can be relied on, by its address."""
    machines: list[Machine] = [item.value for item in draft.entries("hosts", Host) if item.sure("name", "address")]
    # of a section that may be missing the draft keeps only what is right as a whole
    encryption: DiskEncryption | None = draft.values.get("disk_encryption")
    machines += encryption.key_servers if encryption else ()
    return {machine.address: machine.name for machine in machines}
