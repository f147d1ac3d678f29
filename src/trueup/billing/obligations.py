"""Promises of a contract: what they are worth, how modifications change that, and what was paid for them in advance."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Literal

import polars as pl

from trueup.billing.frames import ADVANCE_STATES, ADVANCES, REBATES, TERMS
from trueup.billing.rounding import MILLION, MINOR, product, rounded

OBLIGATION = ("contract", "obligation")
Modification = Literal["separate", "prospective", "catch_up"]


@dataclass(frozen=True, slots=True)
class Declared:
    """One performance obligation as the workspace declares it; amounts in major units of the contract's currency.

    price         in force from the contract's start; None where a modification of the kind separate brings it
    from_time     whether approved time and expenses of the contract measure it
    terms         (first day, kind, amount, last day of service or None)
    estimates     (first day, measure, quantity); hours in minutes
    performed     the same
    rebates       (first day, expected volume, threshold, share)
    """

    key: str
    line: str
    method: str
    price: Decimal | None
    standalone_price: Decimal | None
    convention: str
    service_from: date | None
    service_to: date | None
    completed_on: date | None
    from_time: bool
    terms: tuple[tuple[date, str, Decimal, date | None], ...] = ()
    estimates: tuple[tuple[date, str, Decimal], ...] = ()
    performed: tuple[tuple[date, str, Decimal], ...] = ()
    rebates: tuple[tuple[date, Decimal, Decimal, Decimal], ...] = ()


@dataclass(frozen=True, slots=True)
class Advance:
    """A payment before performance: in the contract's currency, and at the rate of its own day in the entity's."""

    key: str
    received_on: date
    amount: Decimal
    functional: Decimal
    functional_currency: str


@dataclass(frozen=True, slots=True)
class Declaration:
    """The performance obligations of one contract."""

    contract: str
    starts_on: date
    price: Decimal | None
    obligations: tuple[Declared, ...]
    advances: tuple[Advance, ...] = ()


Declarations = Mapping[str, Declaration]
"""By the contract's code."""


def modification_kind(*, adds_distinct: bool, at_standalone_price: bool, remainder_distinct: bool) -> Modification:
    """Choose how a change of a contract is accounted for.

    adds_distinct        what is added is useful by itself
    at_standalone_price  and costs what it would cost alone
    remainder_distinct   what is left to do is distinct from what was done
    Returns  separate     a contract of its own; what was agreed before stays
             prospective  the old contract ends, the rest is earned over what is left
             catch_up     one promise partly done: revenue to date is worked out anew
    Source   ASC 606-10-25-12 and 25-13; IFRS 15.20 and 21

    >>> modification_kind(adds_distinct=False, at_standalone_price=False, remainder_distinct=False)
    'catch_up'
    """
    if adds_distinct and at_standalone_price:
        return "separate"
    return "prospective" if remainder_distinct else "catch_up"


def allocate(parts: pl.DataFrame, by: tuple[str, ...] = ("contract",), order: str = "obligation") -> pl.DataFrame:
    """Share out a total by weight so that the parts add up to it, to the minor unit.

    parts    `by` and `order` columns, total i64 units (the same in every row of a group, whole minor units),
             weight i64 (standalone selling price, units or anything else; zero or above, the sum above zero)
    Returns  parts + share i64 units; largest remainder, a tie goes to the lowest `order`
    Source   ASC 606-10-32-31: by relative standalone selling price
    """
    minor = pl.col("total").abs() // MINOR
    total_weight = pl.col("weight").sum().over(by).cast(pl.Int128)
    exact = product(minor, pl.col("weight"))
    floor = (exact // total_weight).cast(pl.Int64)
    ranked = (
        parts.sort(*by, order)
        .with_columns(floor=floor, rest=exact % total_weight)
        .with_columns(missing=minor - pl.col("floor").sum().over(by))
        .sort(*by, "rest", order, descending=[*([False] * len(by)), True, False])
        .with_columns(place=pl.int_range(pl.len()).over(by))
    )
    share = (pl.col("floor") + (pl.col("place") < pl.col("missing")).cast(pl.Int64)) * MINOR
    signed = pl.when(pl.col("total") < 0).then(-share).otherwise(share)
    return ranked.with_columns(share=signed).drop("floor", "rest", "missing", "place").sort(*by, order)


def prices(terms: pl.DataFrame, at: pl.DataFrame) -> pl.DataFrame:
    """Add up what obligations are worth on a day, each its own.

    terms    `TERMS`
    at       contract, obligation str, known day: the day whose knowledge counts
    Returns  contract, obligation, price i64 units, service_to day or null; one row for each of `at`
    """
    known = TERMS.read(terms).join(at.select(*OBLIGATION, "known"), on=OBLIGATION)
    in_force = known.filter(pl.col("effective_on") <= pl.col("known")).sort("effective_on", "service_to")
    totals = in_force.group_by(OBLIGATION, maintain_order=True).agg(
        price=pl.col("amount").sum(), service_to=pl.col("service_to").drop_nulls().last()
    )
    return at.select(OBLIGATION).join(totals, on=OBLIGATION, how="left").with_columns(pl.col("price").fill_null(0))


def rebate_accrued(rebates: pl.DataFrame, charged: pl.DataFrame) -> pl.DataFrame:
    """Accrue expected volume rebates in proportion to the volume so far.

    The rebate on the whole expected volume (or on the volume so far, once that is larger) is spread over it evenly.

    rebates  `REBATES`
    charged  contract, obligation str, known day, charged i64 units to date
    Returns  contract, obligation, rebate i64 units to date
    Source   ASC 606-10-32-5: variable consideration, re-estimated every period
    """
    in_force = (
        REBATES.read(rebates)
        .join(charged, on=OBLIGATION)
        .filter(pl.col("effective_on") <= pl.col("known"))
        .sort("effective_on", "expected")
        .group_by(OBLIGATION)
        .last()
    )
    volume = pl.max_horizontal("expected", "charged", pl.lit(1))
    above = (volume - pl.col("threshold")).clip(lower_bound=0)
    # share x (volume - threshold) x charged / volume, one rounding
    part = rounded(product(product(above, pl.col("share_ppm")), pl.col("charged")), product(volume, MILLION))
    return in_force.select(*OBLIGATION, rebate=part)


def release_advances(advances: pl.DataFrame, earned: pl.DataFrame) -> pl.DataFrame:
    """Use up advances in foreign currency by what was earned, the oldest first, each at its own rate.

    A contract liability is no monetary item: it is not revalued, and revenue is released at the rate of the day the
    money came. Rounding is cumulative, so that an advance used up has released what it was booked at.

    advances  `ADVANCES`
    earned    contract str, recognised i64 units to date, in the contract's currency
    Returns   `ADVANCE_STATES`, sorted by contract and advance
    Source    IFRIC 22, example 2
    """
    in_line = ADVANCES.read(advances).join(earned, on="contract", how="left").sort("contract", "received_on", "advance")
    before = pl.col("amount").cum_sum().over("contract") - pl.col("amount")
    used = in_line.with_columns(released=(pl.col("recognised").fill_null(0) - before).clip(lower_bound=0)).with_columns(
        pl.min_horizontal("released", "amount").alias("released")
    )
    share = rounded(product(pl.col("functional"), pl.col("released")), pl.col("amount").clip(lower_bound=1))
    return ADVANCE_STATES.write(used.with_columns(functional_released=share).sort("contract", "advance"))
