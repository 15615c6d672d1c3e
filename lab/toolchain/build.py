"""Builds the programs that the package mirrors carry only as Go source, once, into the cache."""

import hashlib
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Final

from lab.toolchain.go import BUILD_ENVIRONMENT, ToolchainError, go_build, go_environment, go_version
from lab.toolchain.tools import MODULES, Module, module_of
from llmaas.files import locked
from llmaas.paths import cache_dir

Report = Callable[[str], None]

_KEY_LENGTH: Final = 12
_VERSION_TIMEOUT_SECONDS: Final = 20


def _quiet(_line: str) -> None:
    """Report nothing."""


def module_key(module: Module) -> str:
    """What a build depends on: the module files, our own source, the linker's flags and the compiler."""
    digest = hashlib.sha256()
    sources = sorted(path for path in module.folder.iterdir() if path.suffix in {".mod", ".sum", ".go"})
    for path in sources:
        digest.update(f"{path.name}\0".encode() + path.read_bytes() + b"\0")
    facts = (module.linker_flags, go_version(), *module.programs.values(), *BUILD_ENVIRONMENT.values())
    digest.update("\0".join(facts).encode())
    return digest.hexdigest()[:_KEY_LENGTH]


def module_folder(module: Module) -> Path:
    """Where the finished programs of a module lie (``<name>-<version>-<key>``), built or not."""
    return cache_dir() / "toolchain" / f"{module.name}-{module.version}-{module_key(module)}"


@cache
def official_program(program: str) -> Path | None:
    """The installed program of exactly our version, where there is one on ``PATH``; it then replaces a build."""
    module = module_of(program)
    found = shutil.which(program)
    if found is None:
        return None
    path = Path(found).resolve()
    if path.is_relative_to(cache_dir().resolve()):
        return None
    try:
        result = subprocess.run(
            [found, *module.version_command[program]],
            check=True,
            capture_output=True,
            text=True,
            timeout=_VERSION_TIMEOUT_SECONDS,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    versions = re.findall(r"\d+\.\d+\.\d+", result.stdout)
    return path if versions and versions[0] == module.version else None


def built_program(program: str, report: Report = _quiet) -> Path:
    """Our own static build of a program, made now if it is missing; container images take only this one."""
    module = module_of(program)
    return _ensure_module(module, report) / "bin" / program


def tool_path(program: str) -> Path:
    """The program to run: the installed one of our version, else the built one.

    Raises:
        KeyError: the toolchain has no such program.
        ToolchainError: it is not built yet.
    """
    official = official_program(program)
    if official is not None:
        return official
    path = module_folder(module_of(program)) / "bin" / program
    if not path.exists():
        raise ToolchainError(f"{program} is not built yet", remedy="run 'llmaas lab toolchain'")
    return path


def tool_folders() -> tuple[Path, ...]:
    """The folders of all programs that are built, for ``PATH``."""
    folders = (module_folder(module) / "bin" for module in MODULES)
    return tuple(folder for folder in folders if folder.is_dir())


def tool_env() -> dict[str, str]:
    """This process's environment with the toolchain first on ``PATH``."""
    entries = [str(folder) for folder in tool_folders()]
    return {**os.environ, "PATH": os.pathsep.join([*entries, os.environ.get("PATH", os.defpath)])}


def ensure_toolchain(report: Report = print) -> None:
    """Build what is missing, one module after the other.

    Programs that are installed in our version are not built. A build that is interrupted leaves nothing that a later
    one could take for finished; Go's own cache lets the next one go on where it stopped.

    Raises:
        ToolchainError: a build failed; the text names its log.
    """
    for module in MODULES:
        if all(official_program(program) for program in module.programs):
            report(f"{module.name} {module.version}: installed on this machine")
        else:
            _ensure_module(module, report)


def _ensure_module(module: Module, report: Report) -> Path:
    folder = module_folder(module)
    if folder.is_dir():
        return folder
    root = folder.parent
    root.mkdir(parents=True, exist_ok=True)
    with locked(root / f".{module.name}.lock"):
        if folder.is_dir():
            return folder
        partial = root / f".{module.name}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        _build_module(module, partial, report)
        partial.rename(folder)
    return folder


def _build_module(module: Module, partial: Path, report: Report) -> None:
    binaries = partial / "bin"
    binaries.mkdir(parents=True)
    log = cache_dir() / "logs" / f"toolchain-{module.name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as output:
        for number, (program, package) in enumerate(module.programs.items(), start=1):
            started = time.monotonic()
            result = subprocess.run(
                go_build(binaries / program, package, module.linker_flags, report),
                check=False,
                cwd=module.folder,
                env=go_environment(),
                stdout=output,
                stderr=subprocess.STDOUT,
            )
            if result.returncode != 0:
                raise ToolchainError(
                    f"building {program} {module.version} failed",
                    remedy=f"if a download was refused, pin another version in {module.folder / 'go.mod'}",
                    log=log,
                )
            seconds = time.monotonic() - started
            report(
                f"{module.name} {module.version}: {program} built in {seconds:.0f} s "
                f"({number} of {len(module.programs)})"
            )
