"""Commands that a host runs."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping

LAST_LINES = 25


def output(
    *command: str,
    accepted: tuple[int, ...] = (0,),
    given: str | None = None,
    environment: Mapping[str, str] | None = None,
    pass_fds: tuple[int, ...] = (),
    merged: bool = False,
) -> str:
    """What a command prints.

    ``given`` is its standard input; ``environment`` stands before this process's own variables. With ``merged`` what it
    prints and its complaints are one text, for those that say on both what failed.

    Raises:
        ValueError: its exit code is not ``accepted``; the last lines say why. What a command prints may be a key, so
            they are of its complaints, as long as there are any.
    """
    done = subprocess.run(
        command,
        input=given,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if merged else subprocess.PIPE,
        text=True,
        errors="replace",
        check=False,
        env={**os.environ, **(environment or {})},
        pass_fds=pass_fds,
    )
    if done.returncode not in accepted:
        lines = (done.stderr or done.stdout).strip().splitlines()[-LAST_LINES:]
        raise ValueError(f"{' '.join(command)}: exit code {done.returncode}: " + "\n".join(lines))
    return done.stdout
