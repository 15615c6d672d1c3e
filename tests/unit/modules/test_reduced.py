"""What a host has too much of, told from its files."""

import os
import stat
from pathlib import Path

import pytest
from ansible_collections.llmaas.host.plugins.module_utils import systemd_units
from ansible_collections.llmaas.host.plugins.modules import reduced

SHADOW = "root:$y$j9T$hash:20000:0\nnobody:*:20000::\nguest::20000::\nother:$y$j9T$hash:20000::\n"


@pytest.fixture
def shadow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "shadow"
    path.write_text(SHADOW)
    monkeypatch.setattr(reduced, "SHADOW", str(path))
    return path


@pytest.mark.usefixtures("shadow")
def test_an_empty_password_is_too_much_for_anybody_and_any_password_for_who_is_named() -> None:
    assert reduced.open_accounts([]) == ["guest"]
    assert reduced.open_accounts(["root", "nobody"]) == ["root", "guest"]


@pytest.mark.parametrize(("mode", "widest", "left"), [(0o4755, "0755", 0o755), (0o666, "0640", 0o640)])
def test_a_mode_is_narrowed_to_what_it_may_grant(tmp_path: Path, mode: int, widest: str, left: int) -> None:
    path = tmp_path / "program"
    path.touch()
    path.chmod(mode)
    assert reduced.wide_paths([{"path": str(path), "mode": widest}]) == [(str(path), left)]
    path.chmod(left)
    assert reduced.wide_paths([{"path": str(path), "mode": widest}]) == []
    assert stat.S_IMODE(path.stat().st_mode) == left


def test_a_narrower_mode_stays_and_a_path_that_is_not_there_is_passed_over(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    asked = [{"path": str(tmp_path), "mode": "0750"}, {"path": str(tmp_path / "absent"), "mode": "0600"}]
    assert reduced.wide_paths(asked) == []


def test_a_pattern_is_of_every_path_that_it_fits(tmp_path: Path) -> None:
    for name, mode in (("map-1", 0o644), ("map-2", 0o600), ("other", 0o644)):
        (tmp_path / name).touch()
        (tmp_path / name).chmod(mode)
    asked = [{"path": str(tmp_path / "map-*"), "mode": "0600"}]
    assert reduced.wide_paths(asked) == [(str(tmp_path / "map-1"), 0o600)]


def test_a_unit_is_masked_by_a_link_to_nothing_and_by_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(systemd_units, "UNITS", str(tmp_path))
    (tmp_path / "masked.service").symlink_to(os.devnull)
    (tmp_path / "linked.service").symlink_to(tmp_path / "other.service")
    (tmp_path / "own.service").touch()
    names = ("masked.service", "linked.service", "own.service", "absent.service")
    assert [systemd_units.is_masked(name) for name in names] == [True, False, False, False]
