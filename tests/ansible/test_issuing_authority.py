"""A run goes on while the issuing authority nears its end and the root's key is away, and says so."""

import datetime as dt
from pathlib import Path

import pytest
from playbooks import LOCAL, run_play

from llmaas.pki import authority, open_authority


def test_hosts_get_certificates_and_the_end_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLMAAS_STATE", str(tmp_path / "state"))
    (tmp_path / "state").mkdir()
    earlier = dt.datetime.now(dt.UTC) - dt.timedelta(days=615)
    with monkeypatch.context() as patch:
        patch.setattr(authority, "_now", lambda: earlier)
        folder = open_authority("unit").folder
    (folder / "offline" / "root.key").unlink()
    leaf = {"name": "host-one", "dns": ["one"], "addresses": [], "usage": "both"}
    task = {"name": "Issue", "llmaas.host.certificates": {"environment": "unit", "leaves": [leaf]}}
    play = {"name": "Issue", "hosts": "all", "gather_facts": False, "tasks": [task]}
    done = run_play(tmp_path, {"all": {"hosts": {"one": LOCAL}}}, play)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the issuing authority of unit ends on " in " ".join((done.stdout + done.stderr).split())
    open_authority("unit").leaf("host-one")
