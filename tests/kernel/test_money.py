"""Exact money: parts make the whole, units hold every digit, rounding goes half away from zero."""

import doctest
from decimal import ROUND_HALF_UP, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trueup.kernel import money
from trueup.kernel.money import from_units, known_currency, minor_digits, round_money, round_units, split, to_units

CURRENCIES = st.sampled_from(["EUR", "USD", "GBP", "JPY", "KWD", "CLF"])
LARGE = 10**12


@st.composite
def amounts(draw, digits=None):
    """An amount with its currency; digits below the minor unit as given, else whole minor units."""
    currency = draw(CURRENCIES)
    below = draw(st.integers(0, 4)) if digits is None else digits
    places = minor_digits(currency) + below
    number = draw(st.integers(-LARGE * 10**places, LARGE * 10**places))
    return Decimal(number).scaleb(-places), currency


def test_the_examples_in_the_manual_hold():
    assert doctest.testmod(money).failed == 0


@pytest.mark.parametrize(
    ("digits", "codes"),
    [
        (0, "CLP ISK JPY KRW PYG UGX UYI VND XAF XOF"),
        (2, "AUD CAD CHF CNY COP CZK EUR GBP HUF IDR INR MXN NOK PLN USD ZAR"),
        (2, "AFN ALL IRR KPW LAK LBP MGA MMK RSD SOS SYP YER"),
        (3, "BHD IQD JOD KWD LYD OMR TND"),
        (4, "CLF UYW"),
    ],
)
def test_minor_units_are_those_of_iso_4217_also_where_tills_use_fewer(digits, codes):
    assert {code: minor_digits(code) for code in codes.split()} == dict.fromkeys(codes.split(), digits)


# The standard lists XXX for `no currency is involved` and XTS for tests: codes of ISO 4217, and no money.
@pytest.mark.parametrize("code", ["EURO", "eur", "", "USDT", "€", "XXX", "XTS", "EU R"])
def test_what_is_no_currency_is_not_known(code):
    assert not known_currency(code)


@pytest.mark.parametrize("code", ["EUR", "USD", "GBP", "JPY", "KWD", "CLF"])
def test_currencies_are_known(code):
    assert known_currency(code)


@pytest.mark.parametrize(
    ("amount", "currency", "rounded"),
    [
        ("0.005", "EUR", "0.01"),
        ("-0.005", "EUR", "-0.01"),
        ("2.675", "EUR", "2.68"),
        ("1.5", "JPY", "2"),
        ("-2.5", "JPY", "-3"),
        ("0.0005", "KWD", "0.001"),
        ("0.00005", "CLF", "0.0001"),
        ("0.004999999999", "EUR", "0.00"),
    ],
)
def test_a_half_rounds_away_from_zero(amount, currency, rounded):
    assert str(round_money(Decimal(amount), currency)) == rounded


@given(amounts())
def test_a_credit_mirrors_its_invoice(pair):
    amount, currency = pair
    assert round_money(-amount, currency) == -round_money(amount, currency)


@given(amounts())
def test_units_hold_every_digit(pair):
    amount, currency = pair
    assert from_units(to_units(amount, currency), currency) == amount


@given(st.integers(-(10**18), 10**18), CURRENCIES)
def test_units_come_back_from_major_units(units, currency):
    assert to_units(from_units(units, currency), currency) == units


@given(st.integers(-(10**14), 10**14), CURRENCIES)
def test_whole_minor_units_are_shown_with_the_digits_of_the_currency(whole, currency):
    shown = from_units(whole * 10**money.UNIT_DIGITS, currency)
    assert -shown.as_tuple().exponent == minor_digits(currency)


@pytest.mark.parametrize(
    ("amount", "currency"),
    [
        ("0.0000001", "EUR"),
        ("0.1000000000000000000000000000000001", "EUR"),
        ("123456789012.1234567", "EUR"),
        ("0.00001", "JPY"),
        ("NaN", "EUR"),
    ],
)
def test_more_digits_than_units_can_hold_are_refused_not_rounded(amount, currency):
    with pytest.raises(ValueError):
        to_units(Decimal(amount), currency)


@given(amounts(digits=0), st.lists(st.integers(0, 1000), min_size=1, max_size=30).filter(any))
def test_the_parts_make_the_whole_to_the_minor_unit(pair, weights):
    total, currency = pair
    parts = split(total, weights, currency)
    assert sum(parts) == total
    assert len(parts) == len(weights)


@given(
    st.integers(-(10**9), 10**9),
    st.lists(st.integers(0, 1000), min_size=1, max_size=30).filter(any),
)
def test_no_part_is_a_minor_unit_away_from_its_exact_share(cents, weights):
    total = Decimal(cents).scaleb(-2)
    for part, weight in zip(split(total, weights, "EUR"), weights, strict=True):
        assert abs(part - total * weight / sum(weights)) < Decimal("0.01")
        if weight == 0:
            assert part == 0


def test_a_tie_goes_to_the_first():
    assert split(Decimal("0.01"), [1, 1], "EUR") == [Decimal("0.01"), Decimal("0.00")]
    assert split(Decimal("-0.01"), [1, 1], "EUR") == [Decimal("-0.01"), Decimal("0.00")]


@pytest.mark.parametrize("weights", [[], [0], [0, 0], [-1]])
def test_nothing_can_be_shared_out_by_no_weight(weights):
    with pytest.raises(ValueError, match="more than zero"):
        split(Decimal("10.00"), weights, "EUR")


@given(st.integers(-(10**15), 10**15), st.integers(1, 100_000), CURRENCIES)
def test_rounding_units_is_rounding_money(numerator, denominator, currency):
    exact = Decimal(numerator) / Decimal(denominator * 10**money.UNIT_DIGITS)
    wanted = int(exact.quantize(Decimal(1), ROUND_HALF_UP)) * 10**money.UNIT_DIGITS
    assert round_units(numerator, denominator, currency) == wanted
