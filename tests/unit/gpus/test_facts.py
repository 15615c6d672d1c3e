"""What a host says of its kernel's headers, by what apt knows of the site's packages."""

import subprocess
from pathlib import Path

import pytest
from ansible_collections.llmaas.host.plugins.module_utils import gpu_facts

RELEASE = "6.1.0-no-such-kernel"
OFFERED = f"linux-headers-{RELEASE}:\n  Installed: (none)\n  Candidate: 6.1.162-1\n"
NOT_OFFERED = f"linux-headers-{RELEASE}:\n  Installed: (none)\n  Candidate: (none)\n"


@pytest.fixture
def apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a host whose apt knows the site's packages."""
    (tmp_path / "site.sources").touch()
    (tmp_path / "site.llmaas.internal:8443_debian_dists_stable_main_binary-amd64_Packages").touch()
    monkeypatch.setattr(gpu_facts, "_SITE_SOURCES", str(tmp_path / "site.sources"))
    monkeypatch.setattr(gpu_facts, "_PACKAGE_LISTS", str(tmp_path / "*_Packages*"))
    monkeypatch.setattr(gpu_facts.shutil, "which", lambda _: "/usr/bin/apt-cache")
    return tmp_path


def answer(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 0, text, "")

    monkeypatch.setattr(gpu_facts.subprocess, "run", run)


@pytest.mark.parametrize(
    ("text", "state"), [(OFFERED, "available"), (NOT_OFFERED, "missing"), ("", "missing")], ids=["yes", "no", "unknown"]
)
@pytest.mark.usefixtures("apt")
def test_the_site_s_packages_have_headers_or_have_not(monkeypatch: pytest.MonkeyPatch, text: str, state: str) -> None:
    answer(monkeypatch, text)
    assert gpu_facts._headers(RELEASE) == state  # noqa: SLF001 - the one fact that hangs on what else the host has


@pytest.mark.parametrize("lacking", ["site.sources", "*_Packages"])
def test_before_the_site_s_packages_are_known_nothing_is_said_of_headers(
    apt: Path, monkeypatch: pytest.MonkeyPatch, lacking: str
) -> None:
    """What an installer's own sources offer is not what the site's mirror has, and empty lists are no answer."""
    answer(monkeypatch, OFFERED)
    for path in apt.glob(lacking):
        path.unlink()
    assert gpu_facts._headers(RELEASE) == "unknown"  # noqa: SLF001 - as above
