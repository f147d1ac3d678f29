"""A retainer's hours: the liability is always what was billed and not earned, in both engines to the cent."""

from decimal import Decimal
from fractions import Fraction
from typing import Any

import polars as pl
import pytest
from frames_for_tests import in_eur
from hypothesis import given, settings
from hypothesis import strategies as st

from trueup.billing import retainers
from trueup.billing.reference import retainers as plain
from trueup.kernel.money import from_units, to_units

few = settings(deadline=None, max_examples=25)


@st.composite
def one_retainer(draw: st.DrawFn) -> list[plain.Month]:
    rolls = draw(st.integers(0, 3))
    first = draw(st.booleans())
    cents = st.integers(0, 1_000_000)
    return [
        plain.Month(
            Decimal(draw(cents)) / 100, draw(st.integers(0, 50)) * 7, draw(st.integers(0, 600)),
            Decimal(draw(st.integers(0, 30_000))) / 100, rolls, draw(st.sampled_from([0, 40, 300, 10_000])), first,
            Fraction(draw(st.sampled_from([0, 0, 50_000, 333_333])), 1_000_000),
        )
        for _ in range(draw(st.integers(1, 6)))
    ]  # fmt: skip


def frame(several: list[list[plain.Month]]) -> pl.DataFrame:
    rows = [
        (
            f"R{n}", number, to_units(one.fee, "EUR"), one.included, to_units(one.overage_rate, "EUR"),
            one.roll_months, one.roll_cap, one.oldest_first, int(one.expected_breakage * 1_000_000), one.used,
        )
        for n, months in enumerate(several)
        for number, one in enumerate(months, 1)
    ]  # fmt: skip
    schema = {name: column.dtype for name, column in retainers.RETAINER_MONTHS.columns.items()}
    return pl.DataFrame(rows, schema=schema, orient="row")


def rows_of(table: pl.DataFrame, retainer: str) -> list[plain.Row]:
    money = ("billed", "recognised", "liability")
    return [
        plain.Row(**{k: from_units(v, "EUR") if k in money else v for k, v in row.items()})
        for row in table.filter(pl.col("retainer") == retainer).drop("retainer", "month").iter_rows(named=True)
    ]


@few
@given(st.lists(one_retainer(), min_size=1, max_size=3))
def test_many_retainers_at_once_are_the_same_as_each_alone(several: list[list[plain.Month]]) -> None:
    table = retainers.retainer_table(frame(several))
    for n, months in enumerate(several):
        assert rows_of(table, f"R{n}") == plain.retainer_table(months, "EUR")


@few
@given(one_retainer())
def test_every_minute_and_cent_is_somewhere(months: list[plain.Month]) -> None:
    table = retainers.retainer_table(frame([months]))
    billed, recognised = table["billed"].cum_sum(), table["recognised"].cum_sum()
    assert (billed - recognised == table["liability"]).all()
    assert table["liability"].min() >= 0
    bought = sum(month.included for month in months)
    covered = (table["used"] - table["overage"]).sum()
    assert bought == covered + table["expired"].sum() + table["rolled"][-1]
    if table["rolled"][-1] == 0:
        assert table["liability"][-1] == 0


def months(**terms: Any) -> list[plain.Month]:
    used = terms.pop("used")
    fixed = {"fee": Decimal(10000), "included": 3000, "overage_rate": Decimal(220), "roll_months": 1, "roll_cap": 1200}
    return [plain.Month(**{**fixed, **terms, "used": one}) for one in used]


def test_what_expires_first_is_used_first_unless_agreed_otherwise() -> None:
    used = [42 * 60, 45 * 60]
    first = retainers.retainer_table(frame([months(used=used)]))
    own_first = retainers.retainer_table(frame([months(used=used, oldest_first=False)]))
    assert first.select("from_roll_over", "expired", "rolled").rows()[1] == (480, 0, 780)
    assert own_first.select("from_roll_over", "expired", "rolled").rows()[1] == (0, 480, 300)


def test_breakage_that_is_expected_is_earned_with_the_use() -> None:
    table = retainers.retainer_table(
        frame([months(used=[1500, 1200], roll_cap=3000, expected_breakage=Fraction(1, 10))])
    )
    assert in_eur(table["recognised"][0]) == "5555.56"  # 1500 of the 2700 minutes that are expected


def test_projects_share_the_cover_in_the_order_of_the_work() -> None:
    table = retainers.retainer_table(frame([months(used=[3300])]))
    entries = [("a", 1, 1500), ("b", 2, 1700), ("a", 3, 100)]
    uses = pl.DataFrame(
        [("R0", 1, *entry) for entry in entries],
        schema=[*retainers.RETAINER_USES.columns], orient="row",
    )  # fmt: skip
    seen = retainers.share_out(uses, table).select("project", "covered", "overage").rows()
    assert seen == [("a", 1500, 100), ("b", 1500, 200)]
    assert {project: (covered, over) for project, covered, over in seen} == plain.share_out(
        [(project, minutes) for project, _, minutes in entries], 3000
    )


def test_months_with_a_gap_are_refused() -> None:
    rows = frame([months(used=[1, 2, 3])]).filter(pl.col("month") != 2)
    with pytest.raises(ValueError, match="R0"):
        retainers.retainer_table(rows)
