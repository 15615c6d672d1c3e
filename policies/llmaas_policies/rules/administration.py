"""The administration listener: from the bastions alone, and on no path of the public side."""

import ipaddress
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from llmaas_policies.model import MISSING, UNKNOWN, Parameters, Resource, Severity, Subject, Violation, number
from llmaas_policies.pods import Part, parts
from llmaas_policies.texts import files_of, without_comments

subject = Subject()

_SECTION: Final = re.compile(
    r"^(frontend|listen|backend|defaults|global|resolvers|peers|userlist|cache|program|ring)\b"
)
_BIND_PORT: Final = re.compile(r":(\d+)(?:-(\d+))?(?=[\s,]|$)")
_PATH_TEST: Final = re.compile(
    r"\bpath(?:q|_beg|_dir|_dom|_end|_len|_reg|_sub|_str)?\b((?:\s+(?!or\b|if\b|unless\b)[^\s{}]+)*)"
)
_SOURCE_TEST: Final = re.compile(r"\bsrc\s+((?:[0-9a-fA-F.:/]+\s*)+)")
# Below /v1 LiteLLM serves tenants; everything else is its administration.
_PUBLIC_PATH: Final = re.compile(r"\^?/v1/[^/.].*")


def _in_bastions(cidr: Any, bastions: tuple[str, ...] | list[str]) -> bool:
    try:
        network = ipaddress.ip_network(str(cidr), strict=False)
        allowed = [ipaddress.ip_network(each) for each in bastions]
        return any(network.version == each.version and network.subnet_of(each) for each in allowed)  # type: ignore[arg-type]
    except ValueError:
        return False


def _ports_of(rule: Part) -> set[Any]:
    """The ports that a rule of a NetworkPolicy opens; numbers where they are, names or ``UNKNOWN`` otherwise."""
    found: set[Any] = set()
    for port in parts(rule, "ports"):
        if isinstance(port, Violation) or port.get("endPort") is not MISSING:
            found.add(UNKNOWN)
            continue
        value = port.get("port")
        found.add(value if isinstance(value, str) else UNKNOWN if number(value) is None else number(value))
    return found or {UNKNOWN}


def _policy(resource: Resource, parameters: Parameters) -> Iterator[Violation]:
    spec = resource.get("spec")
    if not isinstance(spec, Mapping):
        yield Violation("spec", "is missing or not known at preview")
        return
    for rule in parts(Part("spec", spec), "ingress"):
        if isinstance(rule, Violation):
            yield rule
            continue
        if _ports_of(rule) <= {float(parameters.public_port)}:
            continue
        if rule.get("from") in (MISSING, [], ()):
            yield Violation(f"{rule.path}.from", "lets everybody reach more than the public port")
        for peer in parts(rule, "from"):
            if isinstance(peer, Violation):
                yield peer
                continue
            block = peer.get("ipBlock.cidr")
            if block is MISSING:
                yield from _inside_peer(peer, _ports_of(rule), parameters)
            elif not _in_bastions(block, list(parameters.bastions)):
                yield Violation(
                    f"{peer.path}.ipBlock.cidr", f"{block} is no bastion, and the port is not the public one"
                )


def _inside_peer(peer: Part, ports: set[Any], parameters: Parameters) -> Iterator[Violation]:
    """Pods may ask the edge for its status, never for its administration."""
    named = any(isinstance(peer.get(name), Mapping) and peer.get(name) for name in ("namespaceSelector", "podSelector"))
    if not named:
        yield Violation(peer.path, "a peer that names nobody reaches more than the public port")
    elif ports & {float(parameters.administration_port), UNKNOWN, "administration"}:
        yield Violation(peer.path, "pods have no business at the administration listener")


def _service(resource: Resource, parameters: Parameters) -> Iterator[Violation]:
    spec = resource.get("spec")
    if not isinstance(spec, Mapping) or not spec.get("externalIPs"):
        return
    administration, public = float(parameters.administration_port), float(parameters.public_port)
    for port in parts(Part("spec", spec), "ports"):
        if isinstance(port, Violation):
            yield port
            continue
        outside, target = number(port.get("port")), port.get("targetPort")
        inside = outside if target is MISSING else number(target)
        if inside == public or (inside == administration and outside == administration):
            continue
        yield Violation(
            f"{port.path}.targetPort",
            f"port {port.get('port')} leads to {target}; only {parameters.public_port} is public, "
            f"and administration is at {parameters.administration_port}",
        )


@subject.rule(
    "administration-not-public", "Administration is reached from the bastions alone, at a port of its own.",
    Severity.CRITICAL, ("SecNumCloud 3.2 9.6.a", "SecNumCloud 3.2 9.6.d"),
    "Open only the public port to everybody, and the administration port to the bastions of the stack file",
)  # fmt: skip
def administration_not_public(resource: Resource, parameters: Parameters) -> Iterator[Violation]:
    """Whoever reaches LiteLLM's administration and has a stolen key owns every tenant."""
    if resource.namespace != parameters.edge_namespace:
        return
    if resource.kind == "NetworkPolicy":
        yield from _policy(resource, parameters)
    if resource.kind == "Service":
        yield from _service(resource, parameters)


@dataclass(slots=True)
class _Frontend:
    """A section of HAProxy's configuration that listens."""

    name: str
    lines: list[str] = field(default_factory=list)

    @property
    def ports(self) -> set[int]:
        return {
            port
            for line in self.lines
            if line.startswith("bind ")
            for first, last in _BIND_PORT.findall(line)
            for port in range(int(first), int(last or first) + 1)
        }

    @property
    def path_lists(self) -> set[str]:
        """Names of the conditions that look at the path."""
        conditions = [line.split(" ", 2) for line in self.lines if line.startswith("acl ") and line.count(" ") > 1]
        return {name for _, name, test in conditions if _PATH_TEST.search(test)}


def _frontends(text: str) -> list[_Frontend]:
    found: list[_Frontend] = []
    inside = False
    for raw in without_comments(text).splitlines():
        line = " ".join(raw.split())
        if match := _SECTION.match(line):
            inside = match.group(1) in {"frontend", "listen"}
            if inside:
                found.append(_Frontend(line))
        elif inside and line:
            found[-1].lines.append(line)
    return found


def _public_frontend(front: _Frontend) -> Iterator[str]:
    closing = [line for line in front.lines if re.match(r"http-request (return status 404|deny)\b.* unless ", line)]
    ways = [way.split() for line in closing for way in re.split(r" or | \|\| ", line.rsplit(" unless ", 1)[1])]
    if not ways or not all(front.path_lists & set(way) for way in ways):
        yield "has no line that answers 404 unless the path is on a list"
    for line in front.lines:
        for tests in _PATH_TEST.findall(line) if line.startswith(("acl ", "use_backend ")) else ():
            for value in (each for each in tests.split() if not each.startswith("-")):
                if not _PUBLIC_PATH.fullmatch(value):
                    yield f"lets {value} through, which is not below /v1/"


def _administration_frontend(front: _Frontend, bastions: list[str]) -> Iterator[str]:
    gates = [line for line in front.lines if re.match(r"tcp-request connection reject (unless|if !)", line)]
    sources = [source for line in gates for found in _SOURCE_TEST.findall(line) for source in found.split()]
    if not sources:
        yield "has no line that rejects connections unless they come from a bastion"
    for source in sources:
        if not _in_bastions(source, bastions):
            yield f"admits {source}, which is no bastion"


@subject.rule(
    "edge-paths-on-a-list", "The edge's public listener serves listed paths below /v1/, its administration bastions.",
    Severity.CRITICAL, ("SecNumCloud 3.2 9.6.a", "SecNumCloud 3.2 9.6.d"),
    "Let the public frontend return 404 unless a listed /v1/ path is asked for, and keep the two listeners apart",
)  # fmt: skip
def edge_paths_on_a_list(resource: Resource, parameters: Parameters) -> Iterator[Violation]:
    """One path too many on the public side is LiteLLM's whole administration."""
    if resource.namespace != parameters.edge_namespace:
        return
    for found in files_of(resource):
        if isinstance(found, Violation):
            # Files of a Secret are judged as far as they are known.
            yield from [found] if resource.kind == "ConfigMap" else []
            continue
        path, _, text = found
        for front in _frontends(text):
            public = parameters.public_port in front.ports
            administration = parameters.administration_port in front.ports
            where = f"{path}.{front.name}"
            if public and administration:
                yield Violation(where, "listens on the public and on the administration port")
            if public:
                yield from (Violation(where, text) for text in _public_frontend(front))
            if administration:
                yield from (Violation(where, text) for text in _administration_frontend(front, [*parameters.bastions]))
