"""A record that was altered, dropped, reordered or inserted is named."""

import errno
import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from llmaas_gateway import chain
from llmaas_gateway.price_file import parse_price_book
from llmaas_gateway.price_record import differences, record_prices
from llmaas_gateway.prices import PriceError

NOW = datetime(2026, 11, 24, tzinfo=UTC)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "chain.jsonl"
    chain.append(file, [{"n": n} for n in range(5)], NOW)
    return file


def lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def test_what_was_appended_is_read_back(path: Path) -> None:
    chain.append(path, [{"n": 5}], NOW)
    assert [record.body["n"] for record in chain.read(path)] == [0, 1, 2, 3, 4, 5]


def test_an_altered_record_is_named(path: Path) -> None:
    changed = lines(path)
    changed[2] = changed[2].replace('"n": 2', '"n": 7')
    with pytest.raises(chain.ChainError, match="line 3: record 3 was altered"):
        list(chain.check(changed))


def test_a_dropped_record_is_named(path: Path) -> None:
    rest = lines(path)
    del rest[1]
    with pytest.raises(chain.ChainError, match=r"line 2: record 3 where 2 belongs; records are missing"):
        list(chain.check(rest))


def test_reordered_records_are_named(path: Path) -> None:
    mixed = lines(path)
    mixed[1], mixed[2] = mixed[2], mixed[1]
    with pytest.raises(chain.ChainError, match="line 2: record 3 where 2 belongs"):
        list(chain.check(mixed))


def test_an_inserted_record_is_named(path: Path) -> None:
    forged = chain.Record.make(3, NOW, {"n": "forged"}, chain.GENESIS)
    with pytest.raises(chain.ChainError, match="line 3: record 3 does not follow the one before"):
        list(chain.check([*lines(path)[:2], forged.line(), *lines(path)[2:]]))


def test_a_file_cut_in_half_is_named_and_nothing_is_appended_to_it(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    path.write_text(text[:-40], encoding="utf-8")
    with pytest.raises(chain.ChainError, match="line 5: not a record"):
        chain.append(path, [{"n": 5}], NOW)
    assert path.read_text(encoding="utf-8") == text[:-40]


def test_a_chain_whose_beginning_was_deleted_still_verifies_from_its_head(path: Path) -> None:
    kept = lines(path)[3:]
    head = json.loads(lines(path)[2])["hash"]
    assert len(list(chain.check(kept, previous=head, first_number=4))) == 2


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85", "\x0b", "\x1c"])
def test_a_text_with_any_separator_of_lines_is_read_back(path: Path, separator: str) -> None:
    chain.append(path, [{"name": f"one{separator}two"}], NOW)
    chain.append(path, [{"n": 6}], NOW)
    assert chain.read(path)[5].body == {"name": f"one{separator}two"}


def test_a_last_line_without_its_end_is_not_written_on(path: Path) -> None:
    path.write_bytes(path.read_bytes().rstrip(b"\n"))
    chain.append(path, [{"n": 5}], NOW)
    assert len(chain.read(path)) == 6


def test_where_the_disk_is_full_nothing_is_appended(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, write, full = path.read_bytes(), os.write, [False]

    def until_full(descriptor: int, data: bytes) -> int:
        if full[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        full[0] = True
        return write(descriptor, bytes(data)[:40])

    monkeypatch.setattr(os, "write", until_full)
    with pytest.raises(OSError, match="No space left"):
        chain.append(path, [{"n": 5}, {"n": 6}], NOW)
    assert path.read_bytes() == before


def test_a_real_limit_of_the_files_size_leaves_no_part_of_a_record(path: Path) -> None:
    before = path.read_bytes()
    script = (
        "import datetime, pathlib, resource, signal, sys; from llmaas_gateway import chain\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({len(before) + 40}, {len(before) + 40}))\n"
        "chain.append(pathlib.Path(sys.argv[1]), [{'n': 5}], datetime.datetime.now(datetime.UTC))\n"
    )
    ended = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=False)
    assert "File too large" in ended.stderr
    assert path.read_bytes() == before


def test_a_price_in_force_that_was_edited_or_removed_is_named(tmp_path: Path) -> None:
    text = """
currency: EUR
time_zone: Europe/Paris
entries:
  - {id: a, model: "*", per: million, valid_from: "2026-01-01T00:00:00", prices: {input: "1", output: "2"}}
  - {id: b, model: "*", per: million, valid_from: "2027-01-01T00:00:00", prices: {input: "1"}}
"""
    path = tmp_path / "record.jsonl"
    assert len(record_prices(parse_price_book(text), path, NOW)) == 3
    assert record_prices(parse_price_book(text), path, NOW) == []
    edited = parse_price_book(
        text.replace('input: "1", output: "2"', 'input: "3"').replace('prices: {input: "1"}', 'prices: {input: "9"}')
    )
    assert [problem.split(":")[0] for problem in differences(edited, chain.read(path), NOW)] == [
        "a/input.amount",
        "a/input.nano_eur",
        "b/input.amount",
        "b/input.nano_eur",
        "a/output",
    ]


FUTURE = """
currency: EUR
time_zone: Europe/Paris
entries:
  - {id: a, model: "*", per: million, valid_from: "2026-01-01T00:00:00", prices: {input: "1"}}
  - {id: b, model: "*", per: million, valid_from: "2026-12-01T00:00:00", prices: {input: "2"}}
"""
EDITED = FUTURE.replace('"2"', '"3"')
WITHDRAWN = FUTURE[: FUTURE.index("  - {id: b")]
BEFORE, AFTER = datetime(2026, 11, 30, tzinfo=UTC), datetime(2026, 12, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "told"), [(WITHDRAWN, "b/input: withdrawn"), (EDITED, "b/input: 3 EUR per million from 2026-12-01")]
)
def test_a_price_to_come_may_be_edited_or_withdrawn_if_that_is_recorded_in_time(
    tmp_path: Path, text: str, told: str
) -> None:
    path, book = tmp_path / "record.jsonl", parse_price_book(text)
    record_prices(parse_price_book(FUTURE), path, NOW)
    beforehand = differences(book, chain.read(path), BEFORE)
    assert beforehand
    assert all("run `llmaas prices record` before 2026-12-01" in problem for problem in beforehand)
    (line,) = record_prices(book, path, BEFORE)
    assert line.startswith(told)
    assert record_prices(book, path, BEFORE) == []
    records = chain.read(path)
    assert differences(book, records, BEFORE) == differences(book, records, AFTER) == []


@pytest.mark.parametrize(("text", "place"), [(WITHDRAWN, "b/input"), (EDITED, "b/input.amount")])
def test_what_was_recorded_of_a_price_after_it_began_to_hold_does_not_count(
    tmp_path: Path, text: str, place: str
) -> None:
    path, book = tmp_path / "record.jsonl", parse_price_book(text)
    record_prices(parse_price_book(FUTURE), path, NOW)
    assert record_prices(book, path, AFTER) == []
    bodies = [{**record.body, "amount": "3", "nano_eur": 3_000} for record in chain.read(path)[1:]]
    chain.append(path, [*bodies, {"id": "b/input", "withdrawn": True}], AFTER)
    assert differences(book, chain.read(path), AFTER)[0].startswith(f"{place}:")
    assert differences(parse_price_book(FUTURE), chain.read(path), AFTER) == []


def test_a_withdrawn_price_comes_back_only_if_that_is_recorded_in_time(tmp_path: Path) -> None:
    path, book = tmp_path / "record.jsonl", parse_price_book(FUTURE)
    record_prices(book, path, NOW)
    record_prices(parse_price_book(WITHDRAWN), path, NOW)
    assert "recorded as withdrawn and there again" in differences(book, chain.read(path), BEFORE)[0]
    assert "b/input: it was not recorded before" in differences(book, chain.read(path), AFTER)[0]
    with pytest.raises(PriceError, match="b/input: it was not recorded before"):
        record_prices(book, path, AFTER)
    assert len(record_prices(book, path, BEFORE)) == 1
    assert differences(book, chain.read(path), AFTER) == []


BOOK = """
currency: EUR
time_zone: Europe/Paris
factors: {batch: "0.5"}
entries:
  - {id: a, model: "*", per: million, valid_from: "2026-01-01T00:00:00", prices: {input: "1"}}
"""
END = ', valid_until: "2028-01-01T00:00:00", prices'
BACKDATED = '  - {id: b, model: m, per: million, valid_from: "2026-02-01T00:00:00", prices: {input: "0"}}'


def test_a_factor_or_a_named_end_that_was_edited_is_named(tmp_path: Path) -> None:
    path = tmp_path / "record.jsonl"
    assert len(record_prices(parse_price_book(BOOK), path, NOW)) == 2
    records = chain.read(path)
    assert differences(parse_price_book(BOOK), records, NOW) == []
    for was, now, place in (
        ('"0.5"', '"0.9"', "factors/batch/.factor"),
        ('{batch: "0.5"}', "{}", "factors/batch/"),
        (", prices", END, "a/input.valid_until"),
    ):
        (problem,) = differences(parse_price_book(BOOK.replace(was, now)), records, NOW)
        assert problem.startswith(f"{place}:")


def test_a_price_that_would_hold_from_a_past_moment_is_not_recorded(tmp_path: Path) -> None:
    path = tmp_path / "record.jsonl"
    record_prices(parse_price_book(BOOK), path, NOW)
    backdated, before = parse_price_book(BOOK + BACKDATED), path.read_text(encoding="utf-8")
    with pytest.raises(PriceError, match="b/input: it was not recorded before"):
        record_prices(backdated, path, NOW)
    assert path.read_text(encoding="utf-8") == before
    assert [problem.split(":")[0] for problem in differences(backdated, chain.read(path), NOW)] == ["b/input"]


def test_a_price_in_force_without_a_record_is_named() -> None:
    text = """
currency: EUR
time_zone: Europe/Paris
entries: [{id: a, model: "*", per: million, valid_from: "2026-01-01T00:00:00", prices: {input: "1"}}]
"""
    assert differences(parse_price_book(text), [], NOW) == [
        "a/input: in force since 2026-01-01T00:00:00+01:00 but not recorded; run `llmaas prices record`"
    ]
