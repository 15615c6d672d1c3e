"""Short commands on the machine: run, checked, their output kept for the error."""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from lab.errors import LabError


def run(  # noqa: PLR0913 - all but the command are options of one call
    command: Sequence[str | Path],
    *,
    remedy: str = "",
    log: Path | None = None,
    environment: Mapping[str, str] | None = None,
    text_in: str | None = None,
    cwd: Path | None = None,
) -> str:
    """Run ``command`` to its end and return what it printed; with ``log`` its output is appended there as well.

    Raises:
        LabError: it is not installed or ended with an error; the text has its last lines.
    """
    try:
        done = subprocess.run(
            [str(part) for part in command],
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            input=text_in,
            stdin=subprocess.DEVNULL if text_in is None else None,
            env=environment,
            cwd=cwd,
        )
    except FileNotFoundError as error:
        raise LabError(
            f"{command[0]} is not installed", remedy=remedy or "run: bin/llmaas doctor  (it names the Debian packages)"
        ) from error
    if log is not None:
        with log.open("a", encoding="utf-8") as stream:
            stream.write(f"$ {' '.join(map(str, command))}\n{done.stdout}")
    if done.returncode:
        tail = "\n".join(done.stdout.splitlines()[-15:])
        raise LabError(f"{' '.join(map(str, command))}\nended with {done.returncode}:\n{tail}", remedy=remedy, log=log)
    return done.stdout
