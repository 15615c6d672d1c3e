"""``llmaas price`` counts as the gateway does where it can, and ``llmaas prices`` keeps the book to its record."""

import hashlib
import shutil
from pathlib import Path

import pytest
from llmaas_gateway.proxy.counting import tokenizer
from typer.testing import CliRunner

from lab.models import tiny_llama
from llmaas.cli import price, prices
from llmaas.paths import artefact_folder

RUNNER = CliRunner()
MODEL = "granite3.3:8b"
TEXT = "Bonjour, comment allez-vous aujourd'hui ? " * 5
BOOK = """
currency: EUR
time_zone: Europe/Paris
entries:
  - {id: old, model: "*", per: million, valid_from: "2025-01-01T00:00:00", prices: {input: "1", output: "10"}}
  - {id: new, model: "*", per: million, valid_from: "2026-08-01T00:00:00", prices: {input: "3", output: "30"}}
"""


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLMAAS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture(autouse=True)
def book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A book and a record of its own."""
    path = tmp_path / "prices.yaml"
    path.write_text(BOOK)
    monkeypatch.setattr(price, "PRICES", path)
    monkeypatch.setattr(prices, "PRICES", path)
    monkeypatch.setattr(prices, "RECORD", tmp_path / "prices.recorded.jsonl")
    return path


@pytest.fixture(scope="module")
def content() -> bytes:
    """The tokenizer of the lab's artefact, as its manifest declares it."""
    return tiny_llama.files()["tokenizer.json"]


def told(*arguments: str) -> str:
    result = RUNNER.invoke(price.app, arguments)
    assert result.exit_code == 0, result.output
    return result.output


def refused(*arguments: str) -> str:
    result = RUNNER.invoke(price.app, arguments)
    assert result.exit_code == 2, result.output
    assert not isinstance(result.exception, ValueError)
    return result.output


def number_of(output: str, unit: str) -> int:
    (line,) = [line for line in output.splitlines() if f"│ {unit} " in line]
    return int(line.split("│")[2])


def test_without_a_tokenizer_the_input_is_estimated_and_that_is_said() -> None:
    output = told(TEXT, "--model", MODEL, "--output-tokens", "100", "--at", "2026-07-31T12:00:00+02:00")
    assert (number_of(output, "input"), number_of(output, "output")) == (len(TEXT) // 4, 100)
    assert "estimated" in output
    assert str(artefact_folder("tiny-llama")) in output
    assert f"0.00{len(TEXT) // 4 + 1000:04d} EUR" in output


def test_with_the_artefacts_tokenizer_the_input_is_counted_and_that_is_said(content: bytes) -> None:
    file = artefact_folder("tiny-llama") / "tokenizer.json"
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    output = told(TEXT, "--model", MODEL)
    wanted = tokenizer(file, None)(TEXT)
    assert number_of(output, "input") == wanted != len(TEXT) // 4
    assert "counted with" in output
    assert "estimated" not in output


def test_a_named_tokenizer_must_be_the_one_that_the_manifest_declares(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "elsewhere.json"
    file.write_bytes(content)
    assert "counted with" in told(TEXT, "--model", MODEL, "--tokenizer", str(file))
    file.write_bytes(content + b" ")
    assert hashlib.sha256(content).hexdigest() in refused(TEXT, "--model", MODEL, "--tokenizer", str(file))
    assert "does not exist" in refused(TEXT, "--model", MODEL, "--tokenizer", str(tmp_path / "nowhere"))


def test_another_file_in_the_artefacts_folder_is_not_counted_with() -> None:
    file = artefact_folder("tiny-llama") / "tokenizer.json"
    file.parent.mkdir(parents=True)
    file.write_text("{}")
    assert "SHA-256" in refused(TEXT, "--model", MODEL)
    shutil.rmtree(file.parent)
    assert "estimated" in told(TEXT, "--model", MODEL)


def test_the_price_is_that_of_the_moment() -> None:
    before = told(TEXT, "--model", MODEL, "--at", "2026-07-31T23:59:59+02:00")
    after = told(TEXT, "--model", MODEL, "--at", "2026-08-01T00:00:00+02:00")
    assert "old/input" in before
    assert "new/input" in after


@pytest.mark.parametrize("at", ["tomorrow", "2026-13-01T00:00:00+02:00", "2026-08-01T00:00:00"])
def test_a_moment_that_is_none_is_refused_with_an_example(at: str) -> None:
    output = refused(TEXT, "--model", MODEL, "--at", at)
    assert at in output
    assert "2026-08-01T00:00:00+02:00" in output


def test_a_model_that_the_environment_does_not_have_is_refused_with_those_it_has() -> None:
    output = refused(TEXT, "--model", "gpt-5")
    assert "gpt-5" in output
    assert MODEL in output


def test_an_unknown_environment_is_told() -> None:
    result = RUNNER.invoke(price.app, [TEXT, "--model", MODEL, "-e", "moon"])
    assert result.exit_code == 1
    assert "stacks/Pulumi.moon.yaml: no such file" in result.output


def test_a_model_without_a_price_is_told(book: Path) -> None:
    book.write_text(BOOK.replace('"*"', "another-model"))
    assert MODEL in refused(TEXT, "--model", MODEL)


def test_a_recorded_book_checks_until_a_price_in_force_is_edited(book: Path) -> None:
    unrecorded = RUNNER.invoke(prices.app, ["check"])
    assert unrecorded.exit_code == 1
    assert "not recorded" in unrecorded.output
    first = RUNNER.invoke(prices.app, ["record"])
    assert (first.exit_code, "4 new" in first.output) == (0, True)
    again = RUNNER.invoke(prices.app, ["record"])
    assert (again.exit_code, "0 new" in again.output) == (0, True)
    assert RUNNER.invoke(prices.app, ["check"]).exit_code == 0
    book.write_text(BOOK.replace('input: "1"', 'input: "2"'))
    edited = RUNNER.invoke(prices.app, ["check"])
    assert edited.exit_code == 1
    assert "old/input.amount" in edited.output


@pytest.mark.parametrize("command", ["check", "record"])
def test_a_book_or_a_record_that_cannot_be_read_is_told(book: Path, tmp_path: Path, command: str) -> None:
    (tmp_path / "prices.recorded.jsonl").write_text("nothing of a record\n")
    damaged = RUNNER.invoke(prices.app, [command])
    assert (damaged.exit_code, "line 1" in damaged.output) == (1, True)
    book.write_text("currency: XXX")
    wrong = RUNNER.invoke(prices.app, [command])
    assert wrong.exit_code == 2
    assert "time_zone" in wrong.output
