"""What must hold of the gateway: hosts for each of its proxies, names and addresses of its own."""

from collections.abc import Iterator
from ipaddress import IPv4Address

from llmaas.settings.draft import Draft
from llmaas.settings.errors import Problem
from llmaas.settings.infrastructure import Host, Kubernetes, Network, Site
from llmaas.settings.machines import claimed, machines_by_address
from llmaas.settings.service import Gateway


def _serving(draft: Draft) -> int | None:
    """How many hosts have the role service; None where that cannot be told."""
    items = draft.entries("hosts", Host)
    if not items or not all(item.sure("roles") for item in items):
        return None
    return sum("service" in item.value.roles for item in items)


def someone_serves(draft: Draft) -> Iterator[Problem]:
    """The gateway needs hosts with the role service."""
    if _serving(draft) == 0:
        yield Problem("llmaas:hosts", "no host has the role service; give it to two hosts or more, for the gateway")


def each_proxy_has_a_host(draft: Draft) -> Iterator[Problem]:
    """No two proxies share a host, so that more of them than hosts would never all run."""
    hosts = _serving(draft)
    for gateway in draft.entries("gateway", Gateway):
        if hosts and gateway.sure("replicas") and gateway.value.replicas > hosts:
            yield Problem(
                f"{gateway.path}.replicas",
                f"{gateway.value.replicas} proxies, but {hosts} hosts with the role service, and each takes one;"
                f" write at most {hosts} or give the role to more hosts",
            )


def listeners_have_names_of_their_own(draft: Draft) -> Iterator[Problem]:
    """No name of the administration listener is also one of the public API."""
    for item in draft.entries("gateway", Gateway):
        if not item.sure("public_host_names", "administration_host_names"):
            continue
        for index, name in enumerate(item.value.administration_host_names):
            if name in item.value.public_host_names:
                yield Problem(
                    f"{item.path}.administration_host_names[{index}]",
                    f"{name} is a name of the public API; give administration a name of its own",
                )


def public_addresses_are_nobodys_own(draft: Draft) -> Iterator[Problem]:
    """An address that outlives a host is none that a machine, the Kubernetes API, a pod or a service has."""
    taken = machines_by_address(draft)
    taken |= {item.value.address: "the site" for item in draft.entries("site", Site) if item.sure("address")}
    for api in draft.entries("kubernetes", Kubernetes):
        if api.sure("api_address"):
            taken.setdefault(api.value.api_address, "the Kubernetes API")
    for item in draft.entries("gateway", Gateway):
        addresses = item.value.public_addresses if item.sure("public_addresses") else ()
        path = f"{item.path}.public_addresses"
        for index, address in enumerate(addresses):
            if problem := claimed(path, addresses, index, taken, "give one that nobody has"):
                yield problem
            elif network := _cluster_network(draft, address):
                yield Problem(f"{path}[{index}]", f"{address} lies in llmaas:network.{network}; give one outside")


def _cluster_network(draft: Draft, address: IPv4Address) -> str:
    """Which of the cluster's own networks an address lies in; empty where it lies in none."""
    for item in draft.entries("network", Network):
        for name in ("pods", "services"):
            if item.sure(name) and address in getattr(item.value, name):
                return name
    return ""


CHECKS = (
    someone_serves,
    each_proxy_has_a_host,
    listeners_have_names_of_their_own,
    public_addresses_are_nobodys_own,
)
