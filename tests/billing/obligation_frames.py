"""Turns obligations of the plain reference into the frames of the vectorised path, one contract each."""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any

import polars as pl

from trueup.billing import revenue as fast
from trueup.billing.frames import (
    CREDITED_PRICES,
    ESTIMATES,
    OBLIGATION_STATES,
    OBLIGATIONS,
    PERFORMED,
    TERMS,
    Shape,
)
from trueup.billing.reference.revenue import Promise, State
from trueup.kernel.money import from_units, to_units

MONEY = {"cost", "materials", "accepted"}


def frame(shape: Shape, rows: Sequence[Sequence[Any]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema={name: column.dtype for name, column in shape.columns.items()}, orient="row")


def counted(measure: str, quantity: Decimal, currency: str) -> int:
    return to_units(quantity, currency) if measure in MONEY else int(quantity)


def facts(promises: Sequence[Promise]) -> tuple[fast.ObligationFacts, pl.DataFrame]:
    """Give the facts of obligations con_0/O0, con_1/O1 ... and the credits on them."""
    obligations, terms, estimates, performed, credits = [], [], [], [], []
    for number, it in enumerate(promises):
        key = (f"con_{number}", f"O{number}")
        obligations.append((
            *key, f"L{number}", "DE01", it.currency, it.method, it.convention, it.service_from, it.completed_on,
        ))  # fmt: skip
        terms += [(*key, t.on, t.kind, to_units(t.amount, it.currency), t.service_to) for t in it.terms]
        estimates += [(*key, q.measure, q.on, counted(q.measure, q.quantity, it.currency)) for q in it.estimates]
        performed += [(*key, q.measure, q.on, counted(q.measure, q.quantity, it.currency)) for q in it.performed]
        credits += [(*key, day, to_units(amount, it.currency)) for day, amount in it.credits]
    own = fast.ObligationFacts(
        frame(OBLIGATIONS, obligations),
        frame(TERMS, terms),
        frame(ESTIMATES, estimates),
        frame(PERFORMED, performed),
    )
    return own, frame(CREDITED_PRICES, credits)


def states(promises: Sequence[Promise], cut: date, known: date | None = None) -> list[State]:
    """Measure obligations by the vectorised path, in the reference's words."""
    own, credits = facts(promises)
    found = {row["obligation"]: row for row in fast.states(own, credits, cut, known or cut).iter_rows(named=True)}
    assert set(OBLIGATION_STATES.columns) == set(next(iter(found.values()))) if found else True
    return [_state(found[f"O{number}"], it) for number, it in enumerate(promises)]


def _state(row: dict[str, Any], it: Promise) -> State:
    def money(units: int | None) -> Any:
        return None if units is None else from_units(units, it.currency)

    measured = it.method in ("cost_to_cost", "milestone")

    def measure(value: int | None) -> Any:
        return money(value) if measured else None if value is None else Decimal(value)

    return State(
        money(row["price"]),
        measure(row["done"]),
        measure(row["whole"]),
        money(row["recognised"]),
        money(row["cost"]),
        money(row["expected_cost"]),
        money(row["provision"]),
    )
