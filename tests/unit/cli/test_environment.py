"""Which environment a command is about: its option, else the shell's variable, and never silently another one."""

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.core import TyperOption
from typer.testing import CliRunner

from llmaas.cli import audit, catalogue, evidence, flows, pki, plan
from llmaas.cli.main import SUBJECTS

RUNNER = CliRunner()
PRODUCTION = {"LLMAAS_ENVIRONMENT": "production"}
# They reach an environment's administration: there an address that was given counts before the variable.
REACH = {"tenant", "key", "usage", "invoice", "reconcile", "audit export", "audit record"}


def commands(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    yield name, command
    for part, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, f"{name} {part}")


def options() -> Iterator[tuple[str, TyperOption]]:
    for subject, (module, _) in SUBJECTS.items():
        for name, command in commands(typer.main.get_command(importlib.import_module(module).app), subject):
            for option in command.params:
                if isinstance(option, TyperOption) and {"-e", "--environment"}.intersection(option.opts):
                    yield name, option


def test_every_command_that_is_about_an_environment_knows_the_variable() -> None:
    found = dict(options())
    assert {name.split()[0] for name in found} == set(SUBJECTS) - {"doctor", "lab", "policies", "prices"}
    for name, option in found.items():
        assert set(option.opts) == {"-e", "--environment"}, name
        if name in REACH or name.split()[0] in REACH:
            assert "LLMAAS_ENVIRONMENT" in str(option.help), name
        else:
            assert option.envvar == "LLMAAS_ENVIRONMENT", name


def test_the_variable_is_told_in_the_help() -> None:
    assert "LLMAAS_ENVIRONMENT" in RUNNER.invoke(pki.app, ["ensure", "--help"], env={"COLUMNS": "200"}).output


def test_the_plan_is_written_into_the_stack_file_that_the_variable_names(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    monkeypatch.setattr(plan, "_write", lambda platform, _: written.append(platform.environment))
    for environment in (PRODUCTION, {}):
        assert RUNNER.invoke(plan.app, ["--write"], env=environment).exit_code == 0
    assert RUNNER.invoke(plan.app, ["--write", "-e", "lab"], env=PRODUCTION).exit_code == 0
    assert written == ["production", "lab", "lab"]


def test_promises_are_those_of_the_environment_that_the_variable_names() -> None:
    assert RUNNER.invoke(catalogue.app, ["check"], env=PRODUCTION).output.startswith("production: ")
    assert RUNNER.invoke(catalogue.app, ["check", "-e", "lab"], env=PRODUCTION).output.startswith("lab: ")
    wrong = RUNNER.invoke(catalogue.app, ["announce", "no-such-model"], env={"LLMAAS_ENVIRONMENT": "moon"})
    assert wrong.exit_code == 1
    assert "stacks/Pulumi.moon.yaml: no such file" in wrong.output


def test_an_environment_before_a_subcommand_is_refused_and_not_passed_over(tmp_path: Path) -> None:
    for app, command in ((catalogue.app, "check"), (evidence.app, "key")):
        refused = RUNNER.invoke(app, ["-e", "lab", command], env=PRODUCTION | {"LLMAAS_STATE": str(tmp_path)})
        assert refused.exit_code == 2
        assert f"give it after {command}" in refused.output
    assert not list(tmp_path.iterdir())


def test_flows_are_those_of_the_environment_that_the_variable_names() -> None:
    assert RUNNER.invoke(flows.app, [], env=PRODUCTION).output.startswith("production: ")
    # a variable that is there and empty names nothing
    assert RUNNER.invoke(flows.app, [], env={"LLMAAS_ENVIRONMENT": ""}).output.startswith("lab: ")


def test_a_command_without_a_default_takes_the_variable_or_asks(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LLMAAS_STATE", str(tmp_path))
    asked = RUNNER.invoke(audit.app, ["key"])
    assert asked.exit_code == 2
    assert "Missing option" in asked.output
    assert RUNNER.invoke(evidence.app, []).exit_code == 2
    assert not list(tmp_path.iterdir())
    assert RUNNER.invoke(audit.app, ["key"], env=PRODUCTION).exit_code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["production"]
