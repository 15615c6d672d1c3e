"""What a host and a key server are told of the network: one carries packets of pods, the other nobody's."""

from pathlib import Path

import pytest
import yaml
from role_templates import ROLES, render

from llmaas.settings import load_platform
from llmaas.views.inventory import inventory


@pytest.mark.parametrize(("name", "forwards", "without_ipv6"), [("gpu-host-01", "1", None), ("key-01", "0", "1")])
def test_only_hosts_of_pods_forward_packets(tmp_path: Path, name: str, forwards: str, without_ipv6: str | None) -> None:
    defaults = yaml.safe_load((ROLES / "base" / "defaults" / "main.yml").read_text(encoding="utf-8"))
    variables = defaults | inventory(load_platform("production"))["hosts"][name]
    variables["ansible_facts"] = {"host_kernel": {"whole_sysctl": True}}
    render(tmp_path, {"base": ["sysctl.conf.j2"]}, variables)
    lines = (tmp_path / "sysctl.conf").read_text().splitlines()
    pairs = dict(line.split(" = ") for line in lines)
    assert len(lines) == len(pairs)
    assert pairs["net.ipv4.ip_forward"] == forwards
    assert pairs.get("net.ipv6.conf.all.disable_ipv6") == without_ipv6
    # interfaces that were there before are reached by name alone
    assert pairs["-net.ipv6.conf.*.accept_ra"] == "0"
