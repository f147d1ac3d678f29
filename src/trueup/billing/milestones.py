"""A milestone becomes an invoice of its own once it is complete and, where agreed, accepted."""

import polars as pl

from trueup.billing.charges import ROUNDING
from trueup.billing.frames import MILESTONES, PROJECTS, RunPlan
from trueup.billing.grouping import assemble
from trueup.billing.holds import codes, when
from trueup.billing.tax import rate_of_day, with_treatment


def bill_milestones(milestones: pl.DataFrame, projects: pl.DataFrame) -> RunPlan:
    """Bill each milestone on its own draft, or hold it; one that is not complete gives nothing.

    milestones  `MILESTONES`
    projects    `PROJECTS` of their projects
    Returns     charges, invoices, invoice lines, holds as a billing run does; the invoice code is the milestone's key,
                the invoice date the acceptance where one is required, else the completion
    Raises      Broken when a frame lacks a column.
    """
    known = with_treatment(PROJECTS.read(projects)).with_columns(known=pl.lit(value=True))
    complete = (
        MILESTONES.read(milestones)
        .filter(pl.col("completed_on").is_not_null() & (pl.col("status") != "cancelled") & (pl.col("open_amount") != 0))
        .rename({"contract": "own_contract"})
        .join(known, on="project", how="left", validate="m:1")
        .with_columns(pl.coalesce("contract", "own_contract").alias("contract"), pl.col("known").fill_null(value=False))
    )
    unsigned = pl.col("acceptance_required") & pl.col("accepted_on").is_null()
    trigger = pl.when("acceptance_required").then(pl.coalesce("accepted_on", "completed_on")).otherwise("completed_on")
    parts = complete.with_columns(service_on=trigger).with_columns(
        tax_rate_ppm=rate_of_day(pl.col("tax_treatment"), pl.col("tax_rate_ppm"), pl.col("service_on")),
        fact=pl.col("gid"),
        facet=pl.lit("milestone"),
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
            pl.lit(ROUNDING).alias("rounding"),
        ).struct.json_encode(),
        hold_codes=codes(
            when(~pl.col("known"), "ENTITY_UNMAPPED"),
            when(~pl.col("contract_active"), "CONTRACT_INACTIVE"),
            when(unsigned, "SIGNOFF_MISSING"),
            pl.when("known").then("tax_hold_code"),
        ),
        invoice_code=pl.col("key"),
        invoice_date=pl.col("service_on"),
        period=pl.col("service_on").dt.strftime("%Y-%m"),
        milestone_key=pl.col("key"),
        milestone_name=pl.col("name"),
    )
    return assemble(parts, projects)
