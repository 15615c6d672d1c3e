"""The policy pack in the hands of the real engine, which tells it nothing but the URNs of resources."""

import shutil
import subprocess
import sys
from typing import Any

import pytest
import yaml
from standins.pulumi.conftest import Project

from lab.environment import PULUMI_PASSPHRASE
from llmaas.paths import PROJECT_ROOT
from llmaas.preview.placeholders import EXAMPLE_LOCK
from llmaas.settings import load_platform

PROGRAM = """
labels = {"pod-security.kubernetes.io/enforce": "baseline"}
k8s.core.v1.Namespace("open", metadata=meta("llmaas-data", labels=labels))
"""


@pytest.fixture
def guarded(project: Any) -> Any:
    """A project of our name whose program breaks a rule."""
    (project.folder / "Pulumi.yaml").write_text("name: llmaas\nruntime: python\n")
    project.program(PROGRAM)
    for name in [name for name in project.environment if name.startswith("LLMAAS")]:
        del project.environment[name]
    return project


def preview(project: Any, stack: str) -> Any:
    made = project.pulumi("stack", "init", stack)
    assert made.status == 0, made.output
    try:
        return project.pulumi("preview", "--stack", stack, "--policy-pack", str(PROJECT_ROOT / "policies"))
    finally:
        project.pulumi("stack", "rm", "--yes", "--force", stack)


def test_a_broken_rule_stops_a_preview_and_is_named(guarded: Any) -> None:
    outcome = preview(guarded, "lab")
    assert outcome.status != 0
    assert "[mandatory]" in outcome.output
    assert "pod-security-restricted" in outcome.output
    assert "stable-model-survives-a-host" in outcome.output


def test_a_stack_without_a_stack_file_is_stopped(guarded: Any) -> None:
    outcome = preview(guarded, "nowhere")
    assert outcome.status != 0
    assert "no such file; environments there are: lab, production" in outcome.output


@pytest.fixture
def lab(project: Any, api_server: Any) -> Any:
    """A copy of this project with its stack lab, an image lock, certificates, and an empty cluster."""
    folder = project.folder / "copy"
    for name in ("llmaas", "policies", "gateway", "stacks", "templates"):
        shutil.copytree(PROJECT_ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("__main__.py", "Pulumi.yaml"):
        shutil.copy(PROJECT_ROOT / name, folder / name)
    (folder / ".venv").symlink_to(PROJECT_ROOT / ".venv")
    platform = load_platform("lab")
    example = yaml.safe_load(EXAMPLE_LOCK.read_text())
    lock = {name: f"{platform.site.registry}/{reference}" for name, reference in example.items()}
    (folder / "stacks" / platform.images.lock).write_text(yaml.safe_dump(lock))
    state = project.folder / "llmaas"
    variables = {name: value for name, value in project.environment.items() if not name.startswith("LLMAAS")}
    made = Project(folder, "", {**variables, "LLMAAS_STATE": str(state), "PULUMI_CONFIG_PASSPHRASE": PULUMI_PASSPHRASE})
    (state / "lab").mkdir(parents=True)
    shutil.copy(api_server.kubeconfig, state / "lab" / "kubeconfig")
    certificates = [sys.executable, "-m", "llmaas.cli", "pki", "ensure", "-e", "lab"]
    subprocess.run(certificates, cwd=folder, env=made.environment, check=True, capture_output=True)
    initialised = made.pulumi("stack", "init", "lab")
    assert initialised.status == 0, initialised.output
    return made


def test_the_lab_passes_plan_promises_prices_and_policies_with_nothing_set_by_hand(lab: Any) -> None:
    outcome = lab.pulumi("preview", "--stack", "lab", "--policy-pack", "policies")
    assert outcome.status == 0, outcome.output
    assert "llmaas@v" in outcome.output
    assert "[mandatory]" not in outcome.output


def test_a_plan_that_does_not_hold_stops_the_preview_before_the_first_resource(lab: Any) -> None:
    stack = lab.folder / "stacks" / "Pulumi.lab.yaml"
    changed = stack.read_text().replace("{gpu-host-03: 1, gpu-host-04: 1}", "{gpu-host-03: 1}")
    stack.write_text(changed.replace("context_tokens: 1024", "context_tokens: 512"))
    outcome = lab.pulumi("preview", "--stack", "lab", "--policy-pack", "policies")
    assert outcome.status != 0
    assert "llmaas:models[0].placement: granite3.3:8b is not served without gpu-host-03" in outcome.output
    assert "llmaas:models[0].context_tokens: was 1024, is 512" in outcome.output
    assert "kubernetes:core/v1:Namespace" not in outcome.output
