"""What a job will have taken when it is done, as believed on a day, and what a change of that belief does to revenue."""

import polars as pl

from trueup.billing.frames import ESTIMATES, PERFORMED
from trueup.billing.obligations import OBLIGATION

MEASURES = ("cost", "minutes", "pieces", "materials")


def in_force(estimates: pl.DataFrame, at: pl.DataFrame) -> pl.DataFrame:
    """Return the newest estimate of each measure on a day.

    estimates  `ESTIMATES`
    at         contract, obligation str, known day: the day whose knowledge counts
    Returns    contract, obligation, expected_<measure> i64 or null where nobody has estimated it
    """
    known = (
        ESTIMATES.read(estimates)
        .join(at.select(*OBLIGATION, "known"), on=OBLIGATION)
        .filter(pl.col("effective_on") <= pl.col("known"))
        .sort("effective_on", "quantity")
        .group_by(*OBLIGATION, "measure")
        .last()
    )
    return _side_by_side(known, at, MEASURES, "expected_")


def performed_by(performed: pl.DataFrame, at: pl.DataFrame) -> pl.DataFrame:
    """Add up what was done by a day.

    performed  `PERFORMED`
    at         contract, obligation str, cut day: the last day that counts
    Returns    contract, obligation, done_<measure> i64, null where nothing was done
    """
    so_far = (
        PERFORMED.read(performed)
        .join(at.select(*OBLIGATION, "cut"), on=OBLIGATION)
        .filter(pl.col("performed_on") <= pl.col("cut"))
        .group_by(*OBLIGATION, "measure")
        .agg(pl.col("quantity").sum())
    )
    return _side_by_side(so_far, at, (*MEASURES, "accepted"), "done_")


def _side_by_side(long: pl.DataFrame, at: pl.DataFrame, measures: tuple[str, ...], prefix: str) -> pl.DataFrame:
    wide = long.group_by(OBLIGATION).agg(
        pl.col("quantity").filter(pl.col("measure") == measure).sum().alias(f"{prefix}{measure}")
        if prefix == "done_"
        else pl.col("quantity").filter(pl.col("measure") == measure).first().alias(f"{prefix}{measure}")
        for measure in measures
    )
    return at.select(OBLIGATION).join(wide, on=OBLIGATION, how="left")
