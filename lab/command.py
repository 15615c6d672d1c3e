"""Commands on the machine: run, checked, their output kept for the error and in a log that can be followed."""

import subprocess
import tempfile
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
    """Run ``command`` to its end and return what it printed; with ``log`` its output is there too, line by line.

    Raises:
        LabError: it is not installed or ended with an error; the text has its last lines.
    """
    words = [str(part) for part in command]
    with log.open("a+b") if log is not None else tempfile.TemporaryFile() as output:
        if log is not None:
            output.write(f"$ {' '.join(words)}\n".encode())
            output.flush()
        begin = output.tell()
        try:
            returncode = subprocess.run(
                words,
                check=False,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
                input=text_in,
                stdin=subprocess.DEVNULL if text_in is None else None,
                env=environment,
                cwd=cwd,
            ).returncode
        except FileNotFoundError as error:
            raise LabError(
                f"{words[0]} is not installed",
                remedy=remedy or "run: bin/llmaas doctor  (it names the Debian packages)",
            ) from error
        output.seek(begin)
        printed = output.read().decode(errors="replace")
    if returncode:
        tail = "\n".join(printed.splitlines()[-15:])
        raise LabError(f"{' '.join(words)}\nended with {returncode}:\n{tail}", remedy=remedy, log=log)
    return printed
