"""A small site of emulated hosts and key servers; nothing of it outlives the process that started it."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Interface
from typing import Final

from lab.base import ensure_base
from lab.emulated.child import Child
from lab.emulated.container import Container
from lab.emulated.guest import DataDisk, Guest
from lab.emulated.image import ensure_image
from lab.emulated.network import Network
from lab.emulated.services import start_services
from lab.keys import administrator_key, write_known_hosts
from lab.layout import Layout
from lab.spec import LabHost, LabSpec
from llmaas.files import locked
from llmaas.paths import cache_dir, state_dir

ENVIRONMENT: Final = "emulated"
ADDRESS: Final = IPv4Interface("10.79.0.1/24")
DOMAIN: Final = f"{ENVIRONMENT}.llmaas.internal"
REGISTRY: Final = f"registry.{DOMAIN}:5000"


@dataclass(frozen=True)
class EmulatedSite:
    """What runs: hosts with kernels of their own, key servers, package mirror and clock, in one network."""

    layout: Layout
    network: Network
    key_servers: tuple[Container, ...]
    guests: tuple[Guest, ...]


def fresh_layout() -> Layout:
    """The folders of the environment, empty: what an earlier run left of keys and records is about other disks."""
    state = state_dir(ENVIRONMENT)
    shutil.rmtree(state)
    layout = Layout(state=state_dir(ENVIRONMENT), cache=cache_dir())
    layout.cache.mkdir(parents=True, exist_ok=True)
    for folder in (layout.hosts, layout.logs, layout.ssh, layout.site):
        folder.mkdir(mode=0o700)
    return layout


@contextmanager
def emulated_site(
    key_servers: Sequence[tuple[str, str]], guests: Sequence[tuple[str, str, tuple[DataDisk, ...]]]
) -> Iterator[EmulatedSite]:
    """Make the hosts (name, address[, disks]) and start all but the guests, which are made and not yet switched on.

    There is one such site on a machine at a time: a second one waits.

    Raises:
        LabError: something could not be made or does not answer.
    """
    lock = state_dir(ENVIRONMENT).with_name(f"{ENVIRONMENT}.lock")
    with locked(lock):
        yield from _site(key_servers, guests)


def _site(
    key_servers: Sequence[tuple[str, str]], guests: Sequence[tuple[str, str, tuple[DataDisk, ...]]]
) -> Iterator[EmulatedSite]:
    layout = fresh_layout()
    log = layout.logs / "image.log"
    image, base = ensure_image(layout, log), ensure_base(layout, log)
    length = ADDRESS.network.prefixlen
    server_hosts = [LabHost(name, address, length) for name, address in key_servers]
    guest_hosts = [LabHost(name, address, length) for name, address, _ in guests]
    administrator_key(layout)
    spec = LabSpec((*server_hosts, *guest_hosts), ADDRESS.network, str(ADDRESS.ip), DOMAIN, REGISTRY)
    write_known_hosts(layout, spec)
    network = Network(f"llmaas-{ENVIRONMENT}", ADDRESS)
    network.create()
    servers = tuple(Container(layout, network, base, host) for host in server_hosts)
    machines = tuple(
        Guest(layout, network, image, host, disks) for host, (_, _, disks) in zip(guest_hosts, guests, strict=True)
    )
    services: tuple[Child, ...] = ()
    try:
        services = start_services(layout, spec, network, ENVIRONMENT)
        for server in servers:
            server.create()
            server.start()
        for machine in machines:
            machine.create()
        yield EmulatedSite(layout, network, servers, machines)
    finally:
        for machine in machines:
            machine.kill()
        for child in (*(server.child for server in servers), *services):
            child.kill()
        network.remove()
