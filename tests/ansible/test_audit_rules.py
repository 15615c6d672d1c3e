"""What the kernel audits of kubelet's configuration, on the root disk and on a volume that is mounted later."""

from pathlib import Path

import pytest
import yaml
from role_templates import ROLES, render

from llmaas.settings import load_platform
from llmaas.views.inventory import inventory

WATCH = "-w /var/lib/kubelet/config.yaml -p wa -k kubernetes"
FOLDER = "-a always,exit -F dir=/var/lib/kubelet -F perm=wa -F auid!=unset -k kubernetes"


@pytest.mark.parametrize(
    ("name", "expected"),
    [("gpu-host-01", FOLDER), ("control-01", WATCH), ("key-01", WATCH)],
)
def test_a_folder_that_is_mounted_later_is_audited_as_a_tree(tmp_path: Path, name: str, expected: str) -> None:
    defaults = yaml.safe_load((ROLES / "base" / "defaults" / "main.yml").read_text(encoding="utf-8"))
    variables = defaults | inventory(load_platform("production"))["hosts"][name]
    render(tmp_path, {"base": ["audit.rules.j2"]}, variables)
    lines = (tmp_path / "audit.rules").read_text().splitlines()
    assert [line for line in lines if "/var/lib/kubelet" in line and not line.startswith("#")] == [expected]
    assert lines[-1] == "-e 2"


def test_the_rule_reaches_the_volume_before_kubelet_starts(tmp_path: Path) -> None:
    render(tmp_path, {"base": ["llmaas-audit-kubelet.service.j2"]}, {})
    lines = (tmp_path / "llmaas-audit-kubelet.service").read_text().splitlines()
    needed = {
        "RequiresMountsFor=/var/lib/kubelet",
        "Before=kubelet.service",
        "WantedBy=kubelet.service",
        "ExecStart=/sbin/auditctl -q /var/lib/kubelet,/var/lib/kubelet",
    }
    assert needed <= set(lines)
