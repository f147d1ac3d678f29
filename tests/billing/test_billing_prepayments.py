"""Advances are used up in order, to the cent, with their VAT, in both engines."""

from decimal import Decimal
from typing import Any

import polars as pl
from frames_for_tests import eur, in_eur
from hypothesis import given, settings
from hypothesis import strategies as st

from trueup.billing import prepayments
from trueup.billing.frames import Shape
from trueup.billing.reference import prepayments as plain
from trueup.kernel.money import from_units, round_money, to_units

few = settings(deadline=None, max_examples=25)
amounts = st.integers(0, 5_000_000).map(lambda cents: Decimal(cents) / 100)
taxed = st.tuples(amounts, st.sampled_from([0, 19])).map(
    lambda drawn: (drawn[0], round_money(drawn[0] * drawn[1] / (100 + drawn[1]), "EUR"))
)


def frame(shape: Shape, *rows: tuple[Any, ...]) -> pl.DataFrame:
    schema = {name: column.dtype for name, column in shape.columns.items()}
    return pl.DataFrame(list(rows), schema=schema, orient="row")


def units(amount: Decimal) -> int:
    return to_units(amount, "EUR")


def money(frame: pl.DataFrame) -> list[tuple[Decimal, ...]]:
    return [tuple(from_units(amount, "EUR") for amount in row) for row in frame.iter_rows()]


@few
@given(st.lists(taxed, max_size=3), st.lists(taxed, min_size=1, max_size=5))
def test_drawing_down_is_the_same_in_both_engines_and_loses_nothing(
    paid: list[tuple[Decimal, Decimal]], owed: list[tuple[Decimal, Decimal]]
) -> None:
    advances = frame(prepayments.ADVANCES, *(("C", f"P{n}", n, units(g), units(t)) for n, (g, t) in enumerate(paid)))
    invoices = frame(prepayments.DRAWING, *(("C", f"I{n}", n, units(g), units(t)) for n, (g, t) in enumerate(owed)))
    drawn = prepayments.draw_down(advances, invoices)
    seen = money(drawn.select("applied", "applied_tax", "due", "due_tax", "left"))
    assert seen == plain.draw_down(paid, owed, "EUR")
    used = prepayments.apply_advances(advances, invoices)
    assert [
        (int(advance[1:]), int(invoice[1:]), from_units(applied, "EUR"), from_units(tax, "EUR"))
        for _, advance, invoice, applied, tax in used.iter_rows()
    ] == plain.apply_advances(paid, [gross for gross, _ in owed], "EUR")
    assert used["applied"].sum() == min(advances["gross"].sum(), invoices["gross"].sum())
    if drawn["left"][-1] == 0:
        assert used["applied_tax"].sum() == advances["tax"].sum()


def test_the_final_invoice_deducts_an_advance_with_its_vat_or_without_one() -> None:
    for advance_tax, due_tax in (("0", "95000.00"), ("80000", "15000.00")):
        drawn = prepayments.draw_down(
            frame(prepayments.ADVANCES, ("C", "P", 1, eur("400000"), eur(advance_tax))),
            frame(prepayments.DRAWING, ("C", "I", 1, eur("475000"), eur("95000"))),
        )
        assert (in_eur(drawn["due"][0]), in_eur(drawn["due_tax"][0])) == ("75000.00", due_tax)


def test_accounts_do_not_pay_for_each_other() -> None:
    advances = frame(prepayments.ADVANCES, ("A", "P", 1, eur("100"), 0), ("B", "Q", 1, eur("10"), 0))
    invoices = frame(
        prepayments.DRAWING, ("A", "I", 1, eur("60"), 0), ("B", "J", 1, eur("60"), 0), ("C", "K", 1, eur("5"), 0)
    )
    drawn = prepayments.draw_down(advances, invoices)
    assert [in_eur(due) for due in drawn["due"]] == ["0.00", "50.00", "5.00"]
    assert [in_eur(left) for left in drawn["left"]] == ["40.00", "0.00", "0.00"]
