"""HAProxy at the edge: the public side serves a list of paths, the administration only bastions."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from llmaas_policies.model import Parameters, Resource, Severity, Subject, Violation
from llmaas_policies.rules.administration import in_bastions
from llmaas_policies.texts import known_files, without_comments

subject = Subject()

_SECTION: Final = re.compile(r"(frontend|listen|backend|defaults|global|resolvers|peers|userlist|cache|program|ring)\b")
_BIND_PORT: Final = re.compile(r":(\d+)(?:-(\d+))?(?=[\s,]|$)")
_CLOSING: Final = re.compile(r"http-request (?:return status 404|deny)\b.* unless (.*)")
_PATH_LIST: Final = re.compile(r"acl (\S+) (path|path_beg|path_reg) (.+)")
# Below /v1 LiteLLM serves tenants; everything else is its administration.
_PUBLIC_PATH: Final = re.compile(r"/v1/[A-Za-z0-9/_-]+|\^/v1/[A-Za-z0-9/_-]+.*")
_GATE: Final = re.compile(r"tcp-request connection reject (?:unless|if !) ?\{ src ([0-9a-fA-F.:/ ]+) \}")
# What leads around the list of paths.
_AROUND: Final = (
    (re.compile(r"use_backend\b"), "leads to a backend of its own"),
    (
        re.compile(r"http-request (?:allow|set-path|replace-path|replace-pathq|replace-uri|set-query)\b"),
        "changes the way",
    ),
    (re.compile(r"http-request set-uri (?!%\[path\](?: (?:if|unless) .*)?$)"), "changes the path"),
)
_ACCEPTS: Final = re.compile(r"tcp-request (?:connection|session|content) accept\b")


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
    def leads_on(self) -> bool:
        return any(line.startswith(("default_backend ", "use_backend ", "server")) for line in self.lines)


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


def _conditions(front: _Frontend) -> set[str]:
    """The conditions that must hold one way or another before a request passes: one of each way is a list of paths."""
    lists = {match.group(1) for line in front.lines if (match := _PATH_LIST.fullmatch(line))}
    ways = [
        set(way.split())
        for line in front.lines
        if (match := _CLOSING.fullmatch(line))
        for way in re.split(r" or | \|\| ", match.group(1))
    ]
    return lists if ways and all(lists & way for way in ways) else set()


def _public(front: _Frontend) -> Iterator[str]:
    lists = _conditions(front)
    if not lists:
        yield "has no line that answers 404 unless the path is on a list"
    for line in front.lines:
        name = line.split()[1] if line.startswith("acl ") and line.count(" ") > 1 else ""
        if name in lists:
            match = _PATH_LIST.fullmatch(line)
            values = match.group(3).split() if match else [line]
            yield from (f"lets {each} through, which is not below /v1/" for each in values if not _on_v1(each))
        yield from (f"`{line[:60]}` {why}" for pattern, why in _AROUND if pattern.match(line))


def _on_v1(value: str) -> bool:
    return _PUBLIC_PATH.fullmatch(value) is not None and ".." not in value


def _administration(front: _Frontend, bastions: Sequence[str]) -> Iterator[str]:
    gates = [match.group(1).split() for line in front.lines if (match := _GATE.fullmatch(line))]
    if not gates:
        yield "has no line that rejects connections unless they come from a bastion"
    for source in (source for sources in gates for source in sources):
        if not in_bastions(source, bastions):
            yield f"admits {source}, which is no bastion"
    yield from (
        f"`{line[:60]}` lets connections in before they are judged" for line in front.lines if _ACCEPTS.match(line)
    )


def _wrong(front: _Frontend, parameters: Parameters) -> Iterator[str]:
    public = parameters.public_port in front.ports
    administration = parameters.administration_port in front.ports
    if public and administration:
        yield "listens on the public and on the administration port"
    if public:
        yield from _public(front)
    if administration:
        yield from _administration(front, parameters.bastions)
    if not public and not administration and front.leads_on:
        yield "leads to a backend, and listens neither on the public nor on the administration port"


@subject.rule(
    "edge-paths-on-a-list", "The edge's public listener serves listed paths below /v1/, its administration bastions.",
    Severity.CRITICAL, ("SecNumCloud 3.2 9.6.a", "SecNumCloud 3.2 9.6.d"),
    "Let the public frontend return 404 unless a listed /v1/ path is asked for, and keep the two listeners apart",
)  # fmt: skip
def edge_paths_on_a_list(resource: Resource, parameters: Parameters) -> Iterator[Violation]:
    """One path too many on the public side is LiteLLM's whole administration."""
    if resource.namespace != parameters.edge_namespace:
        return
    for found in known_files(resource):
        if isinstance(found, Violation):
            yield found
            continue
        path, _, text = found
        for front in _frontends(text):
            yield from (Violation(f"{path}.{front.name}", wrong) for wrong in _wrong(front, parameters))
