"""The flow matrix of an environment: every connection that hosts and pods may open, how it is encrypted, and why.

The matrix is the one source. ``host_rules`` narrows it down to one machine, and the firewall role writes that as
nftables rules; ``network_policies`` makes the cluster's policies of it; the checks of a live environment take from it
what must pass and what must not. Everything else is dropped.
"""

from typing import Final
from urllib.parse import urlsplit

from llmaas.settings import Platform
from llmaas.settings.gpu_sets import needs_runtime
from llmaas.views import topology as t
from llmaas.views import zones as z
from llmaas.views.disks import KEY_SERVER_PORT
from llmaas.views.flow_terms import MUTUAL, TLS, Answer, Beyond, Encryption, Flow, Protocol, WideRule
from llmaas.views.logs import LOG_PORT

SSH_PORT: Final = 22
KUBERNETES_API_PORT: Final = 6443
ETCD_PORTS: Final = (2379, 2380)
KUBELET_PORT: Final = 10250
TIME_PORT: Final = 123
NAME_PORT: Final = 53
# CoreDNS tells its health and its readiness at ports of their own, to its host alone.
NAME_SERVICE_PROBE_PORTS: Final = (8080, 8181)

API_FROM_PODS: Final = WideRule(
    "api-from-pods",
    z.PODS,
    z.CONTROL,
    "tcp",
    (KUBERNETES_API_PORT,),
    "of all pods; NetworkPolicies refuse it to every part of the platform",
)
BETWEEN_PODS: Final = WideRule(
    "pods",
    z.PODS,
    z.PODS,
    "any",
    (),
    "between all pods; NetworkPolicies decide which",
)
LOG_STATUS: Final = WideRule(
    "log-status-from-pods",
    z.PODS,
    z.LOG,
    "tcp",
    (t.STATUS_PORT,),
    "of all pods; NetworkPolicies refuse it to every part but Prometheus",
)
# What the kubelet asks its own pods; PostgreSQL is asked by a command inside its pod.
_ALIVE: Final = "the kubelet asks whether it is alive and ready"
_CONNECTS: Final = "the kubelet connects and sends nothing"
_PROBED: Final[tuple[tuple[str, tuple[int, ...], Encryption, str], ...]] = (
    (t.EDGE_SERVICE, (t.STATUS_PORT,), TLS, _ALIVE),
    (t.GATEWAY_SERVICE, (t.STATUS_PORT,), TLS, _ALIVE),
    (t.SERVING_PART, (t.STATUS_PORT,), TLS, _ALIVE),
    (t.REDIS_SERVICE, (t.REDIS_PORT,), "none", _CONNECTS),
    (t.PROMETHEUS_SERVICE, (t.PROMETHEUS_PORT,), "none", _CONNECTS),
    (z.NAME_SERVICE, NAME_SERVICE_PROBE_PORTS, "none", _ALIVE),
)
_PROBE_PORTS: Final = tuple(sorted({port for _, ports, *_ in _PROBED for port in ports}))
PROBES: Final = WideRule(
    "probes",
    z.HOSTS,
    z.PODS,
    "tcp",
    _PROBE_PORTS,
    "from a host to its own pods; no NetworkPolicy holds between the two",
    own_pods=True,
    beyond=(
        Beyond(z.HOSTS, z.PODS, "tcp", _PROBE_PORTS, "where the kubelet asks pods of another part", own_pods=True),
    ),
)
# Those whose ports hang on no setting: of every environment that has the zones.
WIDE_RULES: Final = (API_FROM_PODS, BETWEEN_PODS, LOG_STATUS, PROBES)


def flow_matrix(platform: Platform) -> tuple[Flow, ...]:
    """All allowed connections of the environment, sorted from the outside to the inside, then by name."""
    flows = (entry for entry in entries(platform) if isinstance(entry, Flow))
    return tuple(sorted(flows, key=lambda flow: (z.place(flow.source), z.place(flow.destination), flow.name)))


def entries(platform: Platform) -> tuple[Flow | WideRule, ...]:
    """The flows in the order of the rendered rules, each wider rule before the flows that it carries."""
    api = (KUBERNETES_API_PORT,)
    return (
        Flow("administration", z.BASTIONS, z.HOSTS, ("tcp",), (SSH_PORT,), "SSH", "Ansible and operators"),
        Flow("api-from-bastions", z.BASTIONS, z.CONTROL, ("tcp",), api, MUTUAL, "kubectl and Pulumi"),
        Flow(
            "api-from-hosts",
            z.HOSTS,
            z.CONTROL,
            ("tcp",),
            api,
            MUTUAL,
            "kubelet, kube-proxy (by token), pod network agent",
        ),
        *_in_front_of_the_api(platform),
        API_FROM_PODS,
        Flow(
            "api-from-name-service",
            z.NAME_SERVICE,
            z.CONTROL,
            ("tcp",),
            api,
            TLS,
            "CoreDNS learns names and addresses; it shows a token",
            carried_by=API_FROM_PODS.name,
        ),
        Flow("etcd", z.CONTROL, z.CONTROL, ("tcp",), ETCD_PORTS, MUTUAL, "etcd members and their API servers"),
        Flow("kubelet", z.CONTROL, z.HOSTS, ("tcp",), (KUBELET_PORT,), MUTUAL, "logs and exec through the API server"),
        Flow("site", z.HOSTS, z.SITE, ("tcp",), _site_ports(platform), TLS, "packages, images, model weights"),
        Flow("time", z.HOSTS, z.TIME_SERVERS, ("udp",), (TIME_PORT,), "none", "NTP"),
        Flow("reachability", z.HOSTS, z.HOSTS, ("icmp",), (), "none", "ping between hosts, for diagnosis"),
        Flow("reachability-of-site", z.HOSTS, z.SITE, ("icmp",), (), "none", "ping to the site, for diagnosis"),
        Flow("reachability-from-bastions", z.BASTIONS, z.HOSTS, ("icmp",), (), "none", "ping, for diagnosis"),
        BETWEEN_PODS,
        *_between_pods(platform),
        PROBES,
        *_probes(),
        Flow(
            "public-api",
            z.ANYWHERE,
            z.SERVICE,
            ("tcp",),
            (t.PUBLIC_PORT,),
            TLS,
            "the OpenAI API; callers show a key",
            answer=Answer(t.EDGE_SERVICE, t.EDGE_PUBLIC_PORT),
        ),
        Flow(
            "administration-api",
            z.BASTIONS,
            z.SERVICE,
            ("tcp",),
            (t.ADMINISTRATION_PORT,),
            TLS,
            "administration of tenants and keys; callers show the master key",
            answer=Answer(t.EDGE_SERVICE, t.ADMINISTRATION_PORT),
        ),
        *_logs(platform),
        *_unlocking(platform),
        *_alerts(platform),
        *_declared(platform),
    )


def _site_ports(platform: Platform) -> tuple[int, ...]:
    return tuple(sorted({_port_of(url) for url in platform.site.urls.values()}))


def _port_of(url: str) -> int:
    return urlsplit(url).port or 443


def _logs(platform: Platform) -> tuple[Flow | WideRule, ...]:
    """What hosts send to log hosts, and how Prometheus learns that one fell silent; nothing where there are none."""
    if not platform.hosts_with_role("log"):
        return ()
    asked = f"{t.PROMETHEUS_SERVICE}-to-{z.LOG}"
    return (
        Flow("logs", z.HOSTS, z.LOG, ("tcp",), (LOG_PORT,), MUTUAL, "logs leave every host at once"),
        *_logs_of_key_servers(platform),
        LOG_STATUS,
        Flow(
            asked,
            t.PROMETHEUS_SERVICE,
            z.LOG,
            ("tcp",),
            (t.STATUS_PORT,),
            MUTUAL,
            "how old the last line of each host is",
            carried_by=LOG_STATUS.name,
        ),
    )


def _logs_of_key_servers(platform: Platform) -> tuple[Flow, ...]:
    if platform.disk_encryption is None:
        return ()
    to = z.KEY_SERVERS
    return (Flow(f"logs-of-{to}", to, z.LOG, ("tcp",), (LOG_PORT,), MUTUAL, "logs leave key servers at once"),)


def _alerts(platform: Platform) -> tuple[Flow | WideRule, ...]:
    """How Prometheus tells the site of alerts; nothing where the site names nobody to be told."""
    receiver = platform.alert_receiver
    if receiver is None:
        return ()
    port, to = (receiver.port,), z.ALERT_RECEIVER
    reason = "of all pods; NetworkPolicies refuse it to every part but Prometheus"
    rule = WideRule("alerts-from-pods", z.PODS, to, "tcp", port, reason)
    name, reason = f"{t.PROMETHEUS_SERVICE}-to-{to}", "alerts, to whoever is on duty"
    flow = Flow(name, t.PROMETHEUS_SERVICE, to, ("tcp",), port, MUTUAL, reason, carried_by=rule.name)
    return rule, flow


def _unlocking(platform: Platform) -> tuple[Flow, ...]:
    """What hosts ask to open their disks, and all else that key servers may do; nothing where no disk is encrypted."""
    if platform.disk_encryption is None:
        return ()
    reason = "clevis asks tang for a host's disks; what passes tells no key"
    to, mirror = z.KEY_SERVERS, (_port_of(str(platform.site.packages_url)),)
    return (
        Flow("disk-unlock", z.HOSTS, to, ("tcp",), (KEY_SERVER_PORT,), "none", reason),
        Flow(f"administration-of-{to}", z.BASTIONS, to, ("tcp",), (SSH_PORT,), "SSH", "Ansible and operators"),
        Flow(f"reachability-of-{to}", z.BASTIONS, to, ("icmp",), (), "none", "ping, for diagnosis"),
        Flow(f"packages-of-{to}", to, z.SITE, ("tcp",), mirror, TLS, "packages"),
        Flow(f"time-of-{to}", to, z.TIME_SERVERS, ("udp",), (TIME_PORT,), "none", "NTP"),
    )


def _in_front_of_the_api(platform: Platform) -> tuple[Flow, ...]:
    """What balancers pass on to several control hosts; nothing where callers reach the only one themselves."""
    if not platform.kubernetes.api_balancers:
        return ()
    reason = "callers of the API, whose TLS passes through, and whether a control host answers"
    port = (KUBERNETES_API_PORT,)
    return (Flow("api-from-balancers", z.API_BALANCERS, z.CONTROL, ("tcp",), port, MUTUAL, reason),)


def _declared(platform: Platform) -> tuple[Flow, ...]:
    """What the site needs besides, as the stack file says; the prefix keeps the names apart."""
    return tuple(
        Flow(
            f"declared-{flow.name}",
            flow.source,
            flow.destination,
            ("tcp",),
            (flow.port,),
            flow.encryption,
            flow.reason,
        )
        for flow in platform.flows
    )


def _between_pods(platform: Platform) -> tuple[Flow, ...]:
    """What the parts ask of each other; whoever asks a part asks for its address first."""
    metrics = "metrics"
    declared: tuple[tuple[str, str, int, Encryption, str], ...] = (
        (t.EDGE_SERVICE, t.GATEWAY_SERVICE, t.GATEWAY_PORT, MUTUAL, "calls of tenants and administrators"),
        (t.GATEWAY_SERVICE, t.SERVING_PART, t.SERVING_PORT, MUTUAL, "prompts to the model servers"),
        (t.GATEWAY_SERVICE, t.POSTGRES_SERVICE, t.POSTGRES_PORT, TLS, "keys, records, audit; by password"),
        (t.MIGRATION_PART, t.POSTGRES_SERVICE, t.POSTGRES_PORT, TLS, "tables of the gateway; by password"),
        (t.GATEWAY_SERVICE, t.REDIS_SERVICE, t.REDIS_PORT, TLS, "the ledger and the limits; by password"),
        (t.PROMETHEUS_SERVICE, t.EDGE_SERVICE, t.STATUS_PORT, MUTUAL, metrics),
        (t.PROMETHEUS_SERVICE, t.GATEWAY_SERVICE, t.STATUS_PORT, MUTUAL, metrics),
        (t.PROMETHEUS_SERVICE, t.SERVING_PART, t.STATUS_PORT, MUTUAL, metrics),
    )
    if needs_runtime(platform):
        declared = (*declared, (t.PROMETHEUS_SERVICE, t.GPU_EXPORTER_SERVICE, t.STATUS_PORT, MUTUAL, metrics))
    asking = [
        _pod_flow(source, z.NAME_SERVICE, ("udp", "tcp"), NAME_PORT, "none", "addresses of the parts")
        for source in dict.fromkeys(source for source, *_ in declared)
    ]
    told = [_pod_flow(source, to, ("tcp",), port, encryption, why) for source, to, port, encryption, why in declared]
    return (*asking, *told)


def _pod_flow(  # noqa: PLR0913, PLR0917 - what a flow is made of
    source: str, destination: str, protocols: tuple[Protocol, ...], port: int, encryption: Encryption, reason: str
) -> Flow:
    name = f"{source}-to-{destination}"
    return Flow(name, source, destination, protocols, (port,), encryption, reason, carried_by=BETWEEN_PODS.name)


def _probes() -> tuple[Flow, ...]:
    return tuple(
        Flow(f"probe-of-{part}", z.HOSTS, part, ("tcp",), ports, how, why, own_pods=True, carried_by=PROBES.name)
        for part, ports, how, why in _PROBED
    )
