"""The zones of an environment: who may stand at either end of a connection, and at which addresses."""

from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final, Literal

from llmaas.settings import KeyServer, Machine, Platform
from llmaas.settings.gpu_sets import needs_runtime
from llmaas.views import topology as t

Kind = Literal["outside", "site", "hosts", "pods"]


@dataclass(frozen=True)
class Zone:
    """``members`` are the names of the zones that lie within it."""

    name: str
    kind: Kind
    description: str
    members: tuple[str, ...] = ()


@dataclass(frozen=True)
class Part:
    """The pods of one part, told by a label; the zone has the part's name."""

    namespace: str
    name: str
    label: str = t.PART_LABEL
    value: str = ""

    @property
    def labels(self) -> dict[str, str]:
        """What a selector of these pods must match."""
        return {self.label: self.value or self.name}


ANYWHERE: Final = "anywhere"
OUTSIDE: Final = "outside"
BASTIONS: Final = "bastions"
SITE: Final = "site"
TIME_SERVERS: Final = "time-servers"
KEY_SERVERS: Final = "key-servers"
API_BALANCERS: Final = "api-balancers"
ALERT_RECEIVER: Final = "alert-receiver"
HOSTS: Final = "hosts"
CONTROL: Final = "control"
SERVICE: Final = "service"
GPU: Final = "gpu"
LOG: Final = "log"
PODS: Final = "pods"
NAME_SERVICE: Final = "name-service"

# CoreDNS as kubeadm makes it.
NAME_SERVICE_PART: Final = Part("kube-system", NAME_SERVICE, "k8s-app", "kube-dns")
PARTS: Final = (
    Part(t.EDGE, t.EDGE_SERVICE),
    Part(t.GATEWAY, t.GATEWAY_SERVICE),
    Part(t.GATEWAY, t.MIGRATION_PART),
    Part(t.SERVING, t.SERVING_PART),
    Part(t.DATA, t.POSTGRES_SERVICE),
    Part(t.DATA, t.REDIS_SERVICE),
    Part(t.MONITORING, t.PROMETHEUS_SERVICE),
    NAME_SERVICE_PART,
)
# Parts that only environments with real GPUs have; no flow leads to the device plugin or from it.
GPU_PARTS: Final = (Part(t.GPU, t.GPU_EXPORTER_SERVICE), Part(t.GPU, t.DEVICE_PLUGIN_PART))

# In the order in which they are listed: from the outside to the inside.
ZONES: Final = (
    Zone(
        ANYWHERE,
        "outside",
        "callers from wherever they are; tenants",
        # not key servers: their own firewalls let them call nobody but the mirror, the clocks and the log hosts
        (OUTSIDE, BASTIONS, SITE, TIME_SERVERS, API_BALANCERS, ALERT_RECEIVER),
    ),
    Zone(OUTSIDE, "outside", "every address that is neither the platform's nor the site's"),
    Zone(BASTIONS, "site", "the machines that administrators come from"),
    Zone(SITE, "site", "package mirror, image registry, model weights"),
    Zone(TIME_SERVERS, "site", "the site's clocks"),
    Zone(KEY_SERVERS, "site", "the servers by which hosts unlock their disks"),
    Zone(API_BALANCERS, "site", "what stands in front of several control hosts"),
    Zone(ALERT_RECEIVER, "site", "the site's Alertmanager"),
    Zone(HOSTS, "hosts", "every host", (CONTROL, SERVICE, GPU, LOG)),
    Zone(CONTROL, "hosts", "hosts of the Kubernetes API and etcd"),
    Zone(SERVICE, "hosts", "hosts of the edge and the data stores"),
    Zone(GPU, "hosts", "hosts of the model servers"),
    Zone(LOG, "hosts", "hosts that keep the logs of all others"),
    Zone(PODS, "pods", "every pod", tuple(part.name for part in (*PARTS, *GPU_PARTS))),
    Zone(t.EDGE_SERVICE, "pods", "the entrance: HAProxy, public and administration"),
    Zone(t.GATEWAY_SERVICE, "pods", "the gateway: LiteLLM behind its TLS proxy"),
    Zone(t.MIGRATION_PART, "pods", "the job that prepares the gateway's database"),
    Zone(t.SERVING_PART, "pods", "the model servers: vLLM behind its TLS proxy"),
    Zone(t.POSTGRES_SERVICE, "pods", "PostgreSQL: keys, records, audit"),
    Zone(t.REDIS_SERVICE, "pods", "Redis: the ledger and the limits"),
    Zone(t.PROMETHEUS_SERVICE, "pods", "Prometheus"),
    Zone(t.GPU_EXPORTER_SERVICE, "pods", "DCGM exporter: temperatures and errors of real GPUs"),
    Zone(t.DEVICE_PLUGIN_PART, "pods", "device plugin: gives real GPUs to pods, by a socket of the kubelet's"),
    Zone(NAME_SERVICE, "pods", "CoreDNS of the cluster, in kube-system"),
)
_BY_NAME: Final = {zone.name: zone for zone in ZONES}
_PART_BY_NAME: Final = {part.name: part for part in (*PARTS, *GPU_PARTS)}
_PLACE: Final = {zone.name: place for place, zone in enumerate(ZONES)}


def zone(name: str) -> Zone:
    """The zone of that name.

    Raises:
        ValueError: there is none; the message names those that there are.
    """
    try:
        return _BY_NAME[name]
    except KeyError:
        raise ValueError(f"no zone {name!r}; zones are: {', '.join(_BY_NAME)}") from None


def part(name: str) -> Part | None:
    """The part whose pods are that zone; None for every other zone."""
    return _PART_BY_NAME.get(name)


def parts(platform: Platform) -> tuple[Part, ...]:
    """The parts that the environment has."""
    return (*PARTS, *GPU_PARTS) if needs_runtime(platform) else PARTS


def place(name: str) -> int:
    """Where a zone stands in the order from the outside to the inside."""
    return _PLACE[name]


def overlap(one: str, other: str) -> bool:
    """Whether two zones are the same, or one lies within the other."""
    return one == other or one in zone(other).members or other in zone(one).members


def zones_of_host(host: Machine) -> tuple[str, ...]:
    """The zones that a host or a key server lies in."""
    if isinstance(host, KeyServer):
        return (KEY_SERVERS,)
    return (HOSTS, *(name for name in zone(HOSTS).members if name in host.roles))


def addresses(platform: Platform, name: str) -> tuple[str, ...]:
    """The addresses that a zone connects from or is reached at, sorted.

    None for ``anywhere``, for ``outside``, and for machines that the environment does not have.
    """
    if name in {ANYWHERE, OUTSIDE}:
        return ()
    if zone(name).kind == "pods":
        return (str(platform.network.pods),)
    site, receiver = platform.site, platform.alert_receiver
    found = {
        BASTIONS: site.bastions,
        SITE: (site.address,),
        TIME_SERVERS: site.time_servers,
        KEY_SERVERS: tuple(server.address for server in platform.key_servers),
        API_BALANCERS: platform.kubernetes.api_balancers,
        ALERT_RECEIVER: (receiver.address,) if receiver else (),
        HOSTS: tuple(host.address for host in platform.hosts),
        CONTROL: (
            *(host.address for host in platform.hosts_with_role("control")),
            platform.kubernetes.api_address,
        ),
        SERVICE: (
            *(host.address for host in platform.hosts_with_role("service")),
            *platform.gateway.public_addresses,
        ),
        GPU: tuple(host.address for host in platform.hosts_with_role("gpu")),
        LOG: tuple(host.address for host in platform.hosts_with_role("log")),
    }
    return tuple(str(address) for address in sorted({ip_address(str(each)) for each in found[name]}))
