"""Reads the truth table: the world as objects of the API, so that the agent's own readers are tried too."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lab.standins.network_policy_agent.world import Pod, World, namespace_from_api, pod_from_api, policy_from_api

CONTENT: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "truth_table.yaml").read_text())
HERE = "here"


@dataclass(frozen=True)
class Attempt:
    """One connection that is tried, and whether it must succeed."""

    source: str
    destination: str
    protocol: str
    port: int
    allowed: bool

    def __str__(self) -> str:
        """As written in the table."""
        verdict = "allowed" if self.allowed else "refused"
        return f"{self.source} > {self.destination} {self.protocol} {self.port} must be {verdict}"


@dataclass(frozen=True)
class Row:
    """Policies and what they must let through and stop."""

    name: str
    world: World
    attempts: tuple[Attempt, ...]


def address_of(end: str) -> str:
    """The address of a pod, or the end itself."""
    return str(CONTENT["pods"][end]["address"]) if end in CONTENT["pods"] else end


def ends() -> list[str]:
    """Every pod and every address that is none."""
    return [*CONTENT["pods"], *CONTENT["addresses"]]


def listening_ports() -> list[tuple[str, int]]:
    """What answers on every end."""
    return [(protocol, int(port)) for protocol, port in (text.split() for text in CONTENT["ports"])]


def rows() -> list[Row]:
    """The table."""
    return [
        Row(row["name"], _world(row["policies"]), (*_attempts(row, "allowed"), *_attempts(row, "refused")))
        for row in CONTENT["rows"]
    ]


def _attempts(row: dict[str, Any], verdict: str) -> list[Attempt]:
    found = []
    for text in row.get(verdict, []):
        source, _, rest = text.partition(" > ")
        destination, protocol, port = rest.split()
        found.append(Attempt(source, destination, protocol.upper(), int(port), verdict == "allowed"))
    return found


def _world(policies: list[dict[str, Any]]) -> World:
    namespaces = {name: _namespace(name, labels) for name, labels in CONTENT["namespaces"].items()}
    listed = [
        policy_from_api({"metadata": {"namespace": policy["namespace"], "name": f"p{number}"}, "spec": policy["spec"]})
        for number, policy in enumerate(policies)
    ]
    return World(
        pods={name: _pod(name, entry) for name, entry in CONTENT["pods"].items()},
        namespaces={name: namespace_from_api(body) for name, body in namespaces.items()},
        policies={f"{policy.namespace}/{policy.name}": policy for policy in listed},
    )


def _namespace(name: str, labels: dict[str, str]) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": labels}}


def _pod(name: str, entry: dict[str, Any]) -> Pod:
    namespace, _, short = name.partition("/")
    ports = [
        {"name": port_name, "protocol": text.split()[0].upper(), "containerPort": int(text.split()[1])}
        for port_name, text in entry.get("ports", {}).items()
    ]
    body = {
        "metadata": {"namespace": namespace, "name": short, "labels": entry["labels"]},
        "spec": {"nodeName": entry.get("node", HERE), "containers": [{"ports": ports}]},
        "status": {"phase": "Running", "podIP": entry["address"], "podIPs": [{"ip": entry["address"]}]},
    }
    pod = pod_from_api(body)
    assert pod is not None
    return pod
