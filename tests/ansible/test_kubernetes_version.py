"""A run that would change the version of Kubernetes is refused before its first change; one machine plays hosts."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from playbooks import LOCAL, programs, run_playbook

from llmaas.paths import PROJECT_ROOT

CONTROL, OTHERS = ("control-01", "control-02"), ("gpu-host-01", "gpu-host-02")
DECLARED = "1.36.3"
VARIABLES = {
    "kubernetes_node_version": DECLARED,
    "control_plane_version": DECLARED,
    "pod_network_role": "pod_network_lab",
    "hardening_refused": [],
    "hardening_ending": [],
}
SAYS = {"kubelet": "Kubernetes v{}", "kubeadm": "v{}", "kubectl": "Client Version: v{}"}
# Stands for kubectl on hosts: each server has a version or does not answer, and all of them know the same nodes.
KUBECTL = """for word; do case $word in --server=https://*) server=${word#--server=https://} ;; esac; done
version=$(cat "$STATE/${server%:6443}") || { echo "connection refused" >&2; exit 1; }
case "$*" in
*/version) echo "{\\"gitVersion\\": \\"v$version\\"}" ;;
*nodes*) cat "$STATE/nodes" ;;
esac
"""


class Site:
    """Programs on this machine, API servers and nodes, all of the declared version until a test says otherwise."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("programs", "state"):
            (folder / name).mkdir()
        for name in SAYS:
            self.program(name, DECLARED)
        self.environment = programs(folder, {"kubectl": KUBECTL}) | {"STATE": str(folder / "state")}
        self.joined = folder / "admin.conf"
        self.joined.touch()
        self.manifest = folder / "kube-apiserver.yaml"
        for name in CONTROL:
            self.server(name, DECLARED)
        self.nodes(dict.fromkeys((*CONTROL, *OTHERS), DECLARED))

    def program(self, name: str, version: str) -> None:
        path = self.folder / "programs" / name
        path.write_text(f"#!/bin/sh\necho '{SAYS[name].format(version)}'\n")
        path.chmod(0o755)

    def server(self, name: str, version: str | None) -> None:
        path = self.folder / "state" / name
        path.write_text(version) if version else path.unlink()

    def nodes(self, versions: dict[str, str]) -> None:
        text = "".join(f"{name} v{version}\n" for name, version in versions.items())
        (self.folder / "state" / "nodes").write_text(text)

    def judge(
        self, *options: str, playbook: str = "versions.yml", machines: dict[str, Any] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a playbook, the one that judges versions if none is named; hosts are this machine if none are given."""
        inventory: dict[str, Any] = {
            "control": {"hosts": {name: {"control_plane_address": name} for name in CONTROL}},
            "nodes": {"hosts": dict.fromkeys((*CONTROL, *OTHERS))},
            "machines": {"hosts": machines or dict.fromkeys((*CONTROL, *OTHERS))},
            "all": {"vars": (LOCAL if machines is None else {}) | VARIABLES},
        }
        given = {
            "kubernetes_node_binaries_source": str(self.folder / "programs"),
            "__control_plane_admin": str(self.joined),
            "__control_plane_begun": str(self.folder / "begun"),
            "__control_plane_manifest": str(self.manifest),
        }
        return run_playbook(
            self.folder, inventory, f"playbooks/{playbook}", "-e", json.dumps(given), *options, **self.environment
        )

    def refused(self, *options: str) -> str:
        """Why the run was refused, in one line."""
        done = self.judge(*options)
        assert done.returncode == 2, done.stdout + done.stderr
        assert "changed=0" in done.stdout
        return " ".join(done.stdout.split())


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.mark.parametrize("options", [(), ("--limit", "gpu-host-01")], ids=str)
def test_the_declared_version_is_taken(site: Site, options: tuple[str, ...]) -> None:
    done = site.judge(*options)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("name", "version"), [*zip(SAYS, ["1.37.0", "1.36.30", "1.36.3-rc.1"], strict=True)])
def test_a_program_of_another_version_is_refused(site: Site, name: str, version: str) -> None:
    site.program(name, version)
    text = site.refused()
    assert f"llmaas:kubernetes.version is {DECLARED}, but" in text
    assert f"/programs/{name} says {SAYS[name].format(version)}: put the folder of programs of that version" in text


def test_a_program_that_is_missing_is_refused(site: Site) -> None:
    (site.folder / "programs" / "kubeadm").unlink()
    assert f"kubelet, kubeadm and kubectl {DECLARED} are not on this machine" in site.refused()


@pytest.mark.parametrize("options", [("--check",), ("--limit", "!control-01")], ids=str)
def test_another_version_than_the_one_that_runs_is_refused(site: Site, options: tuple[str, ...]) -> None:
    site.server("control-02", "1.35.9")
    text = site.refused(*options)
    assert (
        f"llmaas:kubernetes.version is {DECLARED}, but control-02 runs v1.35.9: no playbook changes the version" in text
    )
    assert 'see "Raising Kubernetes" in docs/operations.md' in text


def test_a_run_without_control_hosts_asks_the_first_of_them(site: Site) -> None:
    site.server("control-01", "1.35.9")
    assert "control-01 runs v1.35.9" in site.refused("--limit", "gpu-host-01")


def test_an_api_server_that_is_down_is_judged_by_its_manifest(site: Site) -> None:
    for name in CONTROL:
        site.server(name, None)
    site.manifest.write_text(f"    image: registry.test:5000/kube-apiserver:v{DECLARED}\n")
    done = site.judge()
    assert done.returncode == 0, done.stdout + done.stderr
    site.manifest.write_text("    image: registry.test:5000/kube-apiserver:v1.35.9\n")
    assert "control-01 would run v1.35.9, control-02 would run v1.35.9" in site.refused()


def test_a_kubelet_of_another_version_is_refused_where_it_takes_part(site: Site) -> None:
    site.nodes(dict.fromkeys(CONTROL, DECLARED) | {"gpu-host-01": "1.35.9"})
    assert "kubelet of gpu-host-01 is v1.35.9" in site.refused()
    done = site.judge("--limit", "!gpu-host-01")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("state", ["no cluster yet", "begun and not brought to its end"])
def test_a_cluster_that_does_not_stand_is_made_in_any_version(site: Site, state: str) -> None:
    for name in CONTROL:
        site.server(name, "1.35.9")
    if state == "no cluster yet":
        site.joined.unlink()
    else:
        (site.folder / "begun").touch()
    done = site.judge()
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", ["site.yml", "cluster.yml"])
def test_a_run_that_reaches_the_cluster_judges_versions_first(site: Site, name: str) -> None:
    site.program("kubelet", "1.37.0")
    # whatever was not refused would find nobody
    away = {"ansible_connection": "ssh", "ansible_host": "192.0.2.1", "ansible_timeout": 1}
    done = site.judge(playbook=name, machines=dict.fromkeys((*CONTROL, *OTHERS), away))
    assert done.returncode == 2, done.stdout + done.stderr
    assert "says Kubernetes v1.37.0" in " ".join(done.stdout.split())
    assert "unreachable=0" in done.stdout


def test_a_run_that_does_not_reach_the_cluster_judges_no_versions(site: Site) -> None:
    site.program("kubelet", "1.37.0")
    done = site.judge(playbook="preflight.yml")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("role", ["", "no-name", "pod_network_of_nobody"])
def test_a_pod_network_whose_role_is_not_there_is_refused(site: Site, role: str) -> None:
    text = site.refused("-e", json.dumps({"pod_network_role": role}))
    assert f'llmaas:network.pod_network_role is "{role}", and no role of that name lies in' in text
    assert "ansible/roles" in text


def test_versions_are_judged_once_in_a_run_of_everything() -> None:
    plays = yaml.safe_load((PROJECT_ROOT / "ansible" / "playbooks" / "site.yml").read_text())
    given = {play["ansible.builtin.import_playbook"]: play.get("vars") for play in plays}
    assert given == {
        "foundation.yml": {"preflight_versions": True},
        "cluster.yml": {"cluster_versions": False},
        "models.yml": None,
    }
