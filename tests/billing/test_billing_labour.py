"""Labour checks: the law's examples, and the plain definition against the fast way."""

from dataclasses import asdict
from datetime import date, timedelta
from decimal import Decimal

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from trueup.billing.labour import (
    HOLIDAYS,
    LEAVE,
    PEOPLE,
    TIMES,
    blocking,
    labour_findings,
    paid_minutes_california,
    public_holidays,
    worst_first,
)  # fmt: skip
from trueup.billing.labour_packs import PACKS, Pack
from trueup.billing.reference import labour as plain
from trueup.billing.reference.labour import Person, Time, paid_hours_california

MONDAY = date(2026, 8, 3)
TODAY = MONDAY + timedelta(days=20)


def times(*rows: Time) -> pl.DataFrame:
    return pl.DataFrame([asdict(row) for row in rows], schema={n: c.dtype for n, c in TIMES.columns.items()})


def people(*rows: Person) -> pl.DataFrame:
    return pl.DataFrame([asdict(row) for row in rows], schema={n: c.dtype for n, c in PEOPLE.columns.items()})


def checks(entries: list[Time], person: Person, packs: tuple[Pack, ...] = PACKS) -> list[tuple[str, str]]:
    found = labour_findings(times(*entries), people(person), packs, TODAY)
    return found.select("check", "severity").rows()


def test_more_than_ten_hours_in_germany_stop_the_approval_and_nothing_stops_billing_unasked() -> None:
    found = labour_findings(times(Time("t", "r", MONDAY, 601)), people(Person("r", "DE")), PACKS, TODAY)
    assert found.select("check", "severity", "figure", "limit").rows() == [("DAILY_MAX", "block_approval", 601, 600)]
    assert blocking(found, []) == set()
    assert blocking(found, ["block_payroll"]) == set()
    assert blocking(found, ["block_approval"]) == blocking(found, ["DAILY_MAX"]) == {"t"}


def test_a_week_above_48_hours_is_fine_when_the_average_is_not_above() -> None:
    heavy = [Time(f"t{n}", "r", MONDAY + timedelta(days=n), 590) for n in range(5)]
    assert checks(heavy, Person("r", "DE")) == []
    strict = (Pack("one week", weekly_average=2880, weeks=1),)
    assert checks(heavy, Person("r", "DE"), strict) == [("WEEKLY_AVERAGE", "warn")]


def test_forty_one_hours_are_overtime_in_the_united_states_and_no_breach() -> None:
    week = [Time(f"t{n}", "r", MONDAY + timedelta(days=n), 492) for n in range(5)]
    assert checks(week, Person("r", "US")) == [("OVERTIME_WEEK", "info")]


def test_the_future_and_a_day_before_the_hiring_and_a_locked_period_are_named() -> None:
    person = Person("r", "CH", hired_on=MONDAY + timedelta(days=1), locked_to=MONDAY)
    later = TODAY + timedelta(days=1)
    assert checks([Time("a", "r", MONDAY, 60), Time("b", "r", later, 60)], person) == [
        ("LOCKED_PERIOD", "block_approval"), ("NOT_EMPLOYED", "block_payroll"), ("FUTURE", "block_approval"),
    ]  # fmt: skip


def test_work_on_leave_and_on_a_holiday_is_named_where_the_holiday_is() -> None:
    unity = date(2026, 10, 3)
    off = public_holidays({("DE", None), ("FR", None)}, {2026})
    leave = pl.DataFrame([("r", unity)], schema={n: c.dtype for n, c in LEAVE.columns.items()}, orient="row")
    entries = times(Time("a", "r", unity, 60), Time("b", "s", unity, 60))
    found = labour_findings(
        entries, people(Person("r", "DE"), Person("s", "FR")), PACKS, unity, leave=leave, off=off
    )  # fmt: skip
    assert found.select("resource", "check").rows() == [("r", "HOLIDAY"), ("r", "LEAVE")]
    assert set(off.columns) == set(HOLIDAYS.columns)
    assert worst_first(found)["check"].to_list() == ["LEAVE", "HOLIDAY"]


STARTS = st.none() | st.integers(0, 1300)
ENTRIES = st.lists(
    st.builds(
        lambda n, who, day, minutes, starts, pause: Time(
            f"t{n:03}", who, MONDAY + timedelta(days=day), minutes, starts,
            None if starts is None else starts + minutes + (pause or 0), pause,
        ),
        st.integers(0, 999), st.sampled_from(["r", "s"]), st.integers(0, 22), st.integers(0, 900), STARTS,
        st.none() | st.integers(0, 60),
    ),
    max_size=14, unique_by=lambda one: one.fact,
)  # fmt: skip
FEW = st.builds(
    Pack, st.just("small"), st.just(("DE",)), st.none(), st.just(MONDAY + timedelta(days=2)), st.just(300),
    st.just(400), st.integers(1, 3), st.just(500), st.just(660), st.just(240), st.just(300), st.integers(1, 4),
)  # fmt: skip
DAYS = st.none() | st.integers(0, 22).map(lambda n: MONDAY + timedelta(days=n))
PEOPLE_OF = st.builds(
    lambda a, b, c, region: [Person("r", "DE", None, a, b, c), Person("s", "US", region)],
    DAYS, DAYS, DAYS, st.none() | st.just("CA"),
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(ENTRIES, PEOPLE_OF, FEW)
def test_the_fast_way_finds_what_the_definition_finds(entries: list[Time], who: list[Person], small: Pack) -> None:
    packs = (*PACKS, small)
    fast = labour_findings(times(*entries), people(*who), packs, TODAY)
    assert fast.rows() == plain.labour_findings(entries, who, packs, TODAY)


@given(st.integers(0, 480).map(lambda n: n * 3))
def test_a_day_in_california_is_paid_the_same_both_ways(minutes: int) -> None:
    half = pl.select(paid_minutes_california(pl.lit(minutes))).item()
    assert paid_hours_california(Decimal(minutes) / 60) * 120 == half
