"""What must agree between data devices, hosts and key servers."""

from collections.abc import Iterator

from llmaas.settings.disks import DiskEncryption
from llmaas.settings.draft import Draft
from llmaas.settings.errors import Problem
from llmaas.settings.infrastructure import Host, Site


def data_devices_stand_once(draft: Draft) -> Iterator[Problem]:
    """A host has one device for a purpose, and no device serves two."""
    for item in draft.entries("hosts", Host):
        if not item.sure("data_devices"):
            continue
        for field in ("purpose", "path"):
            seen: dict[str, int] = {}
            for index, device in enumerate(item.value.data_devices):
                value = getattr(device, field)
                if value in seen:
                    yield Problem(
                        f"{item.path}.data_devices[{index}].{field}",
                        f"{value!r} stands in data_devices[{seen[value]}] already; give each device its own",
                    )
                seen.setdefault(value, index)


def encrypted_devices_have_key_servers(draft: Draft) -> Iterator[Problem]:
    """Devices are declared only where something unlocks them."""
    if "disk_encryption" in draft.raw:
        return
    for item in draft.entries("hosts", Host):
        if item.sure("data_devices") and item.value.data_devices:
            yield Problem(
                f"{item.path}.data_devices",
                "has devices, but llmaas:disk_encryption is missing; give key_servers and recovery_recipients",
            )


def key_servers_agree(draft: Draft) -> Iterator[Problem]:
    """Key servers are different machines with different keys, which do nothing else: all else is closed on them."""
    hosts = [item.value for item in draft.entries("hosts", Host) if item.sure("name", "address")]
    names = {host.name: f"the host {host.name}" for host in hosts}
    addresses = {host.address: f"the host {host.name}" for host in hosts}
    for site in draft.entries("site", Site):
        named = (("time_servers", "a time server"), ("bastions", "a bastion"))
        addresses |= {
            address: what for field, what in named if site.sure(field) for address in getattr(site.value, field)
        }
        addresses |= {site.value.address: "the site"} if site.sure("address") else {}
    # of a section that may be missing the draft keeps only what is right as a whole
    encryption: DiskEncryption | None = draft.values.get("disk_encryption")
    if encryption is None:
        return
    thumbprints: dict[str, str] = {}
    for index, server in enumerate(encryption.key_servers):
        path = f"llmaas:disk_encryption.key_servers[{index}]"
        if server.name in names:
            yield Problem(f"{path}.name", f"{server.name!r} is the name of {names[server.name]}; give its own")
        if server.address in addresses:
            yield Problem(
                f"{path}.address", f"{server.address} is the address of {addresses[server.address]}; give its own"
            )
        if server.thumbprint in thumbprints:
            yield Problem(
                f"{path}.thumbprint",
                f"is that of {thumbprints[server.thumbprint]} too; each key server makes keys of its own",
            )
        names.setdefault(server.name, f"the key server {server.name}")
        addresses.setdefault(server.address, f"the key server {server.name}")
        if server.thumbprint is not None:
            thumbprints.setdefault(server.thumbprint, server.name)
    if encryption.threshold > len(encryption.key_servers):
        yield Problem(
            "llmaas:disk_encryption.threshold",
            f"{encryption.threshold} is more than the {len(encryption.key_servers)} key servers; give fewer",
        )


CHECKS = (data_devices_stand_once, encrypted_devices_have_key_servers, key_servers_agree)
