"""Amounts are exact or refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from llmaas_gateway.money import MoneyError, format_euros, nano_eur, nano_eur_per_unit, to_cents


@pytest.mark.parametrize(
    ("amount", "per", "nanos"),
    [("0.9", 1_000_000, 900), ("4", 1_000_000, 4_000), ("21", 1_000_000, 21_000), ("0.01", 1, 10_000_000)],
)
def test_price_of_one_unit_is_a_whole_number_of_nano_euros(amount: str, per: int, nanos: int) -> None:
    assert nano_eur_per_unit(amount, per) == nanos


@pytest.mark.parametrize("amount", ["-1", "1e3", "1,5", "", " 1", "NaN", "0x10", "+1"])
def test_what_is_no_plain_decimal_is_refused(amount: str) -> None:
    with pytest.raises(MoneyError):
        nano_eur(amount)


def test_a_float_is_refused_because_it_is_not_exact() -> None:
    with pytest.raises(MoneyError, match="decimal string"):
        nano_eur(0.9)  # type: ignore[arg-type]


def test_a_price_with_more_digits_than_the_unit_carries_is_refused() -> None:
    with pytest.raises(MoneyError, match="more digits"):
        nano_eur_per_unit("0.0001", 1_000_000)
    with pytest.raises(MoneyError, match="more digits"):
        nano_eur("0.0000000001")


@pytest.mark.parametrize(
    "amount", ["0.0000000019999999999999999999999999999", "200.0000000000000000000000000001", "1." + "0" * 50 + "1"]
)
def test_digits_beyond_a_nano_euro_are_refused_however_many_there_are(amount: str) -> None:
    with pytest.raises(MoneyError, match="more digits"):
        nano_eur(amount)


def test_an_amount_that_nobody_writes_is_refused_before_it_is_read() -> None:
    with pytest.raises(MoneyError, match="has 1000001 characters; write an amount with at most 64"):
        nano_eur("9" * 1_000_001)


def test_a_price_above_what_a_counter_holds_is_refused() -> None:
    assert nano_eur_per_unit(f"{2**53}", 10**9) == 2**53
    with pytest.raises(MoneyError, match="above the most that one counter holds"):
        nano_eur_per_unit(f"{2**53 + 1}", 10**9)


@given(st.integers(min_value=0, max_value=2**53))
def test_an_amount_survives_its_text(nanos: int) -> None:
    assert nano_eur(format_euros(nanos)) == nanos


def test_cents_are_rounded_half_to_even() -> None:
    assert [to_cents(n) for n in (5_000_000, 15_000_000, 14_999_999, 25_000_000)] == [0, 2, 1, 2]
