"""What a change of terms costs or brings for what is billed already: the arithmetic of a re-rating, writing nothing."""

from decimal import ROUND_HALF_UP, Decimal

import polars as pl

from trueup.billing.rounding import HOUR, MILLION, product, rounded

FIVE_RAPPEN = Decimal("0.05")


def rate_deltas(billed: pl.DataFrame) -> pl.DataFrame:
    """Say what entries billed at an old rate are worth more at the new one; each price rounded once.

    billed   minutes i64, old_rate and new_rate i64 units per hour
    Returns  billed + delta i64 units, below zero where the rate fell
    """
    old, new = (rounded(product(pl.col("minutes"), pl.col(rate)), HOUR) for rate in ("old_rate", "new_rate"))
    return billed.with_columns(delta=new - old)


def fee_catch_ups(fees: pl.DataFrame) -> pl.DataFrame:
    """Say what a changed fixed fee brings at once for the progress made: the new fee's share less the old one's.

    fees     old_fee, new_fee, billed i64 units, progress_ppm i64
    Returns  fees + catch_up i64 units (for the change of the fee), due i64 units (all that is due now)
    """
    old, new = (rounded(product(pl.col(fee), pl.col("progress_ppm")), MILLION) for fee in ("old_fee", "new_fee"))
    return fees.with_columns(catch_up=new - old, due=new - pl.col("billed"))


def to_five_rappen(total: Decimal) -> Decimal:
    """Round what is payable in cash to five rappen, half away from zero.

    >>> to_five_rappen(Decimal("1234.53"))
    Decimal('1234.55')
    """
    return (total / FIVE_RAPPEN).quantize(Decimal(1), ROUND_HALF_UP) * FIVE_RAPPEN
