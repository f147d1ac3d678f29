"""Nexus: presence or sales make a seller liable in a state, and both engines see it alike."""

from datetime import date, timedelta
from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trueup.billing.nexus import SALES, track
from trueup.billing.reference.nexus import reason
from trueup.kernel.money import to_units

ON = date(2026, 8, 31)


def frame(*sales: tuple[str, date, Decimal]) -> pl.DataFrame:
    rows = [(state, day, to_units(net, "USD")) for state, day, net in sales]
    return pl.DataFrame(rows, schema=SALES, orient="row")


@pytest.mark.parametrize(
    ("sale", "presence", "found"),
    [
        (("FL", date(2026, 3, 1), Decimal("100000.00")), set(), "sales"),
        (("FL", date(2026, 3, 1), Decimal("99999.99")), set(), ""),
        (("FL", date(2025, 1, 1), Decimal("100000.00")), set(), "sales"),
        (("FL", date(2024, 12, 31), Decimal("100000.00")), set(), ""),
        (("FL", date(2026, 9, 1), Decimal("100000.00")), set(), ""),
        (("TX", date(2025, 8, 31), Decimal("500000.00")), set(), ""),
        (("TX", date(2025, 9, 1), Decimal("500000.00")), set(), "sales"),
        (("NY", date(2026, 1, 1), Decimal("900000.00")), set(), ""),
        (("NY", date(2026, 1, 1), Decimal("1.00")), {"NY"}, "presence"),
        (("OR", date(2026, 1, 1), Decimal("900000.00")), {"OR"}, ""),
    ],
)
def test_presence_or_enough_sales_in_the_window_make_liable(sale, presence, found) -> None:
    row = track(frame(sale), presence, ON).row(0, named=True)
    assert (row["reason"], row["nexus"]) == (found, bool(found))
    assert reason(sale[0], [sale], presence, ON) == found


SALE = st.tuples(
    st.sampled_from(["FL", "TX", "NY", "GA", "CT", "OR"]),
    st.integers(0, 1000).map(lambda n: ON + timedelta(days=20 - n)),
    st.integers(-400_000, 600_000).map(Decimal),
)


@given(st.lists(SALE, max_size=8), st.sets(st.sampled_from(["FL", "OR", "WV"])))
def test_both_engines_see_the_same_states(sales, presence) -> None:
    for row in track(frame(*sales), presence, ON).iter_rows(named=True):
        assert row["reason"] == reason(row["state"], sales, presence, ON)
