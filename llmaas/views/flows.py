"""The flow matrix of an environment: every connection that hosts and pods may open, and why. All others are dropped.

The matrix is data. ``host_rules`` narrows it down to one host; the firewall role writes it as nftables rules.
"""

from dataclasses import dataclass
from ipaddress import ip_address
from typing import Literal
from urllib.parse import urlsplit

from llmaas.settings import Host, Platform
from llmaas.views.topology import ADMINISTRATION_PORT, PUBLIC_PORT

Protocol = Literal["tcp", "udp", "icmp", "any"]
Party = Literal["anywhere", "bastions", "site", "time_servers", "hosts", "control", "service", "pods"]


@dataclass(frozen=True)
class Flow:
    """One allowed kind of connection.

    ``published``: it is addressed to a host but a pod answers it, by a Service with the host as external address.
    ``local_pods_only``: the destination is the pods of the host that opens the connection, no other host's.
    """

    name: str
    source: Party
    destination: Party
    protocol: Protocol
    ports: tuple[int, ...]
    reason: str
    published: bool = False
    local_pods_only: bool = False


@dataclass(frozen=True)
class Rule:
    """One accepted kind of connection on one host; an empty tuple does not narrow it down."""

    name: str
    sources: tuple[str, ...]
    destinations: tuple[str, ...]
    protocol: Protocol
    ports: tuple[int, ...]
    published: bool = False


@dataclass(frozen=True)
class HostRules:
    """What one host accepts, opens and forwards; everything else is dropped."""

    input: tuple[Rule, ...]
    output: tuple[Rule, ...]
    forward: tuple[Rule, ...]


def _port(url: str) -> int:
    return urlsplit(url).port or 443


def _site_ports(platform: Platform) -> tuple[int, ...]:
    site = platform.site
    registry = _port(f"https://{site.registry}")
    return tuple(sorted({_port(str(site.packages_url)), _port(str(site.artefacts_url)), registry}))


def flow_matrix(platform: Platform) -> tuple[Flow, ...]:
    """All allowed connections of the environment."""
    return (
        Flow("administration", "bastions", "hosts", "tcp", (22,), "Ansible and operators, from the bastions alone"),
        Flow("api-from-bastions", "bastions", "control", "tcp", (6443,), "kubectl and Pulumi"),
        Flow("api-from-hosts", "hosts", "control", "tcp", (6443,), "kubelet, kube-proxy, pod network agent"),
        Flow("api-from-pods", "pods", "control", "tcp", (6443,), "CoreDNS and whatever watches the cluster"),
        Flow("etcd", "control", "control", "tcp", (2379, 2380), "etcd members and their API servers"),
        Flow("kubelet", "control", "hosts", "tcp", (10250,), "logs and exec through the API server"),
        Flow("site", "hosts", "site", "tcp", _site_ports(platform), "packages, images, model weights"),
        Flow("time", "hosts", "time_servers", "udp", (123,), "NTP"),
        Flow("reachability", "hosts", "hosts", "icmp", (), "ping between hosts, for diagnosis"),
        Flow("reachability-of-site", "hosts", "site", "icmp", (), "ping to the site, for diagnosis"),
        Flow("reachability-from-bastions", "bastions", "hosts", "icmp", (), "ping from the bastions, for diagnosis"),
        Flow("pods", "pods", "pods", "any", (), "between pods; NetworkPolicies decide which"),
        Flow("webhooks", "control", "pods", "tcp", (), "the API server calls admission webhooks in pods"),
        Flow("probes", "hosts", "pods", "tcp", (), "the kubelet probes its own pods", local_pods_only=True),
        Flow("public-api", "anywhere", "service", "tcp", (PUBLIC_PORT,), "the OpenAI API", published=True),
        Flow(
            "administration-api",
            "bastions",
            "service",
            "tcp",
            (ADMINISTRATION_PORT,),
            "administration of keys and teams, from the bastions alone",
            published=True,
        ),
    )


def _addresses(platform: Platform, party: Party) -> tuple[str, ...]:
    """The addresses that a party connects from or is reached at; none for ``anywhere``."""
    found: dict[Party, tuple[str, ...]] = {
        "anywhere": (),
        "bastions": tuple(str(address) for address in platform.site.bastions),
        "site": (str(platform.site.address),),
        "time_servers": tuple(str(address) for address in platform.site.time_servers),
        "hosts": tuple(str(host.address) for host in platform.hosts),
        "control": (
            *(str(host.address) for host in platform.hosts_with_role("control")),
            str(platform.kubernetes.api_address),
        ),
        "service": tuple(str(host.address) for host in platform.hosts_with_role("service")),
        "pods": (str(platform.network.pods),),
    }
    if party in {"anywhere", "pods"}:
        return found[party]
    return tuple(str(address) for address in sorted({ip_address(text) for text in found[party]}))


def _is_party(host: Host, party: Party) -> bool:
    return party == "hosts" or party in host.roles


def _forwarded(flow: Flow, host: Host) -> bool:
    """Whether packets of the flow pass through the host on their way to or from a pod of its own."""
    if flow.published:
        return _is_party(host, flow.destination)
    return "pods" in {flow.source, flow.destination} and not flow.local_pods_only


def host_rules(platform: Platform, host: Host) -> HostRules:
    """The part of the flow matrix that concerns one host."""
    incoming, outgoing, forwarded = [], [], []
    for flow in flow_matrix(platform):
        rule = Rule(
            name=flow.name,
            sources=_addresses(platform, flow.source),
            destinations=_addresses(platform, flow.destination),
            protocol=flow.protocol,
            ports=flow.ports,
            published=flow.published,
        )
        if _is_party(host, flow.destination) and not flow.published:
            incoming.append(rule)
        if _is_party(host, flow.source):
            outgoing.append(rule)
        if _forwarded(flow, host):
            forwarded.append(rule)
    return HostRules(tuple(incoming), tuple(outgoing), tuple(forwarded))
