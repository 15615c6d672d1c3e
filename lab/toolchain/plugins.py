"""Pulumi's plugins that no package mirror carries: the official ones where they are installed, else our stand-ins."""

import os
import re
from pathlib import Path
from typing import Final

from llmaas.paths import PROJECT_ROOT

STAND_INS: Final = PROJECT_ROOT / "lab" / "standins" / "bin"
PLUGINS: Final = ("pulumi-language-python", "pulumi-resource-kubernetes")
_DEFAULT_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def plugin_path() -> str:
    """This process's ``PATH`` with what Pulumi starts: official plugins before all else, stand-ins behind all else."""
    folders = dict.fromkeys(path.parent for path in map(official_plugin, PLUGINS) if path)
    return os.pathsep.join(map(str, [*folders, *_entries(), STAND_INS]))


def official_plugin(program: str) -> Path | None:
    """The installed plugin: on ``PATH``, or where `pulumi plugin install` puts it."""
    on_path = (entry / program for entry in _entries())
    kind, _, name = program.removeprefix("pulumi-").partition("-")
    home = Path.home() / ".pulumi" / "plugins"
    installed = sorted(home.glob(f"{kind}-{name}-v*/{program}"), key=lambda path: _version(path.parent), reverse=True)
    return next((path for path in (*on_path, *installed) if os.access(path, os.X_OK) and path.is_file()), None)


def _entries() -> list[Path]:
    """Of ``PATH``, less the stand-ins, also those of another clone of the project."""
    entries = map(Path, os.environ.get("PATH", _DEFAULT_PATH).split(os.pathsep))
    return [entry for entry in entries if entry.parts[-3:] != STAND_INS.parts[-3:]]


def _version(folder: Path) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", folder.name.rpartition("-v")[2]))
