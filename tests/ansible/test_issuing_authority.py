"""What a run says of certificates: those that it issues, and that the issuing authority nears its end."""

import datetime as dt
import subprocess
from pathlib import Path
from typing import Any

import pytest
from playbooks import LOCAL, run_play

from llmaas.pki import authority, open_authority


def issue(folder: Path, leaves: list[dict[str, Any]], *options: str) -> subprocess.CompletedProcess[str]:
    """Issue certificates as the role trust does, and print the names of those that were or would be issued."""
    task = {
        "name": "Issue",
        "llmaas.host.certificates": {"environment": "unit", "leaves": leaves},
        "register": "made",
    }
    tell = {"name": "Tell", "ansible.builtin.debug": {"msg": "issued: {{ made.issued | join(' ') }}."}}
    play = {"name": "Issue", "hosts": "all", "gather_facts": False, "tasks": [task, tell]}
    done = run_play(folder, {"all": {"hosts": {"one": LOCAL}}}, play, *options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def test_hosts_get_certificates_and_the_end_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLMAAS_STATE", str(tmp_path / "state"))
    (tmp_path / "state").mkdir()
    earlier = dt.datetime.now(dt.UTC) - dt.timedelta(days=615)
    with monkeypatch.context() as patch:
        patch.setattr(authority, "_now", lambda: earlier)
        folder = open_authority("unit").folder
    (folder / "offline" / "root.key").unlink()
    leaf = {"name": "host-one", "dns": ["one"], "addresses": [], "usage": "both"}
    done = issue(tmp_path, [leaf])
    assert "the issuing authority of unit ends on " in " ".join((done.stdout + done.stderr).split())
    open_authority("unit").leaf("host-one")


def test_a_check_run_names_the_certificates_that_a_run_would_issue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLMAAS_STATE", str(tmp_path / "state"))
    (tmp_path / "state").mkdir()
    made = open_authority("unit")
    made.ensure_leaf("kept", dns=["one"], usage="both")
    made.ensure_leaf("renamed", dns=["one"], usage="both")
    earlier = dt.datetime.now(dt.UTC) - dt.timedelta(days=61)
    with monkeypatch.context() as patch:
        patch.setattr(authority, "_now", lambda: earlier)
        made.ensure_leaf("old", dns=["one"], usage="both")
    names = {"kept": "one", "renamed": "two", "old": "one", "missing": "one"}
    leaves = [{"name": name, "dns": [dns], "addresses": [], "usage": "both"} for name, dns in names.items()]
    before = {path: path.read_bytes() for path in made.folder.rglob("*") if path.is_file()}
    done = issue(tmp_path, leaves, "--check")
    assert "issued: renamed old missing." in done.stdout, done.stdout
    assert {path: path.read_bytes() for path in made.folder.rglob("*") if path.is_file()} == before
    assert "issued: renamed old missing." in issue(tmp_path, leaves).stdout
    assert "issued: ." in issue(tmp_path, leaves, "--check").stdout
