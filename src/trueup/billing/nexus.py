"""Where in the United States a seller is liable for sales tax: by presence, or by what was sold into a state."""

from collections.abc import Collection
from datetime import date, timedelta
from decimal import Decimal

import polars as pl

from trueup.billing.rounding import product
from trueup.billing.tax_tables import COMMON, NO_SALES_TAX, THRESHOLDS, Threshold
from trueup.kernel.money import to_units

SALES = {"state": pl.String, "sold_on": pl.Date, "net": pl.Int64}
"""One sale: US state of the customer, day, net in units of US dollars; credits are below zero and no transactions."""


def threshold_on(state: str, on: date) -> Threshold:
    """Return the threshold of a state on a day."""
    rows = [one for one in THRESHOLDS.get(state, ()) if one.valid_from <= on]
    return rows[-1] if rows else COMMON


def windows(window: str, on: date) -> list[date]:
    """Return the first days of the windows sales are counted in, each a year long or ending on the day.

    >>> windows("calendar", date(2026, 8, 31)), windows("rolling", date(2026, 8, 31))
    ([datetime.date(2025, 1, 1), datetime.date(2026, 1, 1)], [datetime.date(2025, 9, 1)])
    """
    if window == "calendar":
        return [date(on.year - 1, 1, 1), date(on.year, 1, 1)]
    # Of a leap day the year before ends on 28 February.
    day = 28 if (on.month, on.day) == (2, 29) else on.day
    return [date(on.year - 1, on.month, day) + timedelta(days=1)]


def track(sales: pl.DataFrame, presence: Collection[str], on: date) -> pl.DataFrame:
    """Say for every state with sales or presence how far a seller is, and whether it is liable there.

    sales     `SALES`
    presence  states with an office or people
    on        the day it is asked for; later sales do not count
    Returns   state str, net i64 units (of the fullest window), transactions i64, limit i64 units|null, share_ppm i64
              (of the limit, null without one), reason str (presence, sales, or empty), nexus bool; sorted by state
    """
    states = sorted({*sales["state"].drop_nulls().unique(), *presence})
    rows: list[tuple[str, int, int | None, bool, date, date]] = []
    for state in states:
        known = threshold_on(state, on)
        for first in [] if state in NO_SALES_TAX else windows(known.window, on):
            last = min(on, date(first.year, 12, 31)) if known.window == "calendar" else on
            rows.append(
                (state, to_units(Decimal(known.sales), "USD"), known.transactions, known.both, first, last)
            )  # fmt: skip
    spans = pl.DataFrame(rows, schema=_SPANS, orient="row")
    counted = (
        spans.join(sales, on="state")
        .filter(pl.col("sold_on").is_between("first", "last"))
        .group_by("state", "limit", "most", "both", "first")
        .agg(pl.col("net").sum(), transactions=(pl.col("net") > 0).sum().cast(pl.Int64))
    )
    enough = pl.col("net") >= pl.col("limit")
    often = pl.col("transactions") >= pl.col("most")
    reached = pl.when(pl.col("most").is_null()).then(enough).when("both").then(enough & often).otherwise(enough | often)
    best = (
        counted.with_columns(reached=reached)
        .sort("reached", "net", "first", descending=True)
        .unique("state", keep="first", maintain_order=True)
        .select("state", "net", "transactions", "reached")
    )
    return (
        pl.DataFrame({"state": states}, schema={"state": pl.String})
        .join(best, on="state", how="left", maintain_order="left")
        .join(spans.select("state", "limit").unique(), on="state", how="left", maintain_order="left")
        .with_columns(
            pl.col("net", "transactions").fill_null(0),
            share_ppm=(product(pl.col("net").fill_null(0), 1_000_000) // pl.col("limit").cast(pl.Int128)).cast(
                pl.Int64
            ),
            reason=pl.when(pl.col("limit").is_null())
            .then(pl.lit(""))
            .when(pl.col("state").is_in(list(presence)))
            .then(pl.lit("presence"))
            .when(pl.col("reached").fill_null(value=False))
            .then(pl.lit("sales"))
            .otherwise(pl.lit("")),
        )
        .with_columns(nexus=pl.col("reason") != "")
        .select("state", "net", "transactions", "limit", "share_ppm", "reason", "nexus")
    )


_SPANS = {
    "state": pl.String, "limit": pl.Int64, "most": pl.Int64, "both": pl.Boolean, "first": pl.Date, "last": pl.Date,
}  # fmt: skip
