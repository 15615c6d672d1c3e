"""Which hosts hold data that is on no other: the stores of the cluster are single servers on local volumes."""

from collections.abc import Mapping

from llmaas.settings import Host, Platform


def data_host(platform: Platform) -> Host:
    """Where PostgreSQL and Redis run, with all that they hold."""
    return platform.hosts_with_role("service")[0]


def monitoring_host(platform: Platform) -> Host:
    """Where Prometheus runs: not beside the other stores, if there is another host."""
    return platform.hosts_with_role("service")[-1]


def stores_by_host(platform: Platform) -> Mapping[str, tuple[str, ...]]:
    """The stores that stop with each host and whose data lies there alone; hosts that have none are left out."""
    found: dict[str, tuple[str, ...]] = {data_host(platform).name: ("PostgreSQL", "Redis")}
    watching = monitoring_host(platform).name
    found[watching] = (*found.get(watching, ()), "Prometheus")
    return found
