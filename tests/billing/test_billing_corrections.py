"""Credits never take back more than was billed, and credit and rebill are the truth, in both engines."""

from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from frames_for_tests import eur, in_eur
from hypothesis import given, settings
from hypothesis import strategies as st

from trueup.billing import corrections
from trueup.billing.frames import Shape
from trueup.billing.reference import corrections as plain
from trueup.kernel.money import from_units, round_money, to_units

few = settings(deadline=None, max_examples=25)
amounts = st.integers(0, 5_000_000).map(lambda cents: Decimal(cents) / 100)
RATES = {"S": Decimal("0.19"), "AA": Decimal("0.07"), "Z": Decimal(0)}


def frame(shape: Shape, *rows: tuple[Any, ...]) -> pl.DataFrame:
    schema = {name: column.dtype for name, column in shape.columns.items()}
    return pl.DataFrame(list(rows), schema=schema, orient="row")


def units(amount: Decimal) -> int:
    return to_units(amount, "EUR")


def tax_on(lines: list[plain.Line], side: str) -> dict[str, Decimal]:
    """Return the tax of a document with these lines, by category."""
    nets: dict[str, Decimal] = {}
    for line in lines:
        nets[line.category] = nets.get(line.category, Decimal(0)) + getattr(line, side)
    return {category: round_money(net * RATES[category], "EUR") for category, net in nets.items()}


@st.composite
def documents(draw: st.DrawFn) -> list[plain.Line]:
    lines = []
    for number in range(draw(st.integers(1, 5))):
        category = draw(st.sampled_from(sorted(RATES)))
        billed = draw(amounts)
        true = draw(st.sampled_from([billed, Decimal(0)]) | amounts)
        lines.append(plain.Line(str(number), category, RATES[category], billed, true))
    return lines


def planned(lines: list[plain.Line], policy: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    rows = [
        ("I", one.key, one.category, int(one.rate * 1_000_000), units(one.billed), units(one.true), policy)
        for one in lines
    ]
    taxes = [("I", category, units(tax)) for category, tax in tax_on(lines, "billed").items()]
    return corrections.plan_corrections(
        frame(corrections.CORRECTED_LINES, *rows), frame(corrections.BILLED_TAX, *taxes)
    )


@few
@given(documents(), st.sampled_from(corrections.POLICIES))
def test_a_plan_is_the_same_in_both_engines(lines: list[plain.Line], policy: str) -> None:
    found, taxed = planned(lines, policy)
    assert [(k, line, c, from_units(net, "EUR")) for _, k, line, c, net in found.iter_rows()] == plain.plan(
        lines, policy
    )
    assert [
        (k, c, from_units(net, "EUR"), None if tax is None else from_units(tax, "EUR"))
        for _, k, c, net, tax in taxed.iter_rows()
    ] == plain.tax_of(lines, policy, tax_on(lines, "billed"), "EUR")


@few
@given(documents(), st.sampled_from(corrections.POLICIES))
def test_what_was_billed_with_its_correction_is_the_truth_in_net_line_by_line(
    lines: list[plain.Line], policy: str
) -> None:
    found, _ = planned(lines, policy)
    for line in lines:
        moved = found.filter(pl.col("line_key") == line.key)["net"].sum()
        assert units(line.billed) + moved == units(line.true)


@few
@given(documents())
def test_full_credit_and_rebill_are_the_truth_in_tax_too(lines: list[plain.Line]) -> None:
    _, taxed = planned(lines, "credit_full_rebill")
    billed, true = (sum(tax_on(lines, side).values()) for side in ("billed", "true"))
    assert units(Decimal(billed)) + taxed["tax"].sum() == units(Decimal(true))


@few
@given(documents())
def test_a_credit_never_takes_back_more_tax_than_was_billed(lines: list[plain.Line]) -> None:
    _, taxed = planned(lines, "credit_partial")
    billed = tax_on(lines, "billed")
    for kind, category, tax in taxed.select("kind", "category", "tax").iter_rows():
        assert kind == "rebill" or -units(billed[category]) <= tax <= 0


@few
@given(
    st.lists(amounts, min_size=1, max_size=6), st.lists(amounts, min_size=1, max_size=6), st.sampled_from([7, 19, 20])
)
def test_credits_one_after_the_other_are_the_same_in_both_engines_and_leave_nothing(
    lines: list[Decimal], asked: list[Decimal], percent: int
) -> None:
    billed = sum(lines) + 1
    tax = round_money(billed * percent / 100, "EUR")
    asked = [*asked, billed]  # the last one wants everything, and gets what is left
    rows = [("I", "S", n, percent * 10_000, units(billed), units(tax), units(one)) for n, one in enumerate(asked)]
    granted = corrections.grant_credits(frame(corrections.CREDIT_REQUESTS, *rows))
    seen = [
        tuple(from_units(amount, "EUR") for amount in row) for row in granted.select("net", "tax", "excess").iter_rows()
    ]
    assert seen == plain.grant_credits(billed, tax, Decimal(percent) / 100, asked, "EUR")
    assert granted["net"].sum() == units(billed)
    assert granted["tax"].sum() == units(tax)
    assert granted["tax"].min() >= 0
    assert granted["last"][-1]


def test_the_last_of_four_credits_takes_the_cent_that_is_missing() -> None:
    asked = ["85.00", "57.50", "68.33", "68.33"]
    rows = [("I", "S", n, 200_000, eur("279.16"), eur("55.83"), eur(net)) for n, net in enumerate(asked)]
    granted = corrections.grant_credits(frame(corrections.CREDIT_REQUESTS, *rows))
    gross = [in_eur(amount) for amount in granted["net"] + granted["tax"]]
    assert gross == ["102.00", "69.00", "82.00", "81.99"]
    assert in_eur(granted["net"].sum() + granted["tax"].sum()) == "334.99"


def test_an_unknown_policy_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="refund"):
        planned([plain.Line("1", "S", RATES["S"], Decimal(1), Decimal(0))], "refund")


@few
@given(st.lists(st.tuples(amounts, st.integers(-100, 1000), amounts), min_size=1, max_size=4))
def test_realisation_is_the_same_in_both_engines(steps: list[tuple[Decimal, int, Decimal]]) -> None:
    rows = [(str(n), units(value), down * 1_000, units(off)) for n, (value, down, off) in enumerate(steps)]
    found = corrections.realisation(frame(corrections.VALUE_STEPS, *rows))
    for row, (value, down, off) in zip(found.iter_rows(named=True), steps, strict=True):
        tenths = [row["realisation_permille"], row["collection_permille"]]
        seen = (
            from_units(row["billed"], "EUR"),
            from_units(row["collected"], "EUR"),
            *(None if one is None else Decimal(one) / 10 for one in tenths),
        )
        assert seen == plain.realisation(value, Decimal(down) / 1000, off, "EUR")
