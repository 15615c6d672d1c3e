import base64
import gzip
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmaas.verify.canary import search
from llmaas.verify.canary.marker import Canary, order
from llmaas.verify.canary.search import Finder, search_files, search_host

CANARY = Canary()
PATTERNS = CANARY.patterns()


def _found(text: bytes) -> set[str]:
    finder = Finder(PATTERNS)
    finder.feed(text)
    return finder.found


@given(st.binary(max_size=200), st.binary(max_size=200), st.lists(st.integers(1, 60), min_size=1, max_size=30))
def test_the_marker_is_found_wherever_the_pieces_of_a_stream_are_cut(
    before: bytes, after: bytes, sizes: list[int]
) -> None:
    text, finder = before + CANARY.marker.encode() + after, Finder(PATTERNS)
    for index in range(len(text)):
        size = sizes[index % len(sizes)]
        finder.feed(text[:size])
        text = text[size:]
    assert "plain" in finder.found


@given(st.binary(max_size=9), st.binary(max_size=9))
def test_the_marker_is_found_within_any_base64_and_hexadecimal_text(before: bytes, after: bytes) -> None:
    whole = before + CANARY.marker.encode() + after
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        assert any(name.startswith("base64") for name in _found(encode(whole)))
    assert "hexadecimal" in _found(whole.hex().upper().encode())


@given(st.binary(max_size=500))
def test_what_does_not_hold_the_marker_is_no_hit(text: bytes) -> None:
    assert _found(text) == set()


def test_the_marker_is_found_in_other_letters_and_encodings() -> None:
    assert "plain" in _found(CANARY.marker.upper().encode())
    assert "plain" in _found(json.dumps({"prompt": CANARY.text}).encode())
    assert "UTF-16" in _found(CANARY.text.encode("utf-16"))


def test_pieces_of_answers_are_searched_for_if_they_are_nobody_else_s() -> None:
    answers = ["un deux trois quatre cinq six sept huit neuf", "short", "aaaa aaaa aaaa aaaa aaaa aaaa", "x" * 90]
    patterns = CANARY.patterns(answers)
    assert [pattern for name, pattern in patterns.items() if name.startswith("answer")] == [answers[0].encode()]


def test_the_marker_is_not_shown_by_its_object() -> None:
    assert CANARY.marker not in repr(CANARY)
    assert CANARY.marker not in CANARY.control


def test_files_changed_since_the_beginning_are_searched_compressed_ones_too(tmp_path: Path) -> None:
    since = time.time() - 5
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "clean.log").write_text("nothing")
    (tmp_path / "a" / "b" / "x.log").write_text(f"... {CANARY.marker} ...")
    (tmp_path / "a" / "x.gz").write_bytes(gzip.compress(CANARY.text.encode()))
    (tmp_path / "a" / "link").symlink_to("b/x.log")
    os.mkfifo(tmp_path / "a" / "pipe")
    answer = search_files([str(tmp_path)], since, PATTERNS)
    assert sorted(answer["hits"]) == [[f"{tmp_path}/a/b/x.log", "plain"], [f"{tmp_path}/a/x.gz", "plain"]]
    assert (answer["searched"], answer["problems"]) == (3, [])
    later = search_files([str(tmp_path)], time.time() + 60, PATTERNS)
    assert (later["hits"], later["searched"]) == ([], 0)


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "broken.gz").write_bytes(gzip.compress(b"x" * 1000)[:-20])
    answer = search_files([str(tmp_path)], 0, PATTERNS)
    assert [problem.split(":")[0] for problem in answer["problems"]] == [f"{tmp_path}/broken.gz"]


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Programs that stand for the journal of a host: a file, written by ``logger``, read by ``journalctl``."""
    log = tmp_path / "journal"
    log.write_text("")
    for name, text in (("logger", f'echo "$3" >> {log}'), ("journalctl", f"cat {log}")):
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\n{text}\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(search, "JOURNAL_PAUSE_SECONDS", 0.01)
    return log


def test_a_host_s_journal_and_files_are_searched_and_both_searches_proven(journal: Path, tmp_path: Path) -> None:
    roots = ["/var/tmp", str(tmp_path / "data"), "/no/such/folder"]  # noqa: S108 - where the control lies
    (tmp_path / "data").mkdir()
    assert search_host(roots, time.time() - 5, PATTERNS, CANARY.control)["hits"] == []
    (tmp_path / "data" / "wal").write_text(CANARY.text)
    with journal.open("a") as file:
        file.write(CANARY.text)
    answer = search_host(roots, time.time() - 5, PATTERNS, CANARY.control)
    assert answer["hits"] == [[str(tmp_path / "data" / "wal"), "plain"], ["journal", "plain"]]
    assert answer["problems"] == []


@pytest.mark.parametrize(
    ("program", "text", "words"),
    [
        ("journalctl", "exit 3", "ended with code 3"),
        ("journalctl", "echo nothing", "not there"),
        ("logger", "exit 1", "logger"),
    ],
)
def test_a_journal_that_cannot_be_searched_is_told(journal: Path, program: str, text: str, words: str) -> None:
    (journal.parent / program).write_text(f"#!/bin/sh\n{text}\n")
    answer = search_host(["/var/tmp"], time.time() - 5, PATTERNS, CANARY.control)  # noqa: S108 - as above
    assert any(words in problem for problem in answer["problems"])


def test_a_search_that_does_not_find_what_is_planted_is_told(journal: Path, tmp_path: Path) -> None:
    answer = search_host([str(tmp_path)], time.time() - 5, PATTERNS, CANARY.control)
    assert answer["problems"] == ["files: what was just written into one was not found"]
    assert journal.exists()


def test_the_search_runs_from_standard_input_with_the_standard_library_alone(journal: Path, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "wal").write_text(CANARY.text)
    roots = ["/var/tmp", str(tmp_path / "data")]  # noqa: S108 - as above
    program = search.program(order(CANARY, PATTERNS, roots, time.time() - 5))
    done = subprocess.run([sys.executable, "-I", "-"], input=program, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["hits"] == [[str(tmp_path / "data" / "wal"), "plain"]]
    assert journal.read_text().strip() == CANARY.control
