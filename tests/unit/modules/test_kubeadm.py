"""What kubeadm has begun and not brought to its end is undone before it is begun anew, and never taken for done."""

from pathlib import Path

import pytest
from ansible_collections.llmaas.host.plugins.module_utils import kubeadm

# Writes what kubeadm writes first, then says whether it was killed before its end.
PROGRAM = """#!/bin/sh
echo "$*" >> {folder}/calls
case "$1" in
reset) rm -f {folder}/admin.conf ;;
init)
    if [ -s {folder}/slow ]; then sed -i 1d {folder}/slow; echo "[ERROR CRI]: deadline exceeded" >&2; exit 1; fi
    touch {folder}/admin.conf; if [ -e {folder}/broken ]; then echo no etcd >&2; exit 1; fi; echo made ;;
esac
"""


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    program = tmp_path / "bin" / "kubeadm"
    program.parent.mkdir()
    program.write_text(PROGRAM.format(folder=tmp_path))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    monkeypatch.setattr(kubeadm, "BEGUN", str(tmp_path / "state" / "begun"))
    monkeypatch.setattr(kubeadm, "SECONDS_BETWEEN_LOOKS", 0)
    return tmp_path


def calls(host: Path) -> list[str]:
    return (host / "calls").read_text().splitlines()


def stands(host: Path) -> bool:
    return kubeadm.stands(str(host / "admin.conf"))


def test_what_comes_to_its_end_stands_and_leaves_no_mark(host: Path) -> None:
    assert not stands(host)
    assert kubeadm.to_the_end("init", "--config", "x") == "made\n"
    assert stands(host)
    assert calls(host) == ["init --config x"]


def test_what_failed_does_not_stand_is_left_for_who_looks_and_is_undone_by_the_next_run(host: Path) -> None:
    (host / "broken").touch()
    with pytest.raises(ValueError, match="no etcd"):
        kubeadm.to_the_end("init")
    assert (host / "admin.conf").exists()
    assert not stands(host)
    (host / "broken").unlink()
    kubeadm.to_the_end("init")
    assert stands(host)
    assert calls(host) == ["init", "reset --force", "init"]


def test_a_killed_run_is_taken_as_a_failed_one(host: Path) -> None:
    (host / "state").mkdir()
    Path(kubeadm.BEGUN).touch()
    (host / "admin.conf").touch()
    assert not stands(host)
    kubeadm.to_the_end("init")
    assert calls(host) == ["reset --force", "init"]


def test_a_reset_that_fails_is_told_and_nothing_is_begun(host: Path) -> None:
    (host / "state").mkdir()
    Path(kubeadm.BEGUN).touch()
    (host / "bin" / "kubeadm").write_text("#!/bin/sh\necho no runtime >&2\nexit 1\n")
    with pytest.raises(ValueError, match=r"kubeadm reset --force: exit code 1: no runtime"):
        kubeadm.to_the_end("init")
    assert Path(kubeadm.BEGUN).exists()


def test_a_runtime_that_does_not_answer_yet_is_looked_for_again_and_nothing_is_undone(host: Path) -> None:
    (host / "slow").write_text("once\ntwice\n")
    assert kubeadm.to_the_end("init") == "made\n"
    assert stands(host)
    assert calls(host) == ["init"] * 3


def test_a_runtime_that_never_answers_is_told_in_the_end(host: Path) -> None:
    (host / "slow").write_text("again\n" * 100)
    with pytest.raises(ValueError, match="deadline exceeded"):
        kubeadm.to_the_end("init")
    assert not stands(host)
    assert len(calls(host)) == kubeadm.LOOKS
