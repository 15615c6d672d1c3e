"""A Pulumi project in a folder of its own, run by the real engine on the real API server of the tests."""

import json
import os
import subprocess
import textwrap
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from lab.toolchain import tool_path

PROJECT_ROOT = Path(__file__).resolve().parents[3]
STAND_INS = PROJECT_ROOT / "lab" / "standins" / "bin"

_HEAD = """
import pulumi, pulumi_kubernetes as k8s
from pulumi import ResourceOptions as Options
def meta(name=None, namespace=None, **more):
    return k8s.meta.v1.ObjectMetaArgs(name=name, namespace=namespace, **more)
NAMESPACE = {namespace!r}
"""


@dataclass
class Outcome:
    """What a command of the engine gave."""

    status: int
    output: str

    def steps(self) -> dict[str, str]:
        """The operations of `preview --json` by resource name, without what stays the same."""
        planned = json.loads(self.output[self.output.index("{") :])
        steps = {}
        for step in planned.get("steps", []):
            if step["op"] not in {"same", "read", "refresh", "create-replacement", "delete-replaced"}:
                steps[step["urn"].rpartition("::")[2]] = step["op"]
        return steps


@dataclass
class Project:
    """One project with one stack, `test`, in the file backend."""

    folder: Path
    namespace: str
    environment: dict[str, str] = field(default_factory=dict)

    def program(self, text: str) -> None:
        """Write the program; `meta()` makes metadata, NAMESPACE is this test's own."""
        head = _HEAD.format(namespace=self.namespace)
        (self.folder / "__main__.py").write_text(head + textwrap.dedent(text))

    def pulumi(self, *arguments: str, json_only: bool = False) -> Outcome:
        """Run the engine."""
        done = subprocess.run(
            [str(tool_path("pulumi")), *arguments, "--non-interactive"],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=200,
        )
        return Outcome(done.returncode, done.stdout if json_only else done.stdout + done.stderr)

    def up(self, *arguments: str, fails: bool = False) -> Outcome:
        """Update, and check that it worked (or failed)."""
        outcome = self.pulumi("up", "--yes", "--skip-preview", "--diff", *arguments)
        assert (outcome.status != 0) is fails, outcome.output
        return outcome

    def preview(self, *arguments: str) -> dict[str, str]:
        """Preview and return what would be done to which resource."""
        outcome = self.pulumi("preview", "--json", *arguments, json_only=True)
        assert outcome.status == 0, self.pulumi("preview", *arguments).output
        return outcome.steps()

    def state(self) -> str:
        """The stack's state as it lies in the backend."""
        return next((self.folder / "state").rglob("stacks/**/test.json")).read_text()

    def resources(self) -> dict[str, Any]:
        """The resources of the state by name."""
        deployed = json.loads(self.state())["checkpoint"]["latest"]["resources"]
        return {resource["urn"].rpartition("::")[2]: resource for resource in deployed}


@pytest.fixture
def project(tmp_path: Path, api_server: Any) -> Iterator[Project]:
    """A project whose objects are removed after the test, with their namespace."""
    made = new_project(tmp_path, {"KUBECONFIG": str(api_server.kubeconfig)})
    yield made
    made.pulumi("destroy", "--yes", "--skip-preview")


@pytest.fixture
def bare_project(tmp_path: Path) -> Project:
    """A project without a cluster."""
    return new_project(tmp_path, {"KUBECONFIG": "/nonexistent"})


def new_project(folder: Path, variables: dict[str, str]) -> Project:
    """Make a project with its stack."""
    (folder / "state").mkdir()
    (folder / "Pulumi.yaml").write_text("name: standins\nruntime: python\n")
    environment = {
        **os.environ,
        **variables,
        "PATH": f"{STAND_INS}:{os.environ['PATH']}",
        "PULUMI_HOME": str(folder / "home"),
        "PULUMI_BACKEND_URL": f"file://{folder}/state",
        "PULUMI_CONFIG_PASSPHRASE": "tests",
        "PULUMI_SKIP_UPDATE_CHECK": "true",
    }
    made = Project(folder, f"test-{uuid.uuid4().hex[:8]}", environment)
    initialised = made.pulumi("stack", "init", "test")
    assert initialised.status == 0, initialised.output
    return made


@pytest.fixture
def until() -> Callable[[Callable[[], bool], str], None]:
    """Wait until something holds, at most two minutes: the machine may be busy."""

    def wait(holds: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + 120
        while not holds():
            assert time.monotonic() < deadline, f"after two minutes still not so: {what}"
            time.sleep(0.2)

    return wait
