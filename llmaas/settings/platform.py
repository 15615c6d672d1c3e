"""One environment, whole: what every other part of the project reads."""

from collections.abc import Iterable
from typing import Protocol, TypeVar

from pydantic import Field

from llmaas.settings.alerts import AlertReceiver, Alerts
from llmaas.settings.catalogue import Artefact, Model
from llmaas.settings.disks import DiskEncryption, KeyServer
from llmaas.settings.flows import DeclaredFlow
from llmaas.settings.gpus import GpuRuntime
from llmaas.settings.infrastructure import Host, Kubernetes, Network, Role, Site
from llmaas.settings.service import Demand, Gateway, Images, Measurement, ServiceLevels, Tier
from llmaas.settings.sovereignty import Backup, Retention, State, Waiver
from llmaas.settings.types import CountryCode, DomainName, HostName, Section


class _Named(Protocol):
    @property
    def name(self) -> str: ...


NamedT = TypeVar("NamedT", bound=_Named)
# whatever is administered; of a key server all is known that hosts of any role have in common
Machine = Host | KeyServer


def _find(things: Iterable[NamedT], name: str, section: str) -> NamedT:
    for thing in things:
        if thing.name == name:
            return thing
    raise KeyError(f"llmaas:{section} has no entry {name!r}")


class Platform(Section):
    """The environment that a stack file describes; get one from ``load_platform``, which checks it as a whole."""

    environment: HostName = Field(description="the environment's name, as in Pulumi.<environment>.yaml")
    country: CountryCode = Field(description='the ISO 3166 code of the only country used, such as FR (quote "NO")')
    domain: DomainName = Field(description="the environment's DNS domain, such as lab.llmaas.internal")
    network: Network = Field(description="a mapping with hosts, pods, services and pod_network_role")
    site: Site = Field(description="a mapping with the site's addresses")
    kubernetes: Kubernetes = Field(description="a mapping with version, api_address and control_plane_host_names")
    hosts: tuple[Host, ...] = Field(min_length=1, description="a list of hosts, at least one")
    models: tuple[Model, ...] = Field(description="a list of models")
    artefacts: tuple[Artefact, ...] = Field(description="a list of model weights")
    gateway: Gateway = Field(description="a mapping with replicas, host names and requests_per_minute")
    images: Images = Field(description="a mapping with lock")
    tiers: tuple[Tier, ...] = Field(min_length=1, description="a list of tiers, at least one")
    service_levels: ServiceLevels = Field(description="a mapping with the promised levels")
    demand: tuple[Demand, ...] = Field(default=(), description="a list of expected loads, one for a model")
    measurements: tuple[Measurement, ...] = Field(default=(), description="a list of measured throughputs")
    disk_encryption: DiskEncryption | None = Field(
        default=None, description="a mapping with key_servers, threshold and recovery_recipients"
    )
    gpu_runtime: GpuRuntime | None = Field(default=None, description="a mapping with set, a name of gpu-runtime.yaml")
    alerts: Alerts | None = Field(default=None, description="a mapping with receiver")
    state: State | None = Field(default=None, description="a mapping with backend and country")
    backup: Backup | None = Field(default=None, description="a mapping with target and country")
    retention: Retention | None = Field(
        default=None, description="a mapping with request_metadata, logs, audit and accounts"
    )
    flows: tuple[DeclaredFlow, ...] = Field(default=(), description="a list of flows that the site needs besides")
    waivers: tuple[Waiver, ...] = Field(default=(), description="a list of exceptions from the policies")

    @property
    def key_servers(self) -> tuple[KeyServer, ...]:
        """The key servers; none where no disk is encrypted."""
        return self.disk_encryption.key_servers if self.disk_encryption else ()

    @property
    def alert_receiver(self) -> AlertReceiver | None:
        """Whom Prometheus tells of alerts; None where nobody is told."""
        return self.alerts.receiver if self.alerts else None

    @property
    def machines(self) -> tuple[Machine, ...]:
        """The hosts, then the key servers: all that is administered and hardened."""
        return (*self.hosts, *self.key_servers)

    def hosts_with_role(self, role: Role) -> tuple[Host, ...]:
        """The hosts that carry a role, in the order of the stack file."""
        return tuple(host for host in self.hosts if role in host.roles)

    def host(self, name: str) -> Host:
        """The host of that name; KeyError when there is none."""
        return _find(self.hosts, name, "hosts")

    def model(self, name: str) -> Model:
        """The model of that name; KeyError when there is none."""
        return _find(self.models, name, "models")

    def artefact(self, name: str) -> Artefact:
        """The artefact of that name; KeyError when there is none."""
        return _find(self.artefacts, name, "artefacts")
