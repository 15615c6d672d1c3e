"""What a host gets of an artefact: everything, or some files alone, and nothing besides where that is asked for."""

import hashlib
import json
import os
import ssl
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.llmaas.host.plugins.modules import weights

URL = "https://site.test/models"
FILES = {"config.json": b"{}", "tokenizer.json": b"words", "model.safetensors": b"weights"}


def manifest(*names: str) -> str:
    return "".join(f"{hashlib.sha256(FILES[name]).hexdigest()}  {name}\n" for name in names)


ONE = {"name": "one", "manifest": manifest(*FILES)}
TWO = {"name": "two", "manifest": manifest("config.json", "model.safetensors")}


class Host:
    """A folder in place of a host's, and the site's store beside it."""

    def __init__(self, root: Path) -> None:
        self.folder = root / "placed" / "tokenizers"
        self.store = root / "store"
        for artefact in ("one", "two"):
            (self.store / artefact).mkdir(parents=True)
            for name, content in FILES.items():
                (self.store / artefact / name).write_bytes(content)

    def opened(self, url: str, **_: Any) -> BinaryIO:
        return (self.store / url.removeprefix(f"{URL}/")).open("rb")

    def placed(self) -> set[str]:
        found = (path for path in self.folder.rglob("*") if path.is_file() and path.name != weights.STAMP)
        return {str(path.relative_to(self.folder)) for path in found}

    def run(self, capfd: pytest.CaptureFixture[str], *artefacts: dict[str, str], **options: Any) -> dict[str, Any]:
        """Run the module as the role does for tokenizers; its answer."""
        given = {
            "artefacts": list(artefacts),
            "url": URL,
            "ca_certificate": "ca.crt",
            "folder": str(self.folder),
            "only": ["tokenizer.json"],
            "exact": True,
            **options,
        }
        with patch_module_args(given), pytest.raises(SystemExit):
            weights.main()
        answer: dict[str, Any] = json.loads(capfd.readouterr().out)
        return answer


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    made = Host(tmp_path)
    monkeypatch.setattr("urllib.request.urlopen", made.opened)
    monkeypatch.setattr(ssl, "create_default_context", lambda **_: ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    return made


Capture = pytest.CaptureFixture[str]


def test_only_the_wanted_file_is_fetched_and_everybody_may_read_it(host: Host, capfd: Capture) -> None:
    before = os.umask(0o077)
    try:
        assert host.run(capfd, ONE)["fetched"] == ["one/tokenizer.json"]
    finally:
        os.umask(before)
    assert host.placed() == {"one/tokenizer.json"}
    modes = {path: path.stat().st_mode & 0o777 for path in (host.folder, host.folder / "one")}
    assert set(modes.values()) == {0o755}
    assert (host.folder / "one" / "tokenizer.json").stat().st_mode & 0o777 == 0o444


def test_a_second_run_changes_nothing(host: Host, capfd: Capture) -> None:
    assert host.run(capfd, ONE)["changed"] is True
    answer = host.run(capfd, ONE)
    assert (answer["changed"], answer["fetched"], answer["removed"]) == (False, [], [])


def test_without_names_everything_is_placed(host: Host, capfd: Capture) -> None:
    host.run(capfd, ONE, TWO, only=[])
    wanted = {f"one/{name}" for name in FILES} | {"two/config.json", "two/model.safetensors"}
    assert host.placed() == wanted


def test_an_artefact_whose_manifest_names_no_such_file_gives_none(host: Host, capfd: Capture) -> None:
    answer = host.run(capfd, TWO)
    assert (answer["changed"], host.folder.exists()) == (False, False)


def test_what_no_artefact_wants_any_more_is_removed(host: Host, capfd: Capture) -> None:
    host.run(capfd, ONE)
    (host.folder / "gone" / "deep").mkdir(parents=True)
    (host.folder / "gone" / "deep" / "tokenizer.json").touch()
    (host.folder / "one" / "stranger").touch()
    (host.folder / "link").symlink_to(host.store)
    wanted = ["gone", "gone/deep", "gone/deep/tokenizer.json", "link", "one/stranger"]
    told = host.run(capfd, ONE, _ansible_check_mode=True)
    assert (told["removed"], (host.folder / "gone").exists()) == (wanted, True)
    assert host.run(capfd, ONE)["removed"] == wanted
    assert host.placed() == {"one/tokenizer.json"}
    assert (host.store / "one" / "config.json").exists()
    assert host.run(capfd)["removed"] == ["one", "one/.checked", "one/tokenizer.json"]


def test_nothing_is_removed_unless_it_is_asked_for(host: Host, capfd: Capture) -> None:
    host.run(capfd, ONE)
    assert host.run(capfd, exact=False)["removed"] == []
    assert host.placed() == {"one/tokenizer.json"}


def test_a_file_that_is_not_what_the_manifest_says_is_not_placed(host: Host, capfd: Capture) -> None:
    host.run(capfd, ONE)
    (host.store / "one" / "tokenizer.json").write_bytes(b"other")
    (host.folder / "one" / "tokenizer.json").chmod(0o644)
    (host.folder / "one" / "tokenizer.json").write_bytes(b"touched")
    (host.folder / "old").mkdir()
    answer = host.run(capfd, ONE)
    assert answer["failed"] is True
    assert "the manifest says" in answer["msg"]
    # nothing is taken away where something could not be put in place
    assert (host.folder / "old").exists()


def test_a_file_that_was_altered_is_fetched_again(host: Host, capfd: Capture) -> None:
    host.run(capfd, ONE)
    path = host.folder / "one" / "tokenizer.json"
    stamp = path.stat()
    path.chmod(0o644)
    path.write_bytes(b"WORDS")
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    # of the same size and time: only reading it tells
    assert host.run(capfd, ONE)["changed"] is False
    assert host.run(capfd, ONE, verify=True)["fetched"] == ["one/tokenizer.json"]
    assert path.read_bytes() == b"words"
