"""Where the project keeps what is not in its tree: the cache of built things and the state of each environment."""

import os
from pathlib import Path
from typing import Final

PROJECT_ROOT = Path(__file__).resolve().parent.parent
# Names the environment for whatever is not told by an option.
ENVIRONMENT_VARIABLE: Final = "LLMAAS_ENVIRONMENT"


def cache_dir() -> Path:
    """Things that can be built again, keyed by version; ``LLMAAS_CACHE`` or ``~/.cache/llmaas``."""
    return Path(os.environ.get("LLMAAS_CACHE") or Path.home() / ".cache" / "llmaas")


def artefact_folder(name: str) -> Path:
    """Where files of a model's weights lie on this machine, if any are here."""
    return cache_dir() / "models" / name


def state_dir(environment: str) -> Path:
    """What belongs to one environment on this machine: secrets, certificates, Pulumi state, logs.

    ``LLMAAS_STATE`` or ``~/.local/state/llmaas``, with a folder per environment. Only its owner may read it.
    """
    root = Path(os.environ.get("LLMAAS_STATE") or Path.home() / ".local" / "state" / "llmaas")
    path = root / environment
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def stack_file(environment: str) -> Path:
    """The one description of an environment."""
    return PROJECT_ROOT / "stacks" / f"Pulumi.{environment}.yaml"
