"""Pulumi's plugins: an official one is used wherever it is installed, our stand-in only where there is none."""

import shutil
from pathlib import Path

import pytest

from lab.toolchain.plugins import PLUGINS, STAND_INS, official_plugin, plugin_path


def program(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PATH", f"{tmp_path / 'programs'}:/usr/bin:/bin")
    return tmp_path / "home"


def started(name: str) -> Path:
    """What Pulumi starts by this name."""
    found = shutil.which(name, path=plugin_path())
    assert found
    return Path(found)


@pytest.mark.parametrize("name", PLUGINS)
def test_where_there_is_none_our_stand_in_is_started(home: Path, name: str) -> None:
    assert not home.exists()
    assert official_plugin(name) is None
    assert started(name) == STAND_INS / name


@pytest.mark.parametrize("name", PLUGINS)
def test_one_on_path_is_started(tmp_path: Path, home: Path, name: str) -> None:
    official = program(tmp_path / "programs" / name)
    assert not home.exists()
    assert official_plugin(name) == started(name) == official


def test_the_newest_that_pulumi_installed_is_started(home: Path) -> None:
    name = "pulumi-resource-kubernetes"
    for version in ("4.9.0", "4.23.0", "4.10.1"):
        program(home / ".pulumi" / "plugins" / f"resource-kubernetes-v{version}" / name)
    assert started(name).parent.name == "resource-kubernetes-v4.23.0"
    assert started("pulumi-language-python") == STAND_INS / "pulumi-language-python"


def test_another_clone_s_stand_ins_are_not_taken_for_official(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = program(tmp_path / "clone" / "lab" / "standins" / "bin" / PLUGINS[0])
    monkeypatch.setenv("PATH", f"{other.parent}:/usr/bin:/bin")
    assert not home.exists()
    assert official_plugin(PLUGINS[0]) is None
    assert started(PLUGINS[0]) == STAND_INS / PLUGINS[0]
