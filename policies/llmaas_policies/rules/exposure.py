"""What is reachable from outside the cluster: the edge, at its own addresses, and nothing else."""

from collections.abc import Iterator, Mapping
from typing import Final

from llmaas_policies.model import MISSING, UNKNOWN, Parameters, Resource, Severity, Subject, Violation, must_not_be_set
from llmaas_policies.pods import Part, containers_of, options_of, parts, programs_of, words_of

subject = Subject()
_LOOPBACK: Final = {"127.0.0.1", "localhost", "::1"}


@subject.rule(
    "no-exposed-service", "Only the edge is reachable from outside the cluster.", Severity.CRITICAL,
    ("SecNumCloud 3.2 13.2.a", "SecNumCloud 3.2 9.6.d"), "Use a ClusterIP service and let the edge lead to it",
)  # fmt: skip
def no_exposed_service(resource: Resource, parameters: Parameters) -> Iterator[Violation]:
    """A node port of a data store is one firewall rule away from the world."""
    if resource.kind != "Service":
        return
    kind = resource.get("spec.type")
    if kind is UNKNOWN or kind not in (MISSING, "ClusterIP"):
        yield Violation("spec.type", f"is {kind!r}; only ClusterIP is allowed")
    for name in ("loadBalancerIP", "loadBalancerClass", "loadBalancerSourceRanges", "healthCheckNodePort"):
        yield from must_not_be_set(resource.get(f"spec.{name}"), f"spec.{name}", "only ClusterIP is allowed")
    spec = resource.get("spec")
    for port in parts(Part("spec", spec), "ports") if isinstance(spec, Mapping) else ():
        if isinstance(port, Violation):
            yield port
        else:
            yield from must_not_be_set(port.get("nodePort"), f"{port.path}.nodePort", "only ClusterIP is allowed")
    addresses = resource.get("spec.externalIPs")
    if resource.namespace != parameters.edge_namespace:
        yield from must_not_be_set(addresses, "spec.externalIPs", "only the edge may have one")
    elif addresses is not MISSING:
        for address in addresses if isinstance(addresses, (list, tuple)) else (addresses,):
            if address not in parameters.edge_addresses:
                yield Violation("spec.externalIPs", f"{address} is no address of a service host")


@subject.rule(
    "no-external-name", "No service stands for something outside the cluster.", Severity.HIGH,
    ("SecNumCloud 3.2 13.2.a", "SecNumCloud 3.2 19.2.a"), "Select pods of this cluster by their labels",
)  # fmt: skip
def no_external_name(resource: Resource, _: Parameters) -> Iterator[Violation]:
    """By an external name, or endpoints written by hand, a part of the platform may be anywhere."""
    if resource.kind != "Service":
        return
    if resource.get("spec.type") == "ExternalName":
        yield Violation("spec.type", "is ExternalName")
    yield from must_not_be_set(resource.get("spec.externalName"), "spec.externalName", "no name outside is allowed")
    selector = resource.get("spec.selector")
    if not isinstance(selector, Mapping) or not selector:
        state = "is not known at preview" if selector is UNKNOWN else "is missing, so its endpoints are written by hand"
        yield Violation("spec.selector", state)


@subject.rule(
    "no-host-port", "No container takes a port of its host.", Severity.HIGH,
    ("CIS Kubernetes 5.2.13",), "Remove hostPort; the edge's service leads to the pod", waivable=True,
)  # fmt: skip
def no_host_port(resource: Resource, _: Parameters) -> Iterator[Violation]:
    """A host port is a listener that the flow matrix does not know."""
    for container in containers_of(resource):
        if isinstance(container, Violation):
            yield container
            continue
        for port in parts(container, "ports"):
            if isinstance(port, Violation):
                yield port
            else:
                path = f"{port.path}.hostPort"
                yield from must_not_be_set(port.get("hostPort"), path, "no host port is allowed")


def _serves(container: Part) -> bool:
    """Whether a container of LiteLLM or vLLM is a server, and not the run that only prepares the database."""
    words = [found[1] for found in words_of(container) if isinstance(found, tuple)]
    return not words or words[0].rsplit("/", 1)[-1] != "migrate"


@subject.rule(
    "plain-http-on-loopback-only", "LiteLLM and vLLM listen on the loopback, behind the TLS proxy of their pod.",
    Severity.CRITICAL, ("SecNumCloud 3.2 10.2.a", "SecNumCloud 3.2 13.2.a"), "Set --host=127.0.0.1",
)  # fmt: skip
def plain_http_on_loopback_only(resource: Resource, _: Parameters) -> Iterator[Violation]:
    """Both speak plain HTTP on all addresses unless told otherwise, and vLLM leaves many paths open even with a key."""
    for container in containers_of(resource):
        if isinstance(container, Violation):
            yield container
            continue
        if not programs_of(container) or not _serves(container):
            continue
        hosts = []
        for option in options_of(container):
            if isinstance(option, Violation):
                yield option
            elif option[1] == "--host":
                hosts.append(option[2])
        for host in hosts or ["missing"]:
            if host not in _LOOPBACK:
                yield Violation(f"{container.path}.args[--host]", f"is {host}; it must be 127.0.0.1")
