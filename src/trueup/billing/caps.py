"""Not-to-exceed: how much of each priced entry still fits under what the contract allows."""

import polars as pl

from trueup.billing.rounding import nearest_whole, product


def split_at_cap(
    priced: pl.DataFrame,
    *,
    scope: tuple[str, ...] = ("project",),
    minutes: str = "open_minutes",
    amount: str = "amount",
    policy: pl.Expr | None = None,
) -> pl.DataFrame:
    """Split each entry into what fits under its project's cap and the excess.

    Entries use up the cap in the order of the rows. The entry that crosses is split by amount, its minutes in
    proportion, rounded to whole minutes; each side keeps at least one minute, so an entry of one minute is not split
    but waits whole. An entry that does not count neither uses the cap nor is split.

    priced   scope, cap i64 units|null, cap_used i64 units, minutes i64, amount i64 units,
             counts bool (approved, priced, nothing to give back); sorted by worked_on, source_order
    scope    columns whose rows share one cap
    minutes  column that is split in proportion; of money without minutes, its minor units
    amount   column that uses the cap
    policy   split, stop_before (the entry that crosses waits whole) or warn_only (all of it fits); split where absent
    Returns  priced + cap_left i64 units|null (before this entry), within_minutes, within_amount, over_minutes,
             over_amount i64
    """
    wide = pl.col(amount).cast(pl.Int128)
    counted = pl.when("counts").then(wide).otherwise(pl.lit(0, pl.Int128))
    used_before = counted.cum_sum().over(scope) - counted
    left = pl.max_horizontal(pl.col("cap") - pl.col("cap_used") - used_before, pl.lit(0, pl.Int128))
    capped = pl.col("counts") & pl.col("cap").is_not_null()
    limited = capped if policy is None else capped & (policy != "warn_only")
    fits = pl.when(limited).then(pl.min_horizontal(wide, "cap_left")).otherwise(wide)
    crosses = (pl.col("fits") > 0) & (pl.col("fits") < wide)
    too_short = crosses & (pl.col(minutes) == 1)
    if policy is not None:
        too_short = too_short | (crosses & (policy == "stop_before"))
    share = nearest_whole(product(pl.col(minutes), pl.col("fits")), pl.col(amount))
    within_minutes = (
        pl.when(pl.col("fits") == wide)
        .then(minutes)
        .when(too_short | (pl.col("fits") == 0))
        .then(0)
        .otherwise(share.clip(1, pl.col(minutes) - 1))
    )
    return (
        priced.with_columns(cap_left=pl.when(capped).then(left))
        .with_columns(fits=fits)
        .with_columns(
            within_minutes=within_minutes,
            within_amount=pl.when(too_short).then(0).otherwise("fits").cast(pl.Int64),
            cap_left=pl.col("cap_left").cast(pl.Int64),
        )
        .with_columns(
            over_minutes=pl.col(minutes) - pl.col("within_minutes"),
            over_amount=pl.col(amount) - pl.col("within_amount"),
        )
        .drop("fits")
    )


def split_at_included(worked: pl.DataFrame) -> pl.DataFrame:
    """Split each retainer entry into minutes the fee covers and minutes above them.

    Entries use up the included minutes in the order of the rows; the boundary entry is split by minutes.

    worked   project str, included_minutes i64|null (null: no limit), period_included_used i64,
             open_minutes i64, and where minutes roll over rolled_minutes i64|null, used up with the included ones; approved entries first, each group sorted by worked_on, source_order
    Returns  worked + included_left i64|null (before this entry), covered_minutes i64, overage_minutes i64
    """
    counted = pl.col("open_minutes").clip(lower_bound=0)
    used_before = pl.col("period_included_used") + counted.cum_sum().over("project") - counted
    rolled = pl.col("rolled_minutes").fill_null(0) if "rolled_minutes" in worked.columns else pl.lit(0, pl.Int64)
    left = (pl.col("included_minutes") + rolled - used_before).clip(lower_bound=0)
    covered = pl.min_horizontal("open_minutes", "included_left")
    return (
        worked.with_columns(included_left=left)
        .with_columns(covered_minutes=covered)
        .with_columns(overage_minutes=pl.col("open_minutes") - pl.col("covered_minutes"))
    )
