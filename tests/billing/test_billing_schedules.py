"""What is billed by the calendar or by progress adds up, tiles, and is the same in both engines."""

import doctest
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import polars as pl
import pytest
from frames_for_tests import eur, in_eur
from hypothesis import given, settings
from hypothesis import strategies as st

from trueup.billing import schedules
from trueup.billing.frames import Shape
from trueup.billing.reference import schedules as plain
from trueup.kernel.money import from_units, to_units

few = settings(deadline=None, max_examples=25)
START = date(2026, 1, 1)
days = st.integers(0, 500).map(lambda offset: START + timedelta(days=offset))
amounts = st.integers(0, 50_000_000).map(lambda cents: Decimal(cents) / 100)
RULES = ["actual_days", "thirty_360", "whole_month", "none"]


def frame(shape: Shape, *rows: tuple[Any, ...]) -> pl.DataFrame:
    schema = {name: column.dtype for name, column in shape.columns.items()}
    return pl.DataFrame(list(rows), schema=schema, orient="row")


def money(amounts: pl.Series) -> list[Decimal]:
    return [from_units(amount, "EUR") for amount in amounts]


def units(amount: Decimal) -> int:
    return to_units(amount, "EUR")


@st.composite
def services(draw: st.DrawFn) -> dict[str, Any]:
    starts = draw(days)
    later = draw(st.lists(st.integers(1, 400), max_size=2, unique=True))
    prices = [(starts - timedelta(days=draw(st.integers(0, 3))), draw(amounts))]
    prices += [(starts + timedelta(days=offset), draw(amounts)) for offset in sorted(later)]
    return {
        "starts_on": starts,
        "ends_on": draw(st.none() | st.integers(0, 400).map(lambda length: starts + timedelta(days=length))),
        "prices": prices,
        "upto": starts + timedelta(days=draw(st.integers(-5, 420))),
        "every_months": draw(st.sampled_from([1, 1, 3, 12])),
        "anchor_day": draw(st.sampled_from([1, 15, 29, 30, 31])),
        "in_advance": draw(st.booleans()),
        "lead_days": draw(st.sampled_from([0, 0, 10, 45])),
        "rule": draw(st.sampled_from(RULES)),
    }


def fast(one: dict[str, Any], line: str = "L1") -> pl.DataFrame:
    terms = frame(
        schedules.SERVICE_TERMS,
        (line, one["starts_on"], one["ends_on"], one["every_months"], one["anchor_day"], one["in_advance"],
         one["lead_days"], one["rule"]),
    )  # fmt: skip
    prices = frame(schedules.SERVICE_PRICES, *((line, on, units(price)) for on, price in one["prices"]))
    return schedules.service_segments(terms, prices, one["upto"])


def slow(one: dict[str, Any]) -> list[plain.Segment]:
    given = dict(one)
    return plain.service_segments(
        given.pop("starts_on"), given.pop("ends_on"), given.pop("prices"), "EUR", given.pop("upto"), **given
    )


def monthly(**more: Any) -> dict[str, Any]:
    return {
        "starts_on": START, "ends_on": None, "prices": [(START, Decimal(3000))], "upto": date(2026, 6, 30),
        "every_months": 1, "anchor_day": 1, "in_advance": False, "lead_days": 0, "rule": "actual_days", **more,
    }  # fmt: skip


@few
@given(services())
def test_periods_of_service_are_the_same_in_both_engines(one: dict[str, Any]) -> None:
    seen = fast(one).select("period_from", "due_on", "from_on", "to_on", "price", "amount").rows()
    expected = [
        (part.period_from, part.due_on, part.from_on, part.to_on, units(part.price), units(part.amount))
        for part in slow(one)
    ]
    assert seen == expected


@few
@given(services())
def test_periods_tile_the_days_of_service_without_a_gap(one: dict[str, Any]) -> None:
    one = {
        **one,
        "rule": "actual_days",
        "in_advance": False,
        "ends_on": one["ends_on"] or max(one["upto"], one["starts_on"]),
    }
    one["upto"] = max(one["upto"], one["ends_on"])
    parts = fast(one)
    assert parts["from_on"][0] == one["starts_on"]
    assert parts["to_on"][-1] == one["ends_on"]
    for ends, starts in zip(parts["to_on"], parts["from_on"][1:], strict=False):
        assert starts == ends + timedelta(days=1)


@few
@given(services(), services())
def test_what_was_billed_in_advance_with_its_differences_is_what_is_right(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    before, after = fast(one), fast({**one, "prices": [one["prices"][0], *other["prices"][1:]]})
    moved = schedules.differences(before, after)
    assert before["amount"].sum() + moved["amount"].sum() == after["amount"].sum()
    assert sorted(money(moved["amount"])) == sorted(
        amount for _, amount in plain.differences(slow(one), slow({**one, "prices": [one["prices"][0], *other["prices"][1:]]}))
    )  # fmt: skip


def test_an_anchor_on_the_last_day_counts_the_period_that_really_contains_the_part() -> None:
    parts = fast(monthly(starts_on=date(2026, 2, 14), anchor_day=31, upto=date(2026, 3, 31)))
    assert parts.select("from_on", "to_on", "part", "whole").rows() == [
        (date(2026, 2, 14), date(2026, 2, 27), 14, 28),
        (date(2026, 2, 28), date(2026, 3, 30), 31, 31),
    ]
    assert in_eur(parts["amount"][0]) == "1500.00"


def test_a_stub_follows_its_rule() -> None:
    first = {
        rule: fast(monthly(starts_on=date(2026, 1, 12), upto=date(2026, 2, 28), rule=rule))["amount"].to_list()
        for rule in RULES
    }
    assert first == {
        "actual_days": [eur("1935.48"), eur("3000")],
        "thirty_360": [eur("1900"), eur("3000")],
        "whole_month": [eur("3000"), eur("3000")],
        "none": [eur("3000")],
    }


def test_in_advance_a_period_is_due_before_it_begins_and_a_new_price_credits_and_charges() -> None:
    advance = monthly(in_advance=True, lead_days=1, starts_on=date(2026, 3, 1), upto=date(2026, 3, 31))
    assert fast(advance)["due_on"].to_list() == [date(2026, 2, 28), date(2026, 3, 31)]
    dearer = {**advance, "prices": [(START, Decimal(3000)), (date(2026, 3, 16), Decimal(4500))]}
    march = schedules.differences(fast(advance).head(1), fast(dearer).head(2))
    assert march["amount"].to_list() == [eur("-1548.39"), eur("2322.58")]


def test_service_without_a_price_on_its_first_day_is_refused() -> None:
    with pytest.raises(ValueError, match="L1"):
        fast(monthly(prices=[(date(2026, 2, 1), Decimal(1))]))


@few
@given(st.lists(st.tuples(amounts, st.integers(1, 40)), min_size=1, max_size=4))
def test_instalments_are_the_same_in_both_engines_and_add_up(lines: list[tuple[Decimal, int]]) -> None:
    rows = [(f"L{n}", units(total), count) for n, (total, count) in enumerate(lines)]
    parts = schedules.instalments(frame(schedules.INSTALMENT_LINES, *rows))
    for n, (total, count) in enumerate(lines):
        seen = money(parts.filter(pl.col("contract_line") == f"L{n}")["amount"])
        assert seen == plain.instalments(total, count, "EUR")
        assert sum(seen) == total


@few
@given(st.lists(st.tuples(amounts, st.integers(0, 30), st.integers(30, 40)), min_size=1, max_size=6), st.booleans())
def test_percent_complete_is_the_same_in_both_engines_and_never_bills_too_much(
    steps: list[tuple[Decimal, int, int]], at_once: bool
) -> None:
    rows = [("L1", n, units(fee), done, of) for n, (fee, done, of) in enumerate(steps)]
    bills = schedules.percent_complete(frame(schedules.PROGRESS_STATEMENTS, *rows), credit_at_once=at_once)
    shares = [(fee, Fraction(done, of)) for fee, done, of in steps]
    assert money(bills["amount"]) == plain.percent_complete(shares, "EUR", credit_at_once=at_once)
    assert bills["amount"].sum() + bills["carried"][-1] == bills["target"][-1]
    if not at_once:
        assert bills["amount"].min() >= 0


def test_progress_that_falls_is_carried_until_it_is_outweighed() -> None:
    rows = [("L1", n, eur("80000"), done, 100) for n, done in enumerate([60, 50, 55, 100])]
    bills = schedules.percent_complete(frame(schedules.PROGRESS_STATEMENTS, *rows))
    assert [in_eur(amount) for amount in bills["amount"]] == ["48000.00", "0.00", "0.00", "32000.00"]
    assert [in_eur(amount) for amount in bills["carried"]] == ["0.00", "-8000.00", "-4000.00", "0.00"]


@few
@given(amounts, st.lists(st.integers(1, 400), min_size=1, max_size=6), st.integers(0, 1000))
def test_milestones_in_percent_are_the_same_in_both_engines_and_add_up(
    fee: Decimal, weights: list[int], retention: int
) -> None:
    ppm = [weight * 1_000_000 // sum(weights) for weight in weights]
    ppm[0] += 1_000_000 - sum(ppm)
    rows = [("L1", n, units(fee), share, retention * 100, None) for n, share in enumerate(ppm)]
    seen = schedules.milestone_amounts(frame(schedules.PERCENT_MILESTONES, *rows), START)
    expected = plain.milestone_amounts(fee, [Decimal(share) / 10_000 for share in ppm], "EUR")
    assert money(seen["amount"]) == expected
    assert sum(expected) == fee
    kept = [plain.retained(amount, Decimal(retention) / 100, "EUR") for amount in expected]
    assert money(seen["retained"]) == kept
    assert (seen["invoiced"] + seen["retained"] == seen["amount"]).all()


def test_what_was_kept_back_is_released_by_the_acceptance_and_not_before() -> None:
    row = ("L1", 1, eur("100"), 1_000_000, 100_000, date(2026, 3, 1))
    by_day = [
        schedules.milestone_amounts(frame(schedules.PERCENT_MILESTONES, row), upto)["released"][0]
        for upto in (date(2026, 2, 28), date(2026, 3, 1))
    ]
    assert by_day == [0, eur("10")]


def test_shares_that_do_not_add_up_are_refused_by_name() -> None:
    rows = frame(schedules.PERCENT_MILESTONES, ("L9", 1, eur("100"), 950_000, 0, None))
    with pytest.raises(ValueError, match="L9 to 95 %"):
        schedules.milestone_amounts(rows, START)


def test_the_examples_of_the_definition_hold() -> None:
    assert doctest.testmod(plain).failed == 0
