"""An update that was killed while it created an object can be run again."""

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from standins.pulumi.test_readiness import DEPLOYMENT, pods_exist

from lab.interrupted import remove_interrupted
from lab.toolchain import tool_path


def test_a_killed_update_is_taken_up_where_it_was(
    project: Any, api_server: Any, tmp_path: Path, until: Callable[[Callable[[], bool], str], None]
) -> None:
    project.program(DEPLOYMENT.format(replicas=1))
    pulumi = [str(tool_path("pulumi")), "--non-interactive"]
    update = subprocess.Popen(
        [*pulumi, "up", "--yes", "--skip-preview", "--stack", "test"],
        cwd=project.folder,
        env=project.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    until(lambda: pods_exist(api_server, project.namespace), "pods exist")
    os.killpg(update.pid, signal.SIGKILL)
    update.wait()
    begun = api_server.object("deployment", "web", "-n", project.namespace)["metadata"]["uid"]
    project.pulumi("cancel", "--yes")
    project.program(DEPLOYMENT.format(replicas=0))
    assert "already exists" in project.up(fails=True).output

    def removed() -> int:
        environment = {**project.environment, "PATH": f"{tool_path('kubectl').parent}:{project.environment['PATH']}"}
        log = tmp_path / "pulumi.log"
        return remove_interrupted(pulumi, "test", folder=project.folder, environment=environment, log=log)

    assert removed() == 1
    project.up()
    assert api_server.object("deployment", "web", "-n", project.namespace)["metadata"]["uid"] != begun
    assert removed() == 0
    assert project.preview() == {}
