import dataclasses
import re
import subprocess
from pathlib import Path

import pytest

from lab.toolchain import ToolchainError, build, official_program, tool_path
from lab.toolchain.tools import MODULES, Module, module_of


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LLMAAS_CACHE", str(tmp_path / "cache"))
    official_program.cache_clear()
    return tmp_path / "cache"


def small_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str) -> Module:
    """A module of one program, in the place of CoreDNS."""
    folder = tmp_path / "modules" / "small"
    folder.mkdir(parents=True)
    (folder / "go.mod").write_text("module example.test/small\n\ngo 1.26.0\n\n// example.test/pin v1.2.3\n")
    (folder / "main.go").write_text(source)
    monkeypatch.setattr("lab.toolchain.tools.TOOLCHAIN_ROOT", tmp_path / "modules")
    monkeypatch.setattr(Module, "version", property(lambda _self: "1.2.3"))
    return dataclasses.replace(module_of("coredns"), name="small", programs={"small": "."})


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.name)
def test_every_module_pins_one_exact_version(module: Module) -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", module.version)
    assert (module.folder / "go.sum").stat().st_size > 0


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.name)
def test_every_program_has_a_command_that_tells_its_version(module: Module) -> None:
    assert module.programs.keys() == module.version_command.keys()


def test_no_program_is_built_by_two_modules() -> None:
    names = [program for module in MODULES for program in module.programs]
    assert len(names) == len(set(names))


def test_a_module_without_exact_version_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "etcd").mkdir()
    (tmp_path / "etcd" / "go.mod").write_text("module example.test\n\nrequire go.etcd.io/etcd/server/v3 latest\n")
    monkeypatch.setattr("lab.toolchain.tools.TOOLCHAIN_ROOT", tmp_path)
    with pytest.raises(ValueError, match="requires no exact version"):
        _ = module_of("etcd").version


def test_an_unbuilt_program_is_an_error_that_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: "/usr/bin/go" if name == "go" else None)
    monkeypatch.setattr(build, "go_version", lambda: "go1.26")
    with pytest.raises(ToolchainError) as caught:
        tool_path("kubeadm")
    assert "llmaas lab toolchain" in caught.value.remedy


def test_an_unknown_program_is_an_error_that_names_the_known() -> None:
    with pytest.raises(KeyError, match="kube-apiserver"):
        tool_path("kube-unknown")


@pytest.mark.parametrize(("printed", "used"), [("v1.36.3", True), ("v1.36.2", False), ("unknown", False)])
def test_an_installed_program_is_used_only_in_our_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, printed: str, *, used: bool
) -> None:
    program = tmp_path / "kubeadm"
    program.write_text(f"#!/bin/sh\necho {printed}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert (official_program("kubeadm") is not None) is used


def test_the_key_changes_with_our_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "go_version", lambda: "go1.26")
    module = small_module(tmp_path, monkeypatch, "package main\n\nfunc main() {}\n")
    before = build.module_key(module)
    (module.folder / "main.go").write_text("package main\n\nfunc main() { println() }\n")
    assert build.module_key(module) != before


def test_a_failed_build_leaves_nothing_that_looks_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_cache: Path
) -> None:
    module = small_module(tmp_path, monkeypatch, "this is no Go\n")
    with pytest.raises(ToolchainError) as caught:
        build._ensure_module(module, lambda _line: None)  # noqa: SLF001 - the table of modules is fixed
    assert caught.value.log is not None
    assert caught.value.log.read_text()
    assert not [path for path in (empty_cache / "toolchain").iterdir() if not path.name.startswith(".")]


def test_a_finished_build_runs_and_is_not_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = small_module(tmp_path, monkeypatch, 'package main\n\nfunc main() { print("here") }\n')
    lines: list[str] = []
    folder = build._ensure_module(module, lines.append)  # noqa: SLF001
    assert build._ensure_module(module, lines.append) == folder  # noqa: SLF001
    assert len(lines) == 1
    printed = subprocess.run([folder / "bin" / "small"], check=True, capture_output=True, text=True).stderr
    assert printed == "here"
