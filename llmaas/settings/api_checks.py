"""What must hold of the Kubernetes API's address: it outlives a control host, and whoever stands in front gets in."""

from collections.abc import Iterator

from llmaas.settings.draft import Draft
from llmaas.settings.errors import Problem
from llmaas.settings.infrastructure import Host, Kubernetes, Network
from llmaas.settings.machines import claimed, machines_by_address


def api_address_belongs_to_the_control_plane(draft: Draft) -> Iterator[Problem]:
    """The API's address is that of the only control host, or one in front of several that no host has."""
    hosts = draft.entries("hosts", Host)
    if not all(item.sure("roles", "address") for item in hosts):
        return
    control = [item.value for item in hosts if "control" in item.value.roles]
    for item in draft.entries("kubernetes", Kubernetes):
        if not item.sure("api_address") or not control:
            continue
        address = item.value.api_address
        owner = next((host.value for host in hosts if host.value.address == address), None)
        path = f"{item.path}.api_address"
        if len(control) == 1 and owner != control[0]:
            yield Problem(path, f"{address} is not the only control host's; give {control[0].address}")
        if len(control) > 1 and owner is not None:
            yield Problem(
                path, f"{address} is lost with {owner.name}; give an address of the balancers', which no host has"
            )
        if len(control) > 1 and owner is None and item.sure("api_balancers") and not item.value.api_balancers:
            yield Problem(
                f"{item.path}.api_balancers",
                f"is missing: no host has {address}, so others pass on what comes there, and the {len(control)} control"
                " hosts accept port 6443 from no other machine; give the addresses that the balancers connect from",
            )
        for network in draft.entries("network", Network):
            if network.sure("hosts") and address not in network.value.hosts:
                yield Problem(
                    path, f"{address} lies outside llmaas:network.hosts ({network.value.hosts}); give one inside it"
                )


def api_balancers_are_machines_of_the_site(draft: Draft) -> Iterator[Problem]:
    """Each is named once, and none is a host or a key server: those open only what is theirs."""
    taken = machines_by_address(draft)
    for item in draft.entries("kubernetes", Kubernetes):
        if not item.sure("api_balancers"):
            continue
        balancers, path = item.value.api_balancers, f"{item.path}.api_balancers"
        for index in range(len(balancers)):
            if problem := claimed(path, balancers, index, taken, "give one of a machine that is the site's"):
                yield problem


CHECKS = (api_address_belongs_to_the_control_plane, api_balancers_are_machines_of_the_site)
