"""Who may change the lab: root, and who is not is told so before anything is looked for or ended."""

import os
from pathlib import Path

import pytest
from rich.console import Console

from lab import exclusive
from lab.errors import LabError
from lab.layout import Layout


@pytest.mark.parametrize("entered", [exclusive.exclusive_run, exclusive.announced_lock])
def test_who_is_not_root_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entered: object) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    for changes in ("_enter_scope", "clean_stale", "locked"):
        monkeypatch.delattr(exclusive, changes)
    assert callable(entered)
    with pytest.raises(LabError, match="root"), entered(Layout(state=tmp_path, cache=tmp_path), Console()):
        pass
