"""A process of the emulated site with all that it starts: it ends with whoever started it, however that ends."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from lab.cgroups import cgroup_folders, end_group, systemd_scope

_LAUNCH: Final = Path(__file__).parents[1] / "launch.sh"
_TOP: Final = "llmaas-emulated"


@dataclass
class Child:
    """One program and the control group that holds all of it."""

    name: str
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def runs(self) -> bool:
        """Whether it was started and has not ended."""
        return self.process is not None and self.process.poll() is None

    def start(self, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> None:
        """Become ``command``, its output appended to ``log``; one that a killed run left is ended first."""
        self.kill()
        arguments = [
            *systemd_scope(self._group),
            *("setpriv", "--pdeathsig", "KILL", str(_LAUNCH), *cgroup_folders(self._group, _TOP), "--"),
            *command,
        ]
        with log.open("ab") as stream:
            self.process = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, **(environment or {})},
                cwd="/",
            )

    def kill(self) -> None:
        """End it at once: also what only its supervisor's end would leave at work."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        end_group(self._group, top=_TOP)

    @property
    def _group(self) -> str:
        return f"emulated-{self.name}"
