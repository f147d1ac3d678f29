"""A day pays by its place and date, less meals, never below the incidentals, in both engines."""

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
from frames_for_tests import eur
from hypothesis import given, settings
from hypothesis import strategies as st

from trueup.billing import per_diem
from trueup.billing.frames import Shape
from trueup.billing.reference import per_diem as plain
from trueup.kernel.money import to_units

few = settings(deadline=None, max_examples=25)
START = date(2026, 1, 1)
days = st.integers(0, 60).map(lambda offset: START + timedelta(days=offset))
PLACES = [("US", None), ("US", "Boston"), ("US", "Austin"), ("DE", None), ("FR", None)]
amounts = st.integers(0, 20_000).map(lambda cents: Decimal(cents) / 100)


def frame(shape: Shape, *rows: tuple[Any, ...]) -> pl.DataFrame:
    schema = {name: column.dtype for name, column in shape.columns.items()}
    return pl.DataFrame(list(rows), schema=schema, orient="row")


def units(amount: Decimal) -> int:
    return to_units(amount, "EUR")


def table(rates: list[plain.Rate]) -> pl.DataFrame:
    return frame(
        per_diem.PER_DIEM_RATES,
        *(
            (r.country, r.place, r.valid_from, r.currency, units(r.full_day), int(r.edge_share * 1_000_000),
             units(r.breakfast), units(r.lunch), units(r.dinner), units(r.incidentals))
            for r in rates
        ),
    )  # fmt: skip


@st.composite
def rate_tables(draw: st.DrawFn) -> list[plain.Rate]:
    keys = draw(st.lists(st.tuples(st.sampled_from(PLACES[:4]), days), max_size=6, unique=True))
    return [
        plain.Rate(
            country, place, on, "EUR", draw(amounts), Decimal(draw(st.sampled_from([500, 750, 1000]))) / 1000,
            *(draw(amounts) / 5 // Decimal("0.01") * Decimal("0.01") for _ in range(4)),
        )
        for (country, place), on in keys
    ]  # fmt: skip


travel = st.tuples(
    st.sampled_from(PLACES), days, st.booleans(), st.tuples(st.booleans(), st.booleans(), st.booleans()),
    st.sampled_from(["as_paid", "fixed_daily", "nothing"]), amounts,
)  # fmt: skip


@few
@given(rate_tables(), st.lists(travel, max_size=6))
def test_allowances_are_the_same_in_both_engines(rates: list[plain.Rate], journeys: list[Any]) -> None:
    rows = [
        (f"d{n}", country, place, on, edge, *meals, rule, units(fixed))
        for n, ((country, place), on, edge, meals, rule, fixed) in enumerate(journeys)
    ]
    found = per_diem.allowances(frame(per_diem.TRAVEL_DAYS, *rows), table(rates))
    expected = []
    for n, ((country, place), on, edge, meals, rule, fixed) in enumerate(journeys):
        rate = plain.rate_of(rates, country, place, on)
        paid = plain.paid(rate, edge, meals) if rate else None
        billed = plain.billed(paid, rule, fixed)
        expected.append(
            (f"d{n}", *(None if a is None else units(a) for a in (paid, billed)), None if rate else "RATE_MISSING")
        )
    assert found.select("gid", "paid", "billed", "hold_code").rows() == expected


def test_a_place_goes_before_its_country_and_meals_never_below_the_incidentals() -> None:
    def rate(place: str | None, full: int, on: date = START) -> plain.Rate:
        zero = Decimal(0)
        return plain.Rate(
            "US", place, on, "EUR", Decimal(full), Decimal("0.75"), Decimal(40), Decimal(30), zero, Decimal(5)
        )

    rates = [rate(None, 60), rate("Boston", 80), rate("Boston", 90, START + timedelta(days=10))]
    rows = [
        ("a", "US", "Boston", START, False, False, False, False, "as_paid", None),
        ("b", "US", "Boston", START + timedelta(days=10), True, False, False, False, "as_paid", None),
        ("c", "US", "Austin", START, False, True, True, False, "as_paid", None),
        ("d", "US", "Boston", START - timedelta(days=1), False, False, False, False, "as_paid", None),
    ]
    found = per_diem.allowances(frame(per_diem.TRAVEL_DAYS, *rows), table(rates))
    assert found["paid"].to_list() == [eur("80"), eur("67.50"), eur("5"), None]


@few
@given(amounts, st.lists(st.integers(0, 100), min_size=3, max_size=3))
def test_cuts_in_percent_are_the_same_in_both_engines(full: Decimal, percents: list[int]) -> None:
    seen = per_diem.percent_cuts(pl.DataFrame({"full_day": [units(full)]}), *(p * 10_000 for p in percents))
    expected = plain.percent_cuts(full, [Decimal(p) for p in percents], "EUR")
    assert seen.select("breakfast", "lunch", "dinner").row(0) == tuple(units(cut) for cut in expected)
