"""Starts a program in a session and a control group of its own."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from lab.cgroups import cgroup_folders, systemd_scope
from lab.layout import CGROUP

_LAUNCH: Final = Path(__file__).with_name("launch.sh")


def launch(  # noqa: PLR0913 - what a process is started with
    group: str,
    command: Sequence[str],
    log: Path,
    environment: Mapping[str, str] | None = None,
    *,
    top: str = CGROUP,
    prefix: Sequence[str] = (),
    weight: int = 1,
) -> subprocess.Popen[bytes]:
    """Start ``command``.

    Args:
        group: the control group, below ``top``.
        command: what the process becomes.
        log: its output is appended to it.
        environment: beside this process's own variables.
        top: the name of the site's groups.
        prefix: what to put before the program that joins the group.
        weight: how many times what another group gets of processors that are short.
    """
    arguments = [*systemd_scope(group, weight), *prefix, str(_LAUNCH), *cgroup_folders(group, top, weight)]
    with log.open("ab") as stream:
        return subprocess.Popen(
            [*arguments, "--", *command],
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, **(environment or {})},
            cwd="/",
        )
