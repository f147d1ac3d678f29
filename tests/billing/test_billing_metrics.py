"""The figures on the pages, against published examples, each with its definition."""

from datetime import date
from decimal import Decimal

import polars as pl
import pytest
from frames_for_tests import eur
from hypothesis import given, settings
from hypothesis import strategies as st

from trueup.billing.frames import (
    BACKLOG_LINES,
    BILLED_MONTHS,
    CAPACITY,
    CONTRACT_POSITIONS,
    CYCLE_DAYS,
    HELD_NOW,
    MARGINS,
    RECEIVABLES,
    UNBILLED_WORK,
    Shape,
)
from trueup.billing.metrics import (
    METRICS,
    available_minutes,
    backlog,
    book_totals,
    count_back,
    cycle,
    hold_ages,
    leakage,
    margins,
    receivables,
    tenths,
)
from trueup.billing.reference import metrics as plain
from trueup.kernel.money import from_units

AUGUST, OCTOBER = date(2026, 8, 1), date(2026, 10, 31)


def rows(shape: Shape, *given: dict[str, object]) -> pl.DataFrame:
    schema = {name: column.dtype for name, column in shape.columns.items()}
    return pl.DataFrame(given, schema=schema)


def test_every_figure_has_a_definition_a_formula_and_a_version() -> None:
    for metric in METRICS.values():
        assert metric.definition.endswith(".")
        assert metric.formula
        assert metric.numerator
        assert metric.owner
        assert metric.drill.startswith("/")
        assert metric.version >= 1


@pytest.mark.parametrize(
    ("hired", "left", "weekdays"),
    [
        (date(2024, 1, 1), None, 65),
        (date(2024, 1, 1), date(2026, 9, 15), 32),
        (date(2026, 10, 30), None, 1),
        (date(2026, 10, 31), None, 0),
        (date(2026, 11, 2), None, 0),
        (date(2024, 1, 1), date(2026, 7, 31), 0),
    ],
)
def test_available_time_is_the_weekdays_somebody_was_employed(hired: date, left: date | None, weekdays: int) -> None:
    person = {"resource": "res_1", "weekly_minutes": 24 * 60, "hired_on": hired, "terminated_on": left}
    assert available_minutes(rows(CAPACITY, person), AUGUST, OCTOBER) == weekdays * Decimal(24 * 60) / 5


def test_nobody_is_available_in_an_empty_firm() -> None:
    assert available_minutes(CAPACITY.empty(), AUGUST, OCTOBER) == 0


def test_backlog_counts_what_is_ahead_on_active_contracts_per_currency() -> None:
    line = {"currency": "EUR", "amount": eur("100"), "recognised": eur("30"), "contract_active": True}
    lines = rows(
        BACKLOG_LINES, line, {**line, "recognised": eur("130")}, {**line, "contract_active": False},
        {**line, "currency": "USD"},
    )  # fmt: skip
    assert backlog(lines).rows() == [("EUR", eur("70")), ("USD", eur("70"))]


def test_margin_is_weighted_by_revenue_and_empty_without_it() -> None:
    project = {
        "project": "prj_1", "contract": "con_1", "legal_entity": "DE01", "currency": "EUR",
        "recognised": eur("1000"), "labour": eur("400"), "expenses": eur("150"), "margin": eur("450"),
    }  # fmt: skip
    loss = {**project, "recognised": eur("500"), "margin": eur("-100")}
    idle = {**project, "currency": "USD", "recognised": 0, "margin": eur("-5")}
    assert margins(rows(MARGINS, project, loss, idle)) == {"EUR": Decimal("23.3"), "USD": None}


def test_books_and_receivables_are_added_up_per_entity_and_currency() -> None:
    amounts = {name: 0 for name in CONTRACT_POSITIONS.columns if name.endswith("_delta")}
    one = {
        "contract": "con_1", "legal_entity": "DE01", "currency": "EUR", "recognised": eur("100"), "billed": eur("70"),
        "unbilled": eur("30"), "asset": 0, "deferred": 0, "provision": 0, **amounts,
    }  # fmt: skip
    two = {**one, "contract": "con_2", "billed": eur("120"), "unbilled": 0, "deferred": eur("20")}
    assert book_totals(rows(CONTRACT_POSITIONS, one, two)).rows() == [
        ("DE01", "EUR", eur("190"), eur("200"), eur("30"), eur("20"))
    ]
    owed = {"legal_entity": "DE01", "currency": "EUR", "balance": eur("50")}
    assert receivables(rows(RECEIVABLES, owed, owed)).rows() == [("DE01", "EUR", eur("100"))]


units = st.integers(-(10**9), 10**9)


@settings(deadline=None, max_examples=60)
@given(units, units, st.integers(1, 1000))
def test_both_engines_round_a_ratio_alike(top: int, below: int, factor: int) -> None:
    fast = pl.select(tenths(pl.lit(top), pl.lit(below), factor)).item()
    slow = plain.ratio(Decimal(top), Decimal(below), factor)
    assert (None if fast is None else Decimal(fast).scaleb(-1)) == slow


@settings(deadline=None, max_examples=60)
@given(units, st.lists(st.tuples(st.integers(28, 31), units), min_size=1, max_size=12))
def test_both_engines_count_back_alike(owed: int, months: list[tuple[int, int]]) -> None:
    newest_first = [
        {"legal_entity": "DE01", "currency": "EUR", "month": f"2026-{12 - at:02d}", "days": days, "billed": billed,
         "owed": owed}
        for at, (days, billed) in enumerate(months)
    ]  # fmt: skip
    fast = count_back(rows(BILLED_MONTHS, *newest_first))["dso_count_back"].item()
    slow = plain.count_back(from_units(owed, "EUR"), [(days, from_units(billed, "EUR")) for days, billed in months])
    assert (None if fast is None else Decimal(fast).scaleb(-1)) == slow


def test_only_what_is_old_leaks() -> None:
    work = {"legal_entity": "DE01", "currency": "EUR", "value": eur("100")}
    shown = rows(UNBILLED_WORK, {**work, "since": date(2026, 9, 1)}, {**work, "since": date(2026, 10, 1)})
    assert leakage(shown, OCTOBER).rows() == [("DE01", "EUR", eur("100"))]
    assert leakage(shown, date(2026, 9, 30)).rows() == [("DE01", "EUR", 0)]


def test_holds_have_a_count_a_value_and_a_median_age_per_code() -> None:
    hold = {"code": "RATE_MISSING", "currency": "EUR", "value": eur("10")}
    held = rows(HELD_NOW, *({**hold, "opened_on": date(2026, 10, day)} for day in (1, 21, 30, 31)))
    assert hold_ages(held, OCTOBER).rows() == [("RATE_MISSING", "EUR", 4, eur("40"), 55)]


def test_an_invoice_s_cycle_has_a_median_and_nine_in_ten() -> None:
    days = rows(CYCLE_DAYS, *({"stage": "total", "days": day} for day in range(1, 11)))
    assert cycle(days).rows() == [("total", 55, 90)]
