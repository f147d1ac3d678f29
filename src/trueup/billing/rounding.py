"""The vectorised twin of `kernel.money.round_units`: multiply in Int128, round once, come back to Int64."""

import polars as pl

from trueup.kernel.money import UNIT_DIGITS

MINOR = 10**UNIT_DIGITS
"""Units in one minor unit, in every currency."""

HOUR = 60
"""Minutes."""

MILLION = 1_000_000
"""Parts per million in the whole."""


def product(left: pl.Expr, right: pl.Expr | int) -> pl.Expr:
    """Multiply exactly. Int64 would wrap without a word, so both sides are widened to Int128 first."""
    other = pl.lit(right, dtype=pl.Int128) if isinstance(right, int) else right.cast(pl.Int128)
    return left.cast(pl.Int128) * other


def rounded(numerator: pl.Expr, denominator: pl.Expr | int) -> pl.Expr:
    """Divide and round to the minor unit, half away from zero; Int64 units.

    numerator    Int128 or Int64, units x something
    denominator  above zero, the same something
    Raises       polars InvalidOperationError when the result does not fit Int64, instead of wrapping.
    Source       EN 16931 rounding; half away from zero so that a credit mirrors its invoice.

    >>> frame = pl.DataFrame({"minutes": [2, -2], "rate": [1_655_000_000, 1_655_000_000]})
    >>> frame.select(rounded(product(pl.col("minutes"), pl.col("rate")), HOUR).alias("amount"))["amount"].to_list()
    [55170000, -55170000]
    """
    below = denominator if isinstance(denominator, pl.Expr) else pl.lit(denominator, pl.Int128)
    step = product(below, MINOR)
    top = numerator.cast(pl.Int128)
    magnitude = ((top.abs() * 2 + step) // (step * 2) * MINOR).cast(pl.Int64)
    return pl.when(top < 0).then(-magnitude).otherwise(magnitude)


def nearest_signed(numerator: pl.Expr, denominator: pl.Expr | int) -> pl.Expr:
    """Divide by a number above zero and round to the nearest whole number, half away from zero; Int64.

    >>> frame = pl.DataFrame({"top": [25, -25, 24]})
    >>> frame.select(nearest_signed(pl.col("top"), 10).alias("whole"))["whole"].to_list()
    [3, -3, 2]
    """
    below = denominator if isinstance(denominator, pl.Expr) else pl.lit(denominator, pl.Int128)
    top = numerator.cast(pl.Int128)
    magnitude = nearest_whole(top.abs(), below)
    return pl.when(top < 0).then(-magnitude).otherwise(magnitude)


def nearest_whole(numerator: pl.Expr, denominator: pl.Expr) -> pl.Expr:
    """Divide two numbers above zero and round to the nearest whole number, half up; Int64."""
    bottom = denominator.cast(pl.Int128)
    return ((numerator.cast(pl.Int128) * 2 + bottom) // (bottom * 2)).cast(pl.Int64)
