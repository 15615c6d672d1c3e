"""The language host with the real engine: output, errors, policy packs, and its end."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def test_a_program_sees_its_configuration_and_its_output_is_shown(bare_project: Any) -> None:
    bare_project.pulumi("config", "set", "plain", "one")
    bare_project.pulumi("config", "set", "--secret", "hidden", "two")
    bare_project.program(
        """
config = pulumi.Config()
print("plain is", config.require("plain"), "dry run is", pulumi.runtime.is_dry_run())
pulumi.export("hidden", config.require_secret("hidden"))
"""
    )
    outcome = bare_project.up()
    assert "plain is one dry run is False" in outcome.output
    shown = bare_project.pulumi("stack", "output", "hidden", "--show-secrets")
    assert shown.output.strip() == "two"
    assert '"two"' not in bare_project.state()


def test_an_error_of_the_program_is_shown_once(bare_project: Any) -> None:
    bare_project.program('raise ValueError("not like this")')
    outcome = bare_project.pulumi("preview")
    assert outcome.status != 0
    assert outcome.output.count("ValueError: not like this") == 1, outcome.output
    bare_project.program('raise pulumi.RunError("plain words")')
    outcome = bare_project.pulumi("preview")
    assert outcome.status != 0
    assert "Traceback" not in outcome.output


def test_a_policy_pack_blocks_a_preview(project: Any, tmp_path: Path) -> None:
    pack = tmp_path / "pack"
    pack.mkdir()
    (pack / "PulumiPolicy.yaml").write_text("runtime: python\n")
    (pack / "__main__.py").write_text(
        """
from pulumi_policy import EnforcementLevel, PolicyPack, ResourceValidationPolicy

def no_host_network(args, report):
    if args.resource_type == "kubernetes:core/v1:Pod" and args.props["spec"].get("hostNetwork"):
        report("pods stay off the host's network")

PolicyPack(name="pack", enforcement_level=EnforcementLevel.MANDATORY, policies=[
    ResourceValidationPolicy(name="no-host-network", description="no host network", validate=no_host_network)])
"""
    )
    project.program(
        """
k8s.core.v1.Pod("pod", metadata=meta("pod", "default"), spec=dict(
    host_network=True, containers=[{"name": "c", "image": "x/y:1"}]))
"""
    )
    outcome = project.pulumi("preview", "--policy-pack", str(pack))
    assert outcome.status != 0
    assert "pods stay off the host's network" in outcome.output


def test_the_host_ends_when_its_engine_was_killed(
    bare_project: Any, until: Callable[[Callable[[], bool], str], None]
) -> None:
    engine = subprocess.Popen(
        ["sh", "-c", "pulumi-language-python 127.0.0.1:1 & echo $!; wait"],
        env=bare_project.environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert engine.stdout
    host = int(engine.stdout.readline())
    assert engine.stdout.readline().strip().isdigit(), "the host prints its port"
    engine.kill()
    engine.wait()
    until(lambda: not _runs(host), "the host is gone")


def test_the_host_ends_at_once_on_an_interrupt(bare_project: Any) -> None:
    host = subprocess.Popen(
        ["pulumi-language-python", "127.0.0.1:1"], env=bare_project.environment, stdout=subprocess.PIPE, text=True
    )
    assert host.stdout
    host.stdout.readline()
    started = time.monotonic()
    host.send_signal(signal.SIGINT)
    assert host.wait(timeout=10) == 0
    assert time.monotonic() - started < 1


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
