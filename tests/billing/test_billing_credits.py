"""A credit note goes back to the newest work first and never takes more than was billed."""

from datetime import date, timedelta

import polars as pl
import pytest
from frames_for_tests import eur
from hypothesis import given
from hypothesis import strategies as st

from trueup.billing.credits import attribute_credit
from trueup.billing.frames import ALLOCATIONS

DAY = date(2026, 8, 3)


def allocations(*rows: tuple[str, int, int, int, int]) -> pl.DataFrame:
    """charge, day offset, source order, minutes, amount in units."""
    return pl.DataFrame(
        [
            {
                "charge": charge, "fact": charge.split("/")[0], "service_on": DAY + timedelta(days=offset),
                "source_order": order, "minutes": minutes, "amount": amount,
            }
            for charge, offset, order, minutes, amount in rows
        ],
        schema={name: column.dtype for name, column in ALLOCATIONS.columns.items()},
    )  # fmt: skip


FORTY_HOURS = allocations(*[(f"tim_{n}/1/0-480", n, n, 480, eur("1600")) for n in range(5)])


def splits(frame: pl.DataFrame) -> list[tuple[str, int, int]]:
    return frame.select("charge", "minutes", "amount").rows()


def test_four_hours_come_off_the_newest_entry_at_its_rate() -> None:
    found = attribute_credit(FORTY_HOURS, "EUR", minutes=240)
    assert splits(found.splits) == [("tim_4/1/0-480", 240, eur("800"))]
    assert (found.excess_minutes, found.excess_amount) == (0, 0)


def test_hours_beyond_the_newest_entry_come_off_the_one_before() -> None:
    found = attribute_credit(FORTY_HOURS, "EUR", minutes=600, amount=eur("2000"))
    assert splits(found.splits) == [("tim_4/1/0-480", 480, eur("1600")), ("tim_3/1/0-480", 120, eur("400"))]


def test_on_one_day_the_highest_source_order_goes_first() -> None:
    same_day = allocations(("tim_a", 0, 7, 60, eur("100")), ("tim_b", 0, 9, 60, eur("100")))
    assert splits(attribute_credit(same_day, "EUR", minutes=30).splits) == [("tim_b", 30, eur("50"))]


def test_a_credit_by_amount_takes_minutes_in_proportion() -> None:
    found = attribute_credit(FORTY_HOURS, "EUR", amount=eur("2400"))
    assert splits(found.splits) == [("tim_4/1/0-480", 480, eur("1600")), ("tim_3/1/0-480", 240, eur("800"))]


def test_a_lower_price_than_billed_is_shared_over_the_credited_minutes() -> None:
    found = attribute_credit(FORTY_HOURS, "EUR", minutes=720, amount=eur("1000"))
    assert splits(found.splits) == [("tim_4/1/0-480", 480, eur("666.67")), ("tim_3/1/0-480", 240, eur("333.33"))]


def test_a_credit_above_what_was_billed_is_named_and_not_attributed() -> None:
    by_time = attribute_credit(FORTY_HOURS, "EUR", minutes=2500, amount=eur("9000"))
    by_amount = attribute_credit(FORTY_HOURS, "EUR", amount=eur("8100"))
    assert (by_time.excess_minutes, by_time.excess_amount) == (100, eur("1000"))
    assert by_time.splits["amount"].sum() == eur("8000")
    assert (by_amount.excess_amount, by_amount.splits["amount"].sum()) == (eur("100"), eur("8000"))


def test_what_a_note_says_beyond_its_hours_comes_off_the_rest_of_the_line_while_it_holds_any() -> None:
    line = allocations(("tim_a", 0, 1, 24, eur("56.83")), ("tim_b", 1, 2, 2, eur("4.73")))
    found = attribute_credit(line, "EUR", minutes=2, amount=eur("4.74"))
    assert splits(found.splits) == [("tim_b", 2, eur("4.73")), ("tim_a", 0, eur("0.01"))]
    assert found.excess_amount == 0
    part = attribute_credit(line, "EUR", minutes=1, amount=eur("2.38"))
    assert (splits(part.splits), part.excess_amount) == ([("tim_b", 1, eur("2.38"))], 0)
    nothing_left = attribute_credit(line, "EUR", minutes=26, amount=eur("61.57"))
    assert nothing_left.excess_amount == eur("0.01")


def test_a_credit_of_nothing_in_particular_is_refused() -> None:
    with pytest.raises(ValueError, match="minutes or an amount"):
        attribute_credit(FORTY_HOURS, "EUR")


billed = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 600), st.integers(0, 10**6)), min_size=1, max_size=8)


@given(billed, st.integers(1, 5000), st.integers(1, 10**7))
def test_credits_add_up_and_never_exceed_what_was_billed(
    rows: list[tuple[int, int, int]], minutes: int, cents: int
) -> None:
    line = allocations(
        *[(f"c{n}", offset, n, worked, value * 10_000) for n, (offset, worked, value) in enumerate(rows)]
    )
    for found, asked in (
        (attribute_credit(line, "EUR", minutes=minutes), None),
        (attribute_credit(line, "EUR", amount=cents * 10_000), cents * 10_000),
        (attribute_credit(line, "EUR", minutes=minutes, amount=cents * 10_000), cents * 10_000),
    ):
        joined = found.splits.join(line, on="charge", suffix="_billed")
        assert joined.height == found.splits.height
        assert joined.select((pl.col("amount") <= pl.col("amount_billed")).all()).item()
        assert joined.select((pl.col("minutes") <= pl.col("minutes_billed")).all()).item()
        if asked is not None:
            assert found.splits["amount"].sum() + found.excess_amount == asked
