"""Where an environment runs: networks, site services, the cluster and its hosts."""

from typing import Annotated, Literal

from pydantic import Field

from llmaas.settings.disks import DataDevice
from llmaas.settings.gpus import Gpus
from llmaas.settings.types import (
    Address,
    CountryCode,
    DomainName,
    HostName,
    HttpsUrl,
    Identifier,
    NetworkRange,
    Registry,
    Section,
    Version,
)

Role = Literal["control", "gpu", "log", "service"]


class Network(Section):
    """Address ranges; none of them may overlap another."""

    hosts: NetworkRange = Field(description="the network of the hosts, such as 10.77.0.0/24")
    pods: NetworkRange = Field(description="the network of the pods, such as 10.244.0.0/16")
    services: NetworkRange = Field(description="the network of Kubernetes services, such as 10.96.0.0/16")
    pod_network_role: Identifier = Field(
        description="the Ansible role that installs the pod network, such as pod_network_lab"
    )
    pod_network_workloads: tuple[Annotated[str, Field(pattern=r"^[A-Z][A-Za-z]+ \S+/\S+$")], ...] = Field(
        default=(),
        description="what that role runs in the cluster and the policies do not judge, such as"
        " DaemonSet kube-system/calico-node",
    )


class Site(Section):
    """What surrounds the hosts: the site's own mirror, registry and clock."""

    address: Address = Field(description="the IPv4 address of the machine that administers the hosts")
    bastions: tuple[Address, ...] = Field(
        min_length=1, description="the IPv4 addresses that administrators come from, at least one"
    )
    packages_url: HttpsUrl = Field(description="the https:// address of the package mirror")
    artefacts_url: HttpsUrl = Field(description="the https:// address of the model weights")
    registry: Registry = Field(description="the container registry as name:port")
    registry_country: CountryCode | None = Field(
        default=None, description='the ISO 3166 code of the country the registry stands in, such as FR (quote "NO")'
    )
    time_servers: tuple[Address, ...] = Field(min_length=1, description="the IPv4 addresses of the site's clocks")
    time_authentication: Literal["none", "symmetric"] = Field(
        default="none", description="symmetric (the clocks have the environment's key, secret time-key) or none"
    )

    @property
    def urls(self) -> dict[str, str]:
        """Where images, packages and weights come from, each by its key in the stack file."""
        return {
            "registry": f"https://{self.registry}",
            "packages_url": self.packages_url,
            "artefacts_url": self.artefacts_url,
        }


class Kubernetes(Section):
    """The cluster that kubeadm makes."""

    version: Version = Field(description='a full version in quotes or bare, such as "1.36.3"')
    api_address: Address = Field(
        description="the IPv4 address of the API: the control host's own, or one in front of several"
    )
    api_balancers: tuple[Address, ...] = Field(
        default=(),
        description="the IPv4 addresses from which the site's balancers connect to several control hosts",
    )
    control_plane_host_names: tuple[DomainName, ...] = Field(
        min_length=1, description="the DNS names of the Kubernetes API, at least one"
    )


class Host(Section):
    """A machine of the fleet."""

    name: HostName = Field(description="the host's name: lower-case letters, digits and hyphens")
    address: Address = Field(description="the host's own IPv4 address, inside llmaas:network.hosts")
    roles: tuple[Role, ...] = Field(min_length=1, description="one or more of control, gpu, log, service")
    country: CountryCode | None = Field(
        default=None, description='the ISO 3166 code of the country it stands in, such as FR (quote "NO")'
    )
    gpus: Gpus | None = Field(default=None, description="kind, model, count and memory_gib of the host's GPUs")
    data_devices: tuple[DataDevice, ...] = Field(
        default=(), description="a list of devices that hold data, each with purpose and path"
    )
