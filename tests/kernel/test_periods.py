"""Months: every day lies in exactly one."""

import doctest
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trueup.kernel import periods
from trueup.kernel.periods import first_day, last_day, month_of, next_month, previous_month

DAYS = st.dates(date(1, 3, 1), date(9999, 10, 31))


def test_the_examples_in_the_manual_hold():
    assert doctest.testmod(periods).failed == 0


@given(DAYS)
def test_every_day_lies_in_exactly_one_month(day):
    month = month_of(day)
    assert first_day(month) <= day <= last_day(month)
    assert last_day(month) + timedelta(days=1) == first_day(next_month(month))
    assert first_day(month) - timedelta(days=1) == last_day(previous_month(month))


@given(DAYS)
def test_the_month_after_the_month_before_is_the_month(day):
    month = month_of(day)
    assert next_month(previous_month(month)) == month == previous_month(next_month(month))


@pytest.mark.parametrize(("month", "last"), [("2024-02", 29), ("2026-02", 28), ("2100-02", 28), ("2026-12", 31)])
def test_february_knows_leap_years(month, last):
    assert last_day(month).day == last


@pytest.mark.parametrize(
    "text",
    ["", "2026", "2026-8", "2026-00", "2026-13", "2026-08-01", "26-08", "2026-08\n", " 2026-08", "٢٠٢٦-08", "0000-01"],
)
def test_what_is_no_month_is_refused(text):
    with pytest.raises(ValueError):
        first_day(text)
