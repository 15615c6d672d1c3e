"""Images hold every package that their lock files name."""

from collections.abc import Iterable
from pathlib import Path

import pytest

from lab.errors import LabError
from lab.images import site_packages

LOCK = "one-two==1.0 \\\n    --hash=sha256:00\nThree==2\n"


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    path = tmp_path / "requirements.lock"
    path.write_text(LOCK)
    return path


def uv(monkeypatch: pytest.MonkeyPatch, installs: Iterable[str]) -> list[Path]:
    """Let some packages be all that uv installs; returns the folders it was started in."""
    started_in: list[Path] = []

    def run(command: Iterable[str], folder: Path) -> str:
        words = list(command)
        target = Path(words[words.index("--target") + 1])
        for name in installs:
            metadata = target / f"{name}-1.dist-info" / "METADATA"
            metadata.parent.mkdir()
            metadata.write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
        started_in.append(folder)
        return ""

    monkeypatch.setattr(site_packages, "run", run)
    return started_in


def test_all_that_is_locked_is_installed(lock: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uv(monkeypatch, ["One_Two", "three"])
    site_packages.install(lock, tmp_path / "opt/packages")


def test_a_package_that_was_left_out_is_named(lock: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uv(monkeypatch, ["three"])
    with pytest.raises(LabError, match=r"requirements\.lock without one-two"):
        site_packages.install(lock, tmp_path / "opt/packages")


def test_this_projects_own_settings_of_uv_are_out_of_sight(
    lock: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started_in = uv(monkeypatch, ["one-two", "three"])
    site_packages.install(lock, tmp_path / "opt/packages")
    (where,) = started_in
    assert not [above for above in (where, *where.parents) if (above / "pyproject.toml").exists()]
