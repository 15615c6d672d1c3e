"""A stack file of the lab that is wrong: every mistake is told, by whichever command reads the file first."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from lab.spec import lab_spec
from llmaas.cli.doctor import app as doctor_app
from llmaas.cli.lab import app as lab_app
from llmaas.paths import PROJECT_ROOT


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The lab's stack file in a folder where a test may spoil it."""
    shutil.copytree(PROJECT_ROOT / "stacks", tmp_path / "stacks")
    monkeypatch.setattr("llmaas.paths.PROJECT_ROOT", tmp_path)
    monkeypatch.setenv("LLMAAS_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("LLMAAS_CACHE", str(tmp_path / "cache"))
    lab_spec.cache_clear()
    yield tmp_path / "stacks" / "Pulumi.lab.yaml"
    lab_spec.cache_clear()


def spoil(stack: Path) -> set[str]:
    """Make five mistakes; the places that must be told."""
    document: dict[str, Any] = yaml.safe_load(stack.read_text(encoding="utf-8"))
    config = document["config"]
    del config["llmaas:site"]["registry"]
    config["llmaas:network"]["hosts"] = "10.77.0.0/99"
    del config["llmaas:hosts"][0]["address"]
    config["llmaas:hosts"][1]["roles"] = ["kitchen"]
    config["llmaas:cellar"] = {}
    stack.write_text(yaml.safe_dump(document), encoding="utf-8")
    return {"site.registry", "network.hosts", "hosts[0].address", "hosts[1].roles", "cellar"}


def misplace(stack: Path) -> set[str]:
    """Make five mistakes of other kinds; the places that must be told."""
    document: dict[str, Any] = yaml.safe_load(stack.read_text(encoding="utf-8"))
    config = document["config"]
    document["llmaas:alerts"] = config.pop("llmaas:alerts", {})
    config["llmass:country"] = "DE"
    config["llmaas:master_token"] = "hunter22"
    config["llmaas:site"]["address"] = "10.77.0.300"
    config["llmaas:models"][0]["replicas"] = 0
    stack.write_text(yaml.safe_dump(document), encoding="utf-8")
    return {"llmaas:alerts", "llmass:country", "master_token", "site.address", "models[0].replicas"}


MISTAKES = pytest.mark.parametrize("mistaken", [spoil, misplace])


def untold(text: str, places: set[str]) -> set[str]:
    words = text.replace("\n", " ")
    return {place for place in places if place not in words}


@MISTAKES
@pytest.mark.parametrize("command", [["up"], ["hosts", "up"], ["ssh", "gpu-host-01"]])
def test_a_command_of_the_lab_tells_every_mistake_before_it_does_anything(
    stack: Path, monkeypatch: pytest.MonkeyPatch, command: list[str], mistaken: Callable[[Path], set[str]]
) -> None:
    # whatever it does is done under one of these
    monkeypatch.delattr("llmaas.cli.lab.exclusive_run")
    monkeypatch.delattr("llmaas.cli.lab.announced_lock")
    places = mistaken(stack)
    done = CliRunner().invoke(lab_app, command)
    assert done.exit_code == 1
    assert not untold(done.output, places), done.output


@MISTAKES
def test_the_doctor_tells_every_mistake_and_looks_at_the_machine_all_the_same(
    stack: Path, mistaken: Callable[[Path], set[str]]
) -> None:
    places = mistaken(stack)
    done = CliRunner().invoke(doctor_app, [])
    assert done.exit_code == 1
    assert not untold(done.output, places), done.output
    assert "GiB" in done.output


def test_what_is_no_yaml_is_told(stack: Path) -> None:
    stack.write_text("config: [", encoding="utf-8")
    done = CliRunner().invoke(lab_app, ["up"])
    assert done.exit_code == 1
    assert "Pulumi.lab.yaml" in done.output
