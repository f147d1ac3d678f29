"""A credit note on an invoice line, traced back to the time and expenses it takes back."""

from dataclasses import dataclass

import polars as pl

from trueup.billing.frames import ALLOCATIONS, CREDITED
from trueup.billing.rounding import nearest_whole, product, rounded
from trueup.kernel.money import from_units, split, to_units


@dataclass(frozen=True, slots=True)
class Attribution:
    """Where a credit belongs.

    splits          `CREDITED`, newest service date first; minutes and amounts above zero
    excess_minutes  minutes credited beyond what the line still holds; a finding when above zero
    excess_amount   units credited beyond what the line still holds; a finding when above zero
    """

    splits: pl.DataFrame
    excess_minutes: int
    excess_amount: int


def attribute_credit(
    allocations: pl.DataFrame, currency: str, minutes: int | None = None, amount: int | None = None
) -> Attribution:
    """Take a credit back from the charges of its line, newest service date first, then highest source order.

    By minutes when they are given: whole charges, the last one in part. The amount, when given too, is what the credit
    note says and is shared over these charges by their value (largest remainder), never more than they were billed at;
    what it says beyond that, by its own rounding or price, comes off the line's other charges without their minutes.
    By amount alone: charges until the amount is used up, minutes of the last one in proportion.

    allocations  `ALLOCATIONS` of one invoice line
    currency     ISO 4217 of the line
    minutes      minutes credited, None for an amount without a quantity
    amount       net credited, units, above zero; None to credit the minutes at what they were billed at
    Raises       ValueError when neither is given.
    """
    newest_first = ALLOCATIONS.read(allocations).sort(
        ["service_on", "source_order", "charge"], descending=[True, True, False]
    )
    if minutes is not None:
        taken = _by_minutes(newest_first, minutes)
        value = int(taken["taken_amount"].sum())
        if amount is not None and amount < value:
            shares = split(from_units(amount, currency), taken["taken_amount"].to_list(), currency)
            units = [to_units(share, currency) for share in shares]
            taken = taken.with_columns(pl.Series("taken_amount", units, dtype=pl.Int64))
        excess_minutes = minutes - int(taken["taken_minutes"].sum())
        excess_amount = 0 if amount is None else max(0, amount - value)
        if excess_amount > 0:
            taken, excess_amount = _from_the_rest(newest_first, taken, excess_amount)
    elif amount is not None:
        taken = _by_amount(newest_first, amount)
        excess_minutes, excess_amount = 0, amount - int(taken["taken_amount"].sum())
    else:
        raise ValueError("a credit needs minutes or an amount")
    splits = taken.filter((pl.col("taken_minutes") > 0) | (pl.col("taken_amount") > 0)).with_columns(
        minutes=pl.col("taken_minutes"), amount=pl.col("taken_amount")
    )
    return Attribution(CREDITED.write(splits), excess_minutes, excess_amount)


def _from_the_rest(newest_first: pl.DataFrame, taken: pl.DataFrame, rest: int) -> tuple[pl.DataFrame, int]:
    """Take the rest of a credit's amount from what its line still holds; returns what no charge of it holds."""
    before = pl.col("left").cum_sum() - pl.col("left")
    found = (
        newest_first.join(
            taken.select("charge", "taken_minutes", "taken_amount"), on="charge", how="left", maintain_order="left"
        )
        .with_columns(pl.col("taken_minutes", "taken_amount").fill_null(0))
        .with_columns(left=pl.col("amount") - pl.col("taken_amount"))
        .with_columns(more=pl.min_horizontal("left", (rest - before).clip(lower_bound=0)))
        .with_columns(taken_amount=pl.col("taken_amount") + pl.col("more"))
    )
    return found.drop("left", "more"), rest - int(found["more"].sum())


def _by_minutes(newest_first: pl.DataFrame, minutes: int) -> pl.DataFrame:
    before = pl.col("minutes").cum_sum() - pl.col("minutes")
    part = rounded(product(pl.col("amount"), pl.col("taken_minutes")), pl.col("minutes").clip(lower_bound=1))
    return newest_first.with_columns(
        taken_minutes=pl.min_horizontal("minutes", (minutes - before).clip(lower_bound=0))
    ).with_columns(
        taken_amount=pl.when(pl.col("taken_minutes") == pl.col("minutes")).then("amount").otherwise(part)
    ).filter(pl.col("taken_minutes") > 0)  # fmt: skip


def _by_amount(newest_first: pl.DataFrame, amount: int) -> pl.DataFrame:
    before = pl.col("amount").cum_sum() - pl.col("amount")
    share = nearest_whole(product(pl.col("minutes"), pl.col("taken_amount")), pl.col("amount").clip(lower_bound=1))
    return newest_first.with_columns(
        taken_amount=pl.min_horizontal("amount", (amount - before).clip(lower_bound=0))
    ).with_columns(taken_minutes=share)
