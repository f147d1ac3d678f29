"""A milestone becomes an invoice of its own once it is complete and, where agreed, accepted."""

import polars as pl

from trueup.billing.charges import ROUNDING
from trueup.billing.frames import MILESTONES, PROJECTS, RunPlan
from trueup.billing.grouping import assemble
from trueup.billing.holds import codes, when
from trueup.billing.tax import rate_of_day, with_treatment

MILESTONE, RETENTION = "milestone", "retention"
"""Facets of a milestone: what is billed on completion or acceptance, and what was kept back until acceptance."""


def bill_milestones(milestones: pl.DataFrame, projects: pl.DataFrame) -> RunPlan:
    """Bill each milestone on its own draft, or hold it; one that is not complete gives nothing.

    Where a part is kept back until the client has signed, the rest is billed on completion and the part is held; the
    signature bills it on a draft whose code ends in R.

    milestones  `MILESTONES`
    projects    `PROJECTS` of their projects
    Returns     charges, invoices, invoice lines, holds as a billing run does; the invoice code is the milestone's key,
                the invoice date the acceptance where one is required, else the completion
    Raises      Broken when a frame lacks a column.
    """
    known = with_treatment(PROJECTS.read(projects)).with_columns(known=pl.lit(value=True))
    complete = (
        MILESTONES.with_optional(MILESTONES.read(milestones))
        .filter(pl.col("completed_on").is_not_null() & (pl.col("status") != "cancelled") & (pl.col("open_amount") != 0))
        .rename({"contract": "own_contract"})
        .join(known, on="project", how="left", validate="m:1")
        .with_columns(pl.coalesce("contract", "own_contract").alias("contract"), pl.col("known").fill_null(value=False))
    )
    kept, held = pl.col("retained").fill_null(0), pl.col("facet") == RETENTION
    split = pl.concat(
        [
            # What was billed before is never what is kept back: once no more than that is open, the rest was billed.
            complete.with_columns(
                facet=pl.lit(MILESTONE),
                open_amount=pl.when(pl.col("accepted_on").is_null())
                .then(pl.col("open_amount") - kept)
                .when(pl.col("open_amount") <= kept)
                .then(0)
                .otherwise("open_amount"),
            ),
            complete.filter(kept > 0).with_columns(
                facet=pl.lit(RETENTION),
                open_amount=pl.when(pl.col("accepted_on").is_null() | (pl.col("open_amount") <= kept))
                .then(pl.min_horizontal("open_amount", kept))
                .otherwise(0),
            ),
        ]
    ).filter((pl.col("open_amount") > 0) | ((kept == 0) & (pl.col("open_amount") != 0)))
    asks = pl.when(kept > 0).then(held).otherwise("acceptance_required")
    unsigned = asks & pl.col("accepted_on").is_null()
    trigger = pl.when(asks).then(pl.coalesce("accepted_on", "completed_on")).otherwise("completed_on")
    dated = split.with_columns(service_on=trigger)
    parts = dated.with_columns(
        tax_rate_ppm=rate_of_day(dated),
        fact=pl.col("gid"),
        kind=pl.lit("milestone"),
        source_order=pl.col("sequence"),
        minutes=pl.lit(None, pl.Int64),
        rate=pl.lit(None, pl.Int64),
        role=pl.lit(None, pl.String),
        category=pl.lit(None, pl.String),
        fee_month=pl.lit(None, pl.String),
        amount=pl.col("open_amount"),
        bucket=pl.lit("on_draft"),
        trace=pl.struct(
            pl.lit("milestone amount, once complete and accepted where required").alias("rule"),
            "completed_on",
            "acceptance_required",
            "accepted_on",
            "retained",
            pl.lit(ROUNDING).alias("rounding"),
        ).struct.json_encode(),
        hold_codes=codes(
            when(~pl.col("known"), "ENTITY_UNMAPPED"),
            when(~pl.col("contract_active"), "CONTRACT_INACTIVE"),
            when(unsigned, "SIGNOFF_MISSING"),
            pl.when("known").then("tax_hold_code"),
        ),
        invoice_code=pl.when(held).then(pl.format("{}-R", "key")).otherwise("key"),
        invoice_date=pl.col("service_on"),
        period=pl.col("service_on").dt.strftime("%Y-%m"),
        milestone_key=pl.col("key"),
        milestone_name=pl.when(held).then(pl.format("{}, kept back until accepted", "name")).otherwise("name"),
    )
    return assemble(parts, projects)
