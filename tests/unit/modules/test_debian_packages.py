"""Packages on a host that is behind the mirror: apt and dpkg themselves, on a root and a mirror of the test's own."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args
from ansible_collections.llmaas.host.plugins.module_utils.debian import explained
from ansible_collections.llmaas.host.plugins.modules import debian_packages
from packages import build_package
from role_templates import render

from llmaas.paths import PROJECT_ROOT

APPROVED = {"package": "library", "version": "2"}
Answer = dict[str, Any]


class Machine:
    """A root with ``library`` and ``other`` 1, and a mirror with 2 of them and ``tool``, which needs that library."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root, self.mirror, self.preferences = folder / "root", folder / "mirror", folder / "preferences"
        for path in (
            "root/var/lib/dpkg/updates",
            "root/var/lib/dpkg/info",
            "mirror",
            "preferences",
            "apt/lists/partial",
        ):
            (folder / path).mkdir(parents=True)
        (folder / "apt/archives/partial").mkdir(parents=True)
        (self.root / "var/lib/dpkg/status").touch()
        for name in ("library", "other"):
            self.dpkg("--install", self.built(name, "1"))
            self.built(name, "2", "Depends: new\n" if name == "library" else "")
        self.built("new", "1")
        self.built("tool", "2", "Depends: library (= 2)\n")
        self.offer()

    def built(self, name: str, version: str, depends: str = "") -> Path:
        return build_package(self.mirror, name, version, depends)

    def offer(self) -> None:
        scanned = subprocess.run(
            ["dpkg-scanpackages", "--multiversion", "."], cwd=self.mirror, check=True, capture_output=True, text=True
        ).stdout
        (self.mirror / "Packages").write_text(scanned)
        (self.folder / "sources.list").write_text(f"deb [trusted=yes] file:{self.mirror} ./\n")

    def dpkg(self, *words: str | Path) -> None:
        subprocess.run(["dpkg", f"--root={self.root}", *words], check=True, capture_output=True)

    def configuration(self) -> Path:
        options = {
            "Dir::Etc::SourceList": self.folder / "sources.list",
            "Dir::Etc::SourceParts": "/nonexistent",
            "Dir::Etc::Preferences": "/nonexistent",
            "Dir::Etc::PreferencesParts": self.preferences,
            "Dir::State": self.folder / "apt",
            "Dir::State::Lists": self.folder / "apt/lists",
            "Dir::State::status": self.root / "var/lib/dpkg/status",
            "Dir::Cache": self.folder / "apt",
            "Dir::Log": self.folder / "apt",
            "DPkg::Options::": f"--root={self.root}",
            "APT::Sandbox::User": "root",
        }
        path = self.folder / "apt.conf"
        path.write_text("".join(f'{name} "{value}";\n' for name, value in options.items()))
        return path

    def pin(self, *updates: dict[str, str]) -> None:
        # a mirror of files has no origin
        given = {"hardening_mirror": "", "hardening_updates": list(updates)}
        render(self.folder, {"hardening": ("updates.pref.j2",)}, given)
        (self.folder / "updates.pref").replace(self.preferences / "10-llmaas")

    def installed(self) -> dict[str, str]:
        shown = subprocess.run(
            ["dpkg-query", f"--admindir={self.root}/var/lib/dpkg", "--show"], check=True, capture_output=True, text=True
        ).stdout
        return dict(line.split("\t") for line in shown.splitlines())


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine(tmp_path)
    monkeypatch.setenv("APT_CONFIG", str(made.configuration()))
    monkeypatch.setenv("DPKG_ADMINDIR", str(made.root / "var/lib/dpkg"))
    return made


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    def module(*names: str, level: bool = False, check: bool = False) -> Answer:
        arguments = {"names": list(names), "level": level, "_ansible_check_mode": check}
        with patch_module_args(arguments), pytest.raises(SystemExit):
            debian_packages.main()
        told: Answer = json.loads(capsys.readouterr().out.splitlines()[-1])
        return told

    return module


BEHIND = {"library": "1", "other": "1"}
LEVEL = {"library": "2", "new": "1", "other": "2", "tool": "2"}


def test_a_new_host_is_brought_to_the_mirror_s_level_once(machine: Machine, run: Callable[..., Answer]) -> None:
    told = run("tool", level=True)
    assert (told["changed"], sorted(told["upgraded"]), told["installed"]) == (
        True,
        ["library", "new", "other"],
        ["tool"],
    )
    assert machine.installed() == LEVEL
    again = run("tool", level=True)
    assert (again["changed"], again["upgraded"], again["installed"]) == (False, [], [])
    machine.pin()
    assert run("tool")["changed"] is False


def test_a_check_run_tells_what_would_be_raised_and_raises_nothing(
    machine: Machine, run: Callable[..., Answer]
) -> None:
    subprocess.run(["apt-get", "update"], check=True, capture_output=True)
    told = run("tool", level=True, check=True)
    assert (told["changed"], sorted(told["upgraded"])) == (True, ["library", "new", "other"])
    assert machine.installed() == BEHIND


@pytest.mark.usefixtures("machine")
def test_on_a_host_at_the_mirror_s_level_nothing_is_raised(run: Callable[..., Answer]) -> None:
    run(level=True)
    assert run(level=True, check=True)["changed"] is False


def test_a_pinned_host_keeps_its_versions_and_is_told_what_is_in_the_way(
    machine: Machine, run: Callable[..., Answer]
) -> None:
    machine.pin()
    told = run("tool")
    assert told["failed"]
    assert "In the way: library is 1 and must be = 2." in told["msg"]
    assert "approve those that are needed in stacks/approved-updates.yaml" in told["msg"]
    assert machine.installed() == BEHIND


def test_what_was_approved_for_it_is_no_longer_in_the_way(machine: Machine, run: Callable[..., Answer]) -> None:
    machine.pin(APPROVED)
    assert run("tool")["installed"] == ["tool"]
    assert machine.installed() == LEVEL | {"other": "1"}


def test_another_failure_of_apt_is_told_as_it_is(machine: Machine, run: Callable[..., Answer]) -> None:
    told = run("absent")
    assert "Unable to locate package absent" in told["msg"]
    assert "In the way" not in told["msg"]
    assert machine.installed() == BEHIND


@pytest.mark.parametrize(
    ("line", "named"),
    [
        (
            " curl : Depends: libcurl4 (= 7.88.1-10) but 7.88.1-9 is to be installed",
            "libcurl4 is 7.88.1-9 and must be =",
        ),
        ("        Breaks: libc6:i386 (< 2.36) but 2.35 is installed", "libc6:i386 is 2.35 and must be < 2.36"),
        (" curl : Depends: libcurl4 but it is not going to be installed", "what apt names above"),
    ],
)
def test_what_is_in_the_way_is_read_from_apt_s_words(line: str, named: str) -> None:
    said = f"The following packages have unmet dependencies:\n{line}\nE: you have held broken packages."
    assert f"In the way: {named}" in explained(said)


def test_the_role_raises_no_host_that_has_the_pins_and_renews_them_before_it_installs() -> None:
    roles = PROJECT_ROOT / "ansible/roles"
    pin = yaml.safe_load((roles / "packages/vars/main.yml").read_text())["__packages_pin"]
    pins = yaml.safe_load((roles / "hardening/vars/main.yml").read_text())["__hardening_pins"]
    assert [entry["path"] for entry in pins] == [pin]
    tasks = yaml.safe_load((roles / "packages/tasks/main.yml").read_text())
    sources, renewed, installed = tasks[-3:]
    assert sources["llmaas.host.file_set"]["existing"] == ["{{ __packages_pin }}"]
    assert renewed["ansible.builtin.import_role"] == {"name": "hardening", "tasks_from": "approved.yml"}
    assert renewed["when"] == "__packages_pinned"
    assert installed["llmaas.host.debian_packages"]["level"] == "{{ not __packages_pinned }}"
