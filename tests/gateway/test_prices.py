"""The price book says what a unit costs at any moment, and refuses what is ambiguous."""

from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from llmaas_gateway.price_file import load_price_book, parse_price_book
from llmaas_gateway.prices import PriceError, Unit

PARIS = ZoneInfo("Europe/Paris")
BOOK = Path(__file__).parents[2] / "stacks" / "prices.yaml"

HEAD = """
currency: EUR
time_zone: Europe/Paris
entries:
"""


def entry(text: str) -> str:
    return HEAD + text


@pytest.mark.parametrize(
    ("at", "nanos"),
    [
        (datetime(2026, 7, 31, 23, 59, 59, tzinfo=PARIS), (900, 4_000, 21_000)),
        (datetime(2026, 8, 1, tzinfo=PARIS), (1_800, 8_000, 8_000)),
        # 22:30 in London is half past eleven in Paris, still July there
        (datetime(2026, 7, 31, 22, 30, tzinfo=ZoneInfo("Europe/London")), (900, 4_000, 21_000)),
        (datetime(2026, 7, 31, 23, 0, tzinfo=ZoneInfo("Europe/London")), (1_800, 8_000, 8_000)),
    ],
)
def test_both_books_hold_to_the_second_in_their_own_time_zone(at: datetime, nanos: tuple[int, ...]) -> None:
    book = load_price_book(BOOK)
    units = (Unit.INPUT, Unit.OUTPUT, Unit.REASONING)
    assert tuple(book.quote("granite3.3:8b", unit, at).nano_eur for unit in units) == nanos


def test_a_models_own_price_comes_before_the_general_one() -> None:
    book = parse_price_book(
        entry("""
  - {id: all, model: "*", per: million, valid_from: "2026-01-01T00:00:00", prices: {input: "1"}}
  - {id: own, model: big, per: million, valid_from: "2026-01-01T00:00:00", prices: {input: "2"}}
""")
    )
    at = datetime(2026, 2, 1, tzinfo=PARIS)
    assert book.quote("big", Unit.INPUT, at).price_id == "own/input"
    assert book.quote("other", Unit.INPUT, at).price_id == "all/input"


def test_cached_input_without_a_price_is_charged_as_input_and_an_unpriced_unit_is_refused() -> None:
    book = load_price_book(BOOK)
    at = datetime(2026, 9, 1, tzinfo=PARIS)
    assert book.quote("m", Unit.CACHED_INPUT, at).nano_eur == 1_800
    with pytest.raises(PriceError, match="no price for audio_minute"):
        book.quote("m", Unit.AUDIO_MINUTE, at)


def test_overlapping_validity_is_refused_with_both_entries() -> None:
    with pytest.raises(PriceError, match=r"a/input and b/input: both hold at 2026-02-01"):
        parse_price_book(
            entry("""
  - {id: a, model: m, per: unit, valid_from: "2026-01-01T00:00:00",
     valid_until: "2026-03-01T00:00:00", prices: {input: "1"}}
  - {id: b, model: m, per: unit, valid_from: "2026-02-01T00:00:00", prices: {input: "1"}}
""")
        )


def test_all_mistakes_are_reported_at_once_each_with_its_place() -> None:
    text = """
currency: USD
time_zone: Europe/Paris
factors: {cheap: "-1"}
entries:
  - {id: a, model: m, per: dozen, valid_from: "2026-01-01T00:00:00", prices: {input: "1"}}
  - {id: b, model: m, per: million, valid_from: "tomorrow", prices: {input: "1"}}
  - {id: c, model: m, per: million, valid_from: "2026-01-01T00:00:00",
     prices: {input: "-1", output: "0.0000001", water: "1"}}
"""
    with pytest.raises(PriceError) as caught:
        parse_price_book(text)
    places = [problem.split(":")[0] for problem in caught.value.problems]
    assert places == [
        "factors.cheap", "currency", "entries[0].per", "entries[1].valid_from",
        "entries[2].prices.input", "entries[2].prices.output", "entries[2].prices",
    ]  # fmt: skip


def test_a_price_of_zero_is_a_price() -> None:
    book = parse_price_book(
        entry("""
  - {id: gift, model: "*", per: million, valid_from: "2026-01-01T00:00:00", prices: {input: "0", output: "0"}}
""")
    )
    assert book.quote("m", Unit.OUTPUT, datetime(2026, 2, 1, tzinfo=PARIS)).nano_eur == 0


ONE = '  - {id: a, model: m, per: unit, valid_from: "2026-01-01T00:00:00", prices: {input: "1"}}\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            HEAD + ONE.replace('input: "1"', 'input: "1", input: "9"'),
            "key 'input' stands twice, first in line 5; keep one",
        ),
        (HEAD + ONE + "entries:\n" + ONE, "key 'entries' stands twice, first in line 4; keep one"),
        (HEAD.replace("Europe/Paris", "Europe") + ONE, "time_zone: 'Europe' is not a zone of the IANA database"),
        (
            HEAD.replace("entries", 'factors: {third: "1/3"}\nentries') + ONE,
            "factors.third: '1/3' is not a decimal amount",
        ),
        (HEAD.replace("entries", 'factors: {much: "100.1"}\nentries') + ONE, "factors.much: '100.1' is not between"),
        (HEAD + ONE.replace('"1"', '"9007199.254740993"'), "entries[0].prices.input: .* above the most"),
        (
            HEAD + ONE.replace("2026-01-01T00:00:00", "0001-01-01T00:00:00"),
            "entries[0].valid_from: .* is out of all time",
        ),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(text: str, words: str) -> None:
    with pytest.raises(PriceError, match=words.replace("[0]", r"\[0\]")):
        parse_price_book(text)


@pytest.mark.parametrize(
    ("moment", "words"),
    [
        ("2026-03-29T02:30:00", "does not exist, clocks go forward"),
        ("2026-10-25T02:00:00", "is there twice, clocks go back"),
    ],
)
@pytest.mark.parametrize("field", ["valid_from", "valid_until"])
def test_a_local_time_that_is_not_there_once_is_refused(field: str, moment: str, words: str) -> None:
    times = {"valid_from": "2026-01-01T00:00:00", "valid_until": "2026-12-01T00:00:00", field: moment}
    first = ", ".join(f'{name}: "{time}"' for name, time in times.items())
    text = f'  - {{id: a, model: m, per: unit, {first}, prices: {{input: "1"}}}}\n'
    with pytest.raises(PriceError, match=rf"entries\[0\]\.{field}: '{moment}' {words}"):
        parse_price_book(entry(text))


def test_times_around_a_change_of_the_clocks_hold_as_written() -> None:
    book = parse_price_book(
        entry("""
  - {id: a, model: m, per: unit, valid_from: "2026-01-01T00:00:00", prices: {input: "1"}}
  - {id: b, model: m, per: unit, valid_from: "2026-03-29T03:00:00", prices: {input: "2"}}
""")
    )
    ids = [book.quote("m", Unit.INPUT, datetime(2026, 3, 29, *t, tzinfo=UTC)).price_id for t in ((0, 59), (1, 0))]
    assert ids == ["a/input", "b/input"]


def test_a_book_that_is_not_utf_8_is_refused_with_its_name(tmp_path: Path) -> None:
    path = tmp_path / "prices.yaml"
    path.write_bytes(b"currency: EUR # \xe9\n")
    with pytest.raises(PriceError, match=r"prices\.yaml: not UTF-8 at byte 16; save it as UTF-8"):
        load_price_book(path)
