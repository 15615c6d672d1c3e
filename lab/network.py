"""The network of the lab: a bridge with the site's address, the hosts on it, and no way from there to anywhere else."""

import ipaddress
import json
import shutil
import subprocess
from typing import Any, Final

from lab.command import run
from lab.errors import LabError
from lab.layout import BRIDGE, FIREWALL_TABLE, Layout
from lab.spec import LabSpec

# Bridged packets pass these chains too where br_netfilter is on: hosts may talk to each other and to the site's
# four services, not to the machine and not through it.
_FIREWALL: Final = """\
table inet {table}
delete table inet {table}
table inet {table} {{
  chain forward {{
    type filter hook forward priority 0; policy accept;
    iifname "{bridge}" oifname "{bridge}" accept
    iifname "{bridge}" drop
    oifname "{bridge}" drop
  }}
  chain input {{
    type filter hook input priority 0; policy accept;
    iifname != "{bridge}" accept
    ct state established,related accept
    ip daddr {site} tcp dport {{ 5000, 8443 }} accept
    ip daddr {site} udp dport 123 accept
    ip daddr {site} icmp type echo-request accept
    drop
  }}
}}
"""


def _links() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(run(["ip", "-json", "address", "show"]))
    return found


def bridge_owner() -> str | None:
    """The state folder of the lab that made the bridge, "" if it does not say, None if there is no bridge."""
    # iproute2 may not be installed yet; who made a bridge had it
    if shutil.which("ip") is None:
        return None
    # not from /sys, which shows another network's links to a process that only entered a network namespace
    links = json.loads(run(["ip", "-json", "link", "show"]))
    return next((str(link.get("ifalias", "")) for link in links if link["ifname"] == BRIDGE), None)


def bridge_up(layout: Layout, spec: LabSpec) -> None:
    """Make the bridge, its address and its firewall; nothing changes where they are right.

    Raises:
        LabError: the bridge belongs to the lab of another state folder.
    """
    owner = bridge_owner()
    if owner is None:
        run(["ip", "link", "add", BRIDGE, "type", "bridge"])
        run(["ip", "link", "set", BRIDGE, "alias", str(layout.state)])
    elif owner != str(layout.state):
        raise LabError(
            f"bridge {BRIDGE} belongs to the lab whose state is in {owner or 'an unknown folder'}",
            remedy=f"end that one first: LLMAAS_STATE={owner.rpartition('/')[0] or 'ITS_FOLDER'} make down",
        )
    # no delay before a new port forwards: there is no loop to look for
    run(["ip", "link", "set", BRIDGE, "type", "bridge", "forward_delay", "0", "stp_state", "0"])
    run(["ip", "address", "replace", spec.site_interface, "dev", BRIDGE])
    run(["ip", "link", "set", BRIDGE, "up"])
    rules = _FIREWALL.format(table=FIREWALL_TABLE, bridge=BRIDGE, site=spec.site_address)
    run(["nft", "-f", "-"], text_in=rules)


def network_down() -> None:
    """Take away the hosts' links, the bridge and the firewall."""
    if bridge_owner() is not None:
        for link in _links():
            if link.get("master") == BRIDGE:
                subprocess.run(["ip", "link", "delete", link["ifname"]], check=False, capture_output=True)
        run(["ip", "link", "delete", BRIDGE])
    if shutil.which("nft"):
        # a table that is not there is what we want
        subprocess.run(["nft", "delete", "table", "inet", FIREWALL_TABLE], check=False, capture_output=True)


def address_conflicts(spec: LabSpec) -> list[str]:
    """Links of the machine, other than the lab's, that have an address in the lab's network."""
    return [
        f"{link['ifname']} has {address['local']}/{address['prefixlen']}"
        for link in _links()
        for address in link.get("addr_info", [])
        if link["ifname"] != BRIDGE and address["family"] == "inet" and spec.network.overlaps(_interface(address))
    ]


def route_conflicts(spec: LabSpec) -> list[str]:
    """Routes of the machine, other than the lab's, into the lab's network."""
    routes: list[dict[str, Any]] = json.loads(run(["ip", "-json", "-4", "route", "show", "table", "all"]))
    found = []
    for route in routes:
        target = str(route["dst"])
        if target == "default" or route.get("dev") == BRIDGE:
            continue
        if spec.network.overlaps(_parse(target)):
            found.append(f"{target} by {route.get('dev', route.get('type', '?'))}")
    return found


def _parse(text: str) -> ipaddress.IPv4Network:
    return ipaddress.IPv4Network(text, strict=False)


def _interface(address: dict[str, Any]) -> ipaddress.IPv4Network:
    return _parse(f"{address['local']}/{address['prefixlen']}")
