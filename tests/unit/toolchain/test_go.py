"""Which Go compiler builds the toolchain: the machine's own, or the release that is named, checked and unpacked."""

import hashlib
import io
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab.toolchain import ToolchainError, go

Install = Callable[[str], None]


@pytest.fixture(autouse=True)
def nothing_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("LLMAAS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    go.installed_go.cache_clear()
    yield
    go.installed_go.cache_clear()


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Puts a compiler on ``PATH`` that tells a version."""

    def done(version: str) -> None:
        folder = tmp_path / "installed"
        folder.mkdir()
        (folder / "go").write_text(f"#!/bin/sh\necho {version}\n")
        (folder / "go").chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")

    return done


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], list[str]]:
    """A module mirror that answers with these bytes; the list of what it was asked for."""

    def done(content: bytes) -> list[str]:
        asked: list[str] = []

        def answer(url: str, timeout: float) -> io.BytesIO:
            assert timeout > 0
            asked.append(url)
            return io.BytesIO(content)

        monkeypatch.setattr(go, "urlopen", answer)
        return asked

    return done


def release(mode: int = 0o755) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        program = zipfile.ZipInfo("golang.org/toolchain@v0.0.1-go1.26.8.linux-amd64/bin/go")
        program.external_attr = (0o100000 | mode) << 16
        archive.writestr(program, "#!/bin/sh\necho fetched\n")
    return content.getvalue()


@pytest.mark.parametrize(
    ("version", "used"), [("go1.26.0", True), ("go1.27.1", True), ("go1.25.9", False), ("go1.19.8", False), ("", False)]
)
def test_the_machine_s_compiler_is_used_where_it_is_new_enough(install: Install, version: str, *, used: bool) -> None:
    install(version)
    assert (go.installed_go() is not None) is used
    assert go.go_version() == (version if used else f"go{go.RELEASE}")


def test_a_release_is_fetched_once_checked_and_can_be_run(
    install: Install, mirror: Callable[[bytes], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    install("go1.19.8")
    content = release()
    monkeypatch.setattr(go, "SHA256", hashlib.sha256(content).hexdigest())
    monkeypatch.setenv("GOPROXY", "off,https://mirror.example/go/,direct")
    asked, lines = mirror(content), []
    program = go.go_program(lines.append)
    assert program.stat().st_mode & 0o777 == 0o755
    assert go.go_program(lines.append) == program
    assert len(lines) == 1
    assert asked == [
        f"https://mirror.example/go/golang.org/toolchain/@v/v0.0.1-go{go.RELEASE}.linux-amd64.zip",
    ]


def test_what_is_not_the_release_is_refused_and_not_kept(
    install: Install, mirror: Callable[[bytes], list[str]], tmp_path: Path
) -> None:
    install("go1.19.8")
    asked = mirror(release())
    for _ in range(2):
        with pytest.raises(ToolchainError, match="is not the release") as caught:
            go.go_program()
        assert "GOPROXY" in caught.value.remedy
    assert len(asked) == 2
    assert not list((tmp_path / "cache").rglob("bin/go"))


def test_a_mirror_that_refuses_is_named(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(url: str, timeout: float) -> io.BytesIO:
        raise OSError(f"{url} after {timeout}: 403 Forbidden")

    install("")
    monkeypatch.setattr(go, "urlopen", refuse)
    monkeypatch.delenv("GOPROXY", raising=False)
    with pytest.raises(ToolchainError, match=r"https://proxy\.golang\.org.*403"):
        go.go_program()
