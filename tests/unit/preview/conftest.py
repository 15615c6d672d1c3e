"""A copy of the stack files that a test may spoil, with a state folder that must stay empty."""

import shutil
from pathlib import Path

import pytest
from stack_files import Stacks

from llmaas import paths
from llmaas.paths import stack_file


@pytest.fixture
def stacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stacks:
    folder = tmp_path / "stacks"
    shutil.copytree(
        stack_file("lab").parent, folder, ignore=shutil.ignore_patterns("images.lab.lock.yaml", "placement.*")
    )
    (tmp_path / "templates").symlink_to(paths.PROJECT_ROOT / "templates")
    monkeypatch.setattr(paths, "PROJECT_ROOT", tmp_path)
    monkeypatch.setenv("LLMAAS_STATE", str(tmp_path / "state"))
    return Stacks(folder, tmp_path / "state")
