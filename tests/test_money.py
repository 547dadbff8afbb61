"""Money: what is read as an amount, what is not, and how it is written."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buyers import money
from buyers.money import MICROS, MICROS_MAX, MoneyInvalid, format_micros, parse_micros

READ: list[tuple[Any, int]] = [
    # (as written, micros)
    ("12.50", 12_500_000),  # a decimal string
    (12.5, 12_500_000),  # a JSON number
    (12, 12_000_000),  # a whole JSON number
    (Decimal("12.5"), 12_500_000),  # out of TOML
    (0.1, 100_000),  # no binary dust
    (64.29, 64_290_000),  # nor here, where 64.29 * 1e6 is 64290000.00000001
    ("0", 0),
    ("-0", 0),  # minus nothing is nothing
    (-0.0, 0),
    ("0.000001", 1),  # the smallest step
    (1e-06, 1),  # as JSON writes it
    ("1000000", MICROS_MAX),  # the largest amount
    ("1000000.000000", MICROS_MAX),
    ("0.50000000000000", 500_000),  # zeros beyond the sixth decimal say nothing new
]

REFUSED: list[tuple[Any, str]] = [
    # (as written, code)
    ("NaN", "not_a_number"),  # Decimal reads it
    ("sNaN", "not_a_number"),  # and this
    (float("nan"), "not_a_number"),
    ("Infinity", "not_a_number"),
    (float("inf"), "not_a_number"),
    (float("-inf"), "not_a_number"),
    (Decimal("NaN"), "not_a_number"),
    (True, "not_a_number"),  # an int to Python
    (None, "not_a_number"),
    ([12], "not_a_number"),
    ({}, "not_a_number"),
    ("", "not_a_number"),
    ("twelve", "not_a_number"),
    ("１２", "not_a_number"),  # full-width digits: Decimal reads 12
    ("١٢", "not_a_number"),  # so does it read Arabic ones
    ("1,50", "not_a_number"),  # a decimal comma
    ("1_000", "not_a_number"),  # Python's own spelling
    (" 5 ", "not_a_number"),
    ("5\n", "not_a_number"),  # `$` of a regular expression would let it through
    ("$5.00", "not_a_number"),
    ("0x10", "not_a_number"),
    ("1" * 5000, "not_a_number"),  # 5,000 digits
    ("1e-999999999", "not_a_number"),  # Decimal's product would underflow to 0
    ("-1", "negative"),
    (-0.01, "negative"),
    (-(10**5000), "negative"),  # str() of it raises
    (1e308, "too_large"),
    ("1e400", "too_large"),  # inf to a float
    (2**64, "too_large"),
    (10**5000, "too_large"),  # str() of it raises
    ("1000000.000001", "too_large"),
    ("0.0000001", "too_precise"),  # seven decimals
    (1e-07, "too_precise"),
    ("1e-400", "too_precise"),  # 0.0 to a float
    ("0.1234560000000000000000000000000001", "too_precise"),  # 28 digits would round it
]

WRITTEN = [
    # (micros, currency, text)
    (10_000_000, "USD", "10.00"),  # the currency's decimals
    (10_024_000, "USD", "10.024"),  # more only where needed
    (1, "USD", "0.000001"),
    (0, "USD", "0.00"),
    (-500_000, "USD", "-0.50"),  # a balance may be below zero
    (10_000_000, "JPY", "10"),
    (10_500_000, "JPY", "10.5"),
    (10_000_000, "KWD", "10.000"),
    (10_000_000, "XXX", "10.00"),  # two unless we know better
]


@pytest.mark.parametrize(("value", "micros"), READ)
def test_an_amount_is_read_exactly(value: Any, micros: int) -> None:
    """Strings and numbers up to 1,000,000 with up to 6 decimals become integer micros."""
    assert micros == parse_micros(value)


@pytest.mark.parametrize(("value", "code"), REFUSED, ids=lambda part: repr(type(part))[8:14])
def test_what_is_not_money_is_refused_with_its_code(value: Any, code: str) -> None:
    """Every spelling that some parser takes for a number is judged, and none raises otherwise."""
    with pytest.raises(MoneyInvalid) as caught:
        parse_micros(value)

    assert code == caught.value.code


@pytest.mark.parametrize(("micros", "currency", "text"), WRITTEN)
def test_an_amount_is_written_with_its_currencys_decimals(
    micros: int, currency: str, text: str
) -> None:
    """Two decimals for dollars, none for yen, and more only where the micros need them."""
    assert text == format_micros(micros, currency)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, MICROS_MAX), st.sampled_from(["USD", "JPY", "KWD"]))
def test_what_is_written_reads_back(micros: int, currency: str) -> None:
    """format and parse are inverse, whatever the currency."""
    assert micros == parse_micros(format_micros(micros, currency))


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(max_size=50), st.floats(), st.integers(), st.decimals(), st.booleans()))
def test_anything_is_an_exact_amount_or_refused(value: Any) -> None:
    """Nothing but MoneyInvalid is raised, and what is read equals what was written."""
    try:
        micros = parse_micros(value)
    except MoneyInvalid:
        return

    assert Decimal(str(value)) * MICROS == micros


def test_a_long_text_is_not_kept() -> None:
    """A buyer who sends 64 KiB for a price fills no memory with them."""
    held = money._plain_micros.cache_info().currsize
    for number in range(20):
        with pytest.raises(MoneyInvalid):
            parse_micros(f"{number}." + "0" * 60_000)

    assert held == money._plain_micros.cache_info().currsize
