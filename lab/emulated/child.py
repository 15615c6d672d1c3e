"""A process of the emulated site with all that it starts: it ends with whoever started it, however that ends."""

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from lab.cgroups import end_group
from lab.launching import launch

_TOP: Final = "llmaas-emulated"
_WITH_ITS_STARTER: Final = ("setpriv", "--pdeathsig", "KILL")


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
        self.process = launch(self._group, command, log, environment, top=_TOP, prefix=_WITH_ITS_STARTER)

    def kill(self) -> None:
        """End it at once: also what only its supervisor's end would leave at work."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        end_group(self._group, top=_TOP)

    @property
    def _group(self) -> str:
        return f"emulated-{self.name}"
