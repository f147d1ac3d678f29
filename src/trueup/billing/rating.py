"""What an hour costs the client: the contract's rate for the role, in force on the day of work."""

import polars as pl

from trueup.billing.rounding import HOUR, product, rounded

WHO = ("contract", "currency", "role")
"""What selects a rate line. A contract may be billed in two currencies, each with its own rates."""


def in_force(rates: pl.DataFrame) -> pl.DataFrame:
    """Say for every contract and role which rate line is in force from which day until the next row.

    On a day, the line with the latest valid_from among those valid on that day wins. Two that start on the same day
    leave the rate open: ambiguous.

    rates    `RATES`
    Returns  contract, currency, role, from_on date, rate i64 units per hour|null, rate_line str|null,
             rate_valid_from date|null, ambiguous bool|null; sorted by from_on; null where no line is in force
    """
    starts = rates.select(*WHO, from_on=pl.col("valid_from"))
    day_after_end = pl.col("valid_to") + pl.duration(days=1)
    ends = rates.filter(pl.col("valid_to").is_not_null()).select(*WHO, from_on=day_after_end)
    turns = pl.concat([starts, ends]).unique()
    valid = (pl.col("valid_from") <= pl.col("from_on")) & (
        pl.col("valid_to").is_null() | (pl.col("valid_to") >= pl.col("from_on"))
    )
    winners = (
        turns.join(rates, on=WHO)
        .filter(valid)
        .filter(pl.col("valid_from") == pl.col("valid_from").max().over(*WHO, "from_on"))
        .sort("gid")
        .group_by(*WHO, "from_on")
        .agg(
            pl.col("rate").first(),
            pl.col("gid").first().alias("rate_line"),
            pl.col("valid_from").first().alias("rate_valid_from"),
            (pl.len() > 1).alias("ambiguous"),
        )
    )
    return turns.join(winners, on=[*WHO, "from_on"], how="left").sort("from_on", *WHO)


def price_time(entries: pl.DataFrame, rates: pl.DataFrame) -> pl.DataFrame:
    """Price the open minutes of each entry: the price of all its minutes less what is allocated already.

    The whole entry is rounded once, so parts billed in different runs add up to it, to the cent.

    entries  contract, currency, role, worked_on, minutes, allocated_amount (see `ENTRIES`); sorted by worked_on
    rates    `RATES`
    Returns  entries + rate i64 units per hour|null, rate_line str|null, rate_valid_from date|null, ambiguous bool,
             amount i64 units; without exactly one rate the rate is null and the amount 0: held, never dropped
    """
    found = entries.join_asof(
        in_force(rates),
        left_on="worked_on",
        right_on="from_on",
        by=list(WHO),
        strategy="backward",
        check_sortedness=False,
    ).with_columns(pl.col("ambiguous").fill_null(value=False))
    one = ~pl.col("ambiguous")
    value = rounded(product(pl.col("minutes"), pl.col("rate")), HOUR) - pl.col("allocated_amount")
    return found.with_columns(
        rate=pl.when(one).then("rate"),
        rate_line=pl.when(one).then("rate_line"),
        amount=pl.when(one & pl.col("rate").is_not_null()).then(value).otherwise(0),
    ).drop("from_on")
