"""Schedules become draft invoices: each contract line bills what is due by a month less what was billed before."""

import polars as pl

from trueup.billing.charges import ROUNDING
from trueup.billing.frames import CHARGES, PROJECTS, RunPlan, Shape, flag, maybe, text, units
from trueup.billing.grouping import draft_invoices, draft_lines
from trueup.billing.holds import codes, listed, when
from trueup.billing.schedules import SCHEDULE_LINES, due_steps
from trueup.billing.tax import with_treatment
from trueup.kernel.periods import last_day

KIND = "schedule"
"""Charge kind of what a schedule bills."""

BILLED_BY_SCHEDULE = "fixed_fee"
"""The billing method of a contract line that may have a schedule."""

SCHEDULED = Shape(
    "scheduled",
    "one contract line with a schedule, and what was billed of it",
    {
        "contract_line": text("contract line"),
        "fact": text("what its charges are on: D05-L1/schedule"),
        "name": text("what the client reads: Managed operations"),
        "project": text("project of the contract in the legal entity of the line"),
        "line_currency": text("ISO 4217 of the line"),
        "method": text("billing method of the line"),
        "has_milestones": flag("whether milestones bill the line too"),
        "billed": units("on documents already, credits deducted"),
        "billed_period": maybe(text("last month that was billed: 2026-07")),
    },
)

SENTENCES = {
    "METHOD_NOT_ALLOWED": (
        "A schedule bills a line of the method fixed_fee that has no milestones; remove the schedule or the milestones."
    ),
    "CREDIT_DUE": "More was billed than the schedule now asks for; issue a credit note.",
}
"""What a hold says here where the general sentence would not help."""


def bill_schedules(
    scheduled: pl.DataFrame,
    lines: pl.DataFrame,
    prices: pl.DataFrame,
    statements: pl.DataFrame,
    projects: pl.DataFrame,
    period: str,
) -> RunPlan:
    """Bill every line for everything due by the end of a month: one charge, one invoice line, one draft per project.

    A month that was skipped, a raised total or a price that came late is in the next bill, because a bill is what is
    due to date less what was billed to date. Progress that fell bills nothing and is carried; any other line that is
    below zero is held until there is a credit note. A line billed for this month or a later one gives nothing.

    scheduled   `SCHEDULED`
    lines       `SCHEDULE_LINES`
    prices      `SERVICE_PRICES`
    statements  `STATEMENTS`
    projects    `PROJECTS` of their projects
    Returns     charges, invoices, invoice lines, holds as a billing run does; the invoice code is the project's code,
                the period and S, the invoice date the last day of the period
    Raises      Broken when a frame lacks a column, ValueError when the period is not a month.
    """
    upto = last_day(period)
    known = with_treatment(PROJECTS.read(projects))
    mine = SCHEDULED.read(scheduled).filter((pl.col("billed_period") < period).fill_null(value=True))
    due = _due(due_steps(SCHEDULE_LINES.read(lines), prices, statements, upto), mine)
    opened = (
        due.with_columns(amount=pl.col("due") - pl.col("billed"))
        .filter(pl.col("amount") != 0)
        .filter((pl.col("kind_of_schedule") != "percent_complete") | (pl.col("amount") > 0))
        .join(known.drop("method"), on="project", how="inner", validate="m:1")
    )
    parts = _with_holds(opened).with_columns(
        fact_version=pl.lit(0, pl.Int32),
        key=pl.format("{}/0/{}", "fact", pl.lit(period)),
        kind=pl.lit(KIND),
        # What is billed in advance is earned when its days are over.
        service_on=pl.coalesce("to_on", pl.lit(upto)),
        source_order=pl.int_range(pl.len()),
        minutes=pl.lit(None, pl.Int64),
        quantity=pl.lit(1, pl.Int64),
        invoice_code=pl.format("{}-{}-S", "code", pl.lit(period)),
        invoice_date=pl.lit(upto),
        period=pl.lit(period),
        trace=_trace(),
    )
    free = pl.col("hold_codes").list.len() == 0
    charges = parts.with_columns(
        bucket=pl.when(free).then(pl.lit("on_draft")).otherwise(pl.lit("held")),
        hold_code=pl.col("hold_codes").list.first(),
        invoice_code=pl.when(free).then("invoice_code"),
        line_key=pl.when(free).then(pl.format("0-schedule-{}", "contract_line")),
        line_rate=pl.col("amount"),
        rate=pl.lit(None, pl.Int64),
    ).sort("key")
    drafted = charges.filter(pl.col("bucket") == "on_draft")
    drafts = draft_lines(drafted)
    return RunPlan(
        charges=CHARGES.write(charges),
        invoices=draft_invoices(drafted, drafts, PROJECTS.read(projects)),
        invoice_lines=drafts,
        holds=_said(listed(parts)),
    )


def _due(steps: pl.DataFrame, scheduled: pl.DataFrame) -> pl.DataFrame:
    """Add up the steps of each line, and say what is new since it was billed last."""
    billed = scheduled.with_columns(
        since=pl.col("billed_period").str.to_date("%Y-%m", strict=False).dt.month_end()
    )  # fmt: skip
    fresh = (pl.col("due_on") > pl.col("since")).fill_null(value=True)
    return (
        billed.join(steps.rename({"kind": "kind_of_schedule"}), on="contract_line", how="inner")
        .with_columns(fresh=fresh)
        .group_by("contract_line", "kind_of_schedule", *(name for name in billed.columns if name != "contract_line"))
        .agg(
            pl.col("amount").sum().alias("due"),
            pl.col("amount").filter("fresh").sum().alias("new"),
            pl.col("number").filter("fresh").min().alias("first_number"),
            pl.col("number").filter("fresh").max().alias("last_number"),
            pl.col("from_on").filter("fresh").min(),
            pl.col("to_on").filter("fresh").max(),
        )
        .with_columns(description=_description())
        .sort("contract_line")
    )


def _description() -> pl.Expr:
    kind, one = pl.col("kind_of_schedule"), pl.col("first_number") == pl.col("last_number")
    said = (
        pl.when(pl.col("last_number").is_null())
        .then(pl.lit("correction of earlier periods"))
        .when(kind == "percent_complete")
        .then(pl.format("progress to {}", "to_on"))
        .when(kind == "service_period")
        .then(pl.format("{} to {}", "from_on", "to_on"))
        .when(one)
        .then(pl.format("instalment {}", "last_number"))
        .otherwise(pl.format("instalments {} to {}", "first_number", "last_number"))
    )
    return pl.format("{}: {}", "name", said)


def _trace() -> pl.Expr:
    return pl.struct(
        pl.lit("all that is due by the end of the month, less what was billed before").alias("rule"),
        pl.col("kind_of_schedule").alias("schedule"),
        pl.col("due"),
        pl.col("billed").alias("billed_before"),
        pl.col("new").alias("new_since"),
        pl.lit(ROUNDING).alias("rounding"),
    ).struct.json_encode()


def _with_holds(opened: pl.DataFrame) -> pl.DataFrame:
    wrong_method = (pl.col("method") != BILLED_BY_SCHEDULE) | pl.col("has_milestones")
    return opened.with_columns(
        hold_codes=codes(
            when(~pl.col("contract_active"), "CONTRACT_INACTIVE"),
            when(pl.col("amount") < 0, "CREDIT_DUE"),
            when(pl.col("line_currency") != pl.col("currency"), "CURRENCY_MISMATCH"),
            when(wrong_method, "METHOD_NOT_ALLOWED"),
            pl.col("tax_hold_code"),
        )
    )


def _said(holds: pl.DataFrame) -> pl.DataFrame:
    return holds.with_columns(
        sentence=pl.col("code").replace_strict(SENTENCES, default=pl.col("sentence"), return_dtype=pl.String)
    )
