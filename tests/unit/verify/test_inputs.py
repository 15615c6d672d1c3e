"""What a verdict says that its checks were held against."""

import subprocess
from pathlib import Path

from llmaas.verify import inputs


def test_what_git_does_not_have_counts_as_a_change_and_what_it_ignores_does_not(tmp_path: Path) -> None:
    git = ["git", "-C", str(tmp_path), "-c", "user.name=n", "-c", "user.email=e@example.org"]
    subprocess.run([*git, "init", "--quiet"], check=True)
    role = tmp_path / "roles" / "pod_network_calico" / "main.yml"
    role.parent.mkdir(parents=True)
    (tmp_path / ".gitignore").write_text("cache\n")
    (tmp_path / "roles" / "README.md").write_text("roles")
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "--quiet", "--message", "one"], check=True)
    (tmp_path / "roles" / "cache").write_text("x")
    # what was made of the checks lies beside the software
    (tmp_path / "verify.json").write_text("{}")
    (tmp_path / "evidence-lab").mkdir()
    (tmp_path / "evidence-lab" / "report.html").write_text("x")
    assert inputs._untracked(tmp_path) == b""  # noqa: SLF001 - of the project's own folder nothing may depend here
    role.write_text("one")
    one = inputs._untracked(tmp_path)  # noqa: SLF001
    role.write_text("two")
    two = inputs._untracked(tmp_path)  # noqa: SLF001
    assert b"roles/pod_network_calico/main.yml" in one
    assert two != one
    (tmp_path / "conftest.py").write_text("x")
    assert inputs._untracked(tmp_path) != two  # noqa: SLF001
