"""Every token is billed once, at the price of its moment."""

from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from llmaas_gateway.charging import Usage, UsageError, charge, estimate_tokens, most, usage_of
from llmaas_gateway.price_file import load_price_book, parse_price_book
from llmaas_gateway.prices import PriceError, Unit

PARIS = ZoneInfo("Europe/Paris")
BOOK = load_price_book(Path(__file__).parents[2] / "stacks" / "prices.yaml")
SEED, LATER = datetime(2026, 7, 1, tzinfo=PARIS), datetime(2026, 9, 1, tzinfo=PARIS)
ANSWER = {
    "prompt_tokens": 100,
    "completion_tokens": 50,
    "prompt_tokens_details": {"cached_tokens": 30},
    "completion_tokens_details": {"reasoning_tokens": 20},
}


def test_reasoning_is_billed_once_and_never_again_as_output() -> None:
    usage = usage_of(ANSWER)
    assert usage.counts == {Unit.INPUT: 70, Unit.CACHED_INPUT: 30, Unit.OUTPUT: 30, Unit.REASONING: 20}
    assert charge(BOOK, "m", usage, SEED).nano_eur == 100 * 900 + 30 * 4_000 + 20 * 21_000
    assert charge(BOOK, "m", usage, LATER).nano_eur == 100 * 1_800 + 50 * 8_000


def test_windows_count_reasoning_as_output() -> None:
    assert usage_of(ANSWER).output_tokens == 50


def test_details_that_are_absent_or_null_are_zero() -> None:
    assert usage_of({"prompt_tokens": 3, "completion_tokens": 2, "prompt_tokens_details": None}).counts == {
        Unit.INPUT: 3,
        Unit.OUTPUT: 2,
    }


@pytest.mark.parametrize(
    "answer",
    [
        {"prompt_tokens": -1},
        {"prompt_tokens": 1, "prompt_tokens_details": {"cached_tokens": 2}},
        {"completion_tokens": 1, "completion_tokens_details": {"reasoning_tokens": 2}},
    ],
)
def test_a_usage_that_contradicts_itself_is_refused(answer: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        usage_of(answer)


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.data())
def test_no_split_of_the_tokens_costs_more_than_what_is_reserved(
    prompt: int, completion: int, data: st.DataObject
) -> None:
    answer = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "prompt_tokens_details": {"cached_tokens": data.draw(st.integers(0, prompt))},
        "completion_tokens_details": {"reasoning_tokens": data.draw(st.integers(0, completion))},
    }
    usage = usage_of(answer, system_tokens=data.draw(st.integers(0, prompt)))
    assert sum(usage.counts.values()) == prompt + completion
    for factor in (None, "batch"):
        bound = most(BOOK, "m", SEED, prompt, completion, factor)
        assert charge(BOOK, "m", usage, SEED, factor).nano_eur <= bound


def test_factors_multiply_and_an_unknown_one_is_refused() -> None:
    usage = Usage({Unit.INPUT: 2})
    assert charge(BOOK, "m", usage, SEED, "batch").nano_eur == 900
    with pytest.raises(PriceError, match="no factor 'gold'"):
        charge(BOOK, "m", usage, SEED, "gold")


def test_half_a_nano_euro_goes_to_the_even_one() -> None:
    text = """
currency: EUR
time_zone: Europe/Paris
factors: {half: "0.5"}
entries: [{id: a, model: "*", per: million, valid_from: "2026-01-01T00:00:00", prices: {input: "0.001"}}]
"""
    book = parse_price_book(text)
    costs = [charge(book, "m", Usage({Unit.INPUT: n}), SEED, "half").nano_eur for n in (1, 2, 3)]
    assert costs == [0, 1, 2]


def test_an_estimate_is_a_quarter_of_the_characters() -> None:
    assert estimate_tokens("Bonjour tout le monde") == 5
