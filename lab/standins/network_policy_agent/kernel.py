"""What the agent writes into the kernel: its own nftables table and its own routes, nothing else."""

import json
import subprocess
from collections.abc import Mapping

from .ruleset import TABLE
from .world import World

# Marks our routes, so that those of nodes which left can be told from other people's.
ROUTE_PROTOCOL = "77"
TIMEOUT_SECONDS = 30


class KernelError(Exception):
    """A command of the kernel's tools that failed, with its words."""


def apply_ruleset(text: str) -> None:
    """Replace the table in one transaction."""
    _run(["nft", "-f", "-"], text)


def listed_ruleset() -> str | None:
    """The table as the kernel holds it, or None when it is not there."""
    try:
        return _run(["nft", "list", "table", *TABLE.split()])
    except KernelError:
        return None


def wanted_routes(world: World, node: str) -> dict[str, str]:
    """Pod network to gateway, for every node but this one."""
    return {
        network: other.address for other in world.nodes.values() if other.name != node for network in other.pod_networks
    }


def apply_routes(wanted: Mapping[str, str]) -> int:
    """Make our routes those that are wanted; the number of changes."""
    present = _present_routes()
    missing = {network: gateway for network, gateway in wanted.items() if present.get(network) != gateway}
    stale = [network for network in present if network not in wanted]
    for network, gateway in sorted(missing.items()):
        _run(["ip", "route", "replace", network, "via", gateway, "proto", ROUTE_PROTOCOL])
    for network in stale:
        _run(["ip", "route", "del", network, "proto", ROUTE_PROTOCOL])
    return len(missing) + len(stale)


def _present_routes() -> dict[str, str]:
    found: dict[str, str] = {}
    for family in ("-4", "-6"):
        output = _run(["ip", family, "-j", "route", "show", "proto", ROUTE_PROTOCOL])
        found.update({route["dst"]: route.get("gateway", "") for route in json.loads(output or "[]")})
    return found


def _run(command: list[str], text: str | None = None) -> str:
    try:
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=TIMEOUT_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise KernelError(f"{' '.join(command)}: {error}") from error
    if done.returncode:
        raise KernelError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout
