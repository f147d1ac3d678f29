"""Time and expenses become parts: each open minute and cent priced by its rule, in one bucket, with its reasons.

One function per rule. A part is a charge before it is put on an invoice; its columns are those of `CHARGES` plus
role, category, cap and tax columns of the project, and hold_codes list[str]. A part in the bucket `waiting` is not
approved: it is listed among the holds and is no charge.
"""

from datetime import date
from decimal import Decimal

import polars as pl

from trueup.billing.caps import split_at_cap, split_at_included
from trueup.billing.holds import codes, when
from trueup.billing.rating import price_time
from trueup.billing.rounding import HOUR, MILLION, product, rounded
from trueup.billing.tax import with_treatment
from trueup.kernel.money import to_units

APPROVED_EXPENSE = ("approved", "posted", "reimbursed")
"""Statuses of an expense line that come after approval."""

RECEIPT_LIMIT = Decimal("25.00")
"""An expense above this needs a receipt before it is charged on; in the project's currency, before markup."""

ROUNDING = "once, to the minor unit, half away from zero"


def price_facts(
    entries: pl.DataFrame, expenses: pl.DataFrame, projects: pl.DataFrame, rates: pl.DataFrame, upto: date, period: str
) -> pl.DataFrame:
    """Price everything open up to a day, every rule once.

    entries   `ENTRIES`
    expenses  `EXPENSES`
    projects  `PROJECTS`
    rates     `RATES`
    upto      last service date to look at
    period    month whose included retainer minutes are used, 2026-08
    Returns   parts (see the module's first lines)
    """
    treated = with_treatment(projects).with_columns(known=pl.lit(value=True))
    time = _open_entries(entries, treated, upto)
    spending = _open_expenses(expenses, treated, upto)
    return pl.concat(
        [
            time_and_materials(time, rates),
            retainer_time(time, period),
            fixed_fee_time(time),
            unbilled_time(time),
            stray_time(time),
            charged_expenses(spending),
            unbilled_expenses(spending),
            retainer_fees(treated),
        ],
        how="diagonal",
    )


def _open_entries(entries: pl.DataFrame, projects: pl.DataFrame, upto: date) -> pl.DataFrame:
    approved = pl.col("status") == "approved"
    waiting = (pl.col("status") == "submitted") & pl.col("billable")
    return (
        entries.filter((pl.col("worked_on") <= upto) & (pl.col("open_minutes") != 0) & (approved | waiting))
        .with_columns(approved=approved)
        .rename({"contract": "own_contract"})
        .join(projects.drop("fees_due"), on="project", how="left", validate="m:1")
        .with_columns(
            pl.coalesce("contract", "own_contract").alias("contract"),
            pl.col("known").fill_null(value=False),
            fact=pl.col("gid"),
            service_on=pl.col("worked_on"),
            contract_line=pl.col("line_key"),
        )
        .sort("worked_on", "source_order", "gid")
    )


def _open_expenses(expenses: pl.DataFrame, projects: pl.DataFrame, upto: date) -> pl.DataFrame:
    approved = pl.col("status").is_in(APPROVED_EXPENSE)
    waiting = (pl.col("status") == "submitted") & pl.col("billable")
    return (
        expenses.filter((pl.col("spent_on") <= upto) & (pl.col("open_amount") != 0) & (approved | waiting))
        .with_columns(approved=approved)
        .rename({"contract": "own_contract"})
        .join(projects.drop("fees_due"), on="project", how="left", validate="m:1")
        .with_columns(
            pl.coalesce("contract", "own_contract").alias("contract"),
            pl.col("known").fill_null(value=False),
            fact=pl.col("gid"),
            service_on=pl.col("spent_on"),
            contract_line=pl.col("pass_through_line"),
            kind=pl.lit("expense"),
            facet=pl.lit("expense"),
            spent=pl.col("open_amount"),
        )
    )


def time_and_materials(time: pl.DataFrame, rates: pl.DataFrame) -> pl.DataFrame:
    """Price time by the rate in force and hold what is above the cap.

    time     open entries joined with their projects
    rates    `RATES`
    Returns  parts: within the cap (bucket on_draft), above it (over_cap), not approved (waiting)
    """
    billable = time.filter(pl.col("known") & pl.col("billable") & pl.col("method").is_in(_BY_RATE))
    priced = price_time(billable, rates).with_columns(
        credit_due=(pl.col("open_minutes") < 0) | (pl.col("amount") < 0),
        unpriced=pl.col("rate").is_null() & ~pl.col("ambiguous"),
    )
    counts = pl.col("approved") & pl.col("rate").is_not_null() & ~pl.col("credit_due")
    split = split_at_cap(priced.with_columns(counts=counts)).with_columns(
        trace=_trace("rate of the role in force on the service date", "minutes", "allocated_amount", "rate_valid_from",
                     "cap", "cap_left")
    )  # fmt: skip
    start = pl.col("minutes") - pl.col("open_minutes")
    reasons = (
        _contract_inactive(),
        when(pl.col("credit_due"), "CREDIT_DUE"),
        when(pl.col("unpriced"), "RATE_MISSING"),
        when(pl.col("ambiguous"), "RATE_AMBIGUOUS"),
    )
    within = _ranged(
        split.filter((pl.col("within_minutes") != 0) | (pl.col("over_minutes") == 0)),
        start,
        pl.col("within_minutes"),
    ).with_columns(
        amount=pl.col("within_amount"),
        bucket=pl.lit("on_draft"),
        hold_codes=codes(*reasons, _tax_undetermined()),
    )
    over = _ranged(split.filter(pl.col("over_minutes") != 0), start + pl.col("within_minutes"), pl.col("over_minutes"))
    over = over.with_columns(
        amount=pl.col("over_amount"),
        bucket=pl.lit("over_cap"),
        hold_codes=codes(*reasons, pl.lit("CAP_EXCEEDED"), _tax_undetermined()),
    )
    return _waiting(pl.concat([within, over]).with_columns(kind=pl.lit("time")))


_BY_RATE = ("time_and_materials", "pass_through")
# A contract that only passes expenses on has no rate lines: its billable time is held for a rate, never dropped.


def retainer_time(time: pl.DataFrame, period: str) -> pl.DataFrame:
    """Cover time by the month's fee up to the included minutes; charge the rest at the overage rate.

    time     open entries joined with their projects
    period   month whose included minutes are used, whatever the service date
    Returns  parts: covered_by_fixed_fee, overage (bucket on_draft), not approved (waiting; valued as if approved last)
    """
    worked = time.filter(pl.col("known") & pl.col("billable") & (pl.col("method") == "retainer"))
    split = split_at_included(worked.sort("approved", descending=True, maintain_order=True)).with_columns(
        trace=_trace(f"included minutes of {period}, then the overage rate", "included_minutes", "included_left"),
        credit_due=pl.col("open_minutes") < 0,
    )
    start = pl.col("minutes") - pl.col("open_minutes")
    covered = _ranged(split.filter(pl.col("covered_minutes") != 0), start, pl.col("covered_minutes")).with_columns(
        kind=pl.lit("time"),
        amount=pl.lit(0, pl.Int64),
        bucket=pl.lit("covered_by_fixed_fee"),
        hold_codes=codes(when(pl.col("credit_due"), "CREDIT_DUE")),
    )
    overage = _ranged(
        split.filter(pl.col("overage_minutes") != 0),
        start + pl.col("covered_minutes"),
        pl.col("overage_minutes"),
    ).with_columns(
        kind=pl.lit("overage"),
        rate=pl.col("overage_rate"),
        amount=rounded(product(pl.col("overage_minutes"), pl.col("overage_rate")), HOUR).fill_null(0),
        bucket=pl.lit("on_draft"),
        hold_codes=codes(
            _contract_inactive(),
            when(pl.col("overage_rate").is_null(), "RATE_MISSING"),
            _tax_undetermined(),
        ),
    )
    return _waiting(pl.concat([covered, overage], how="diagonal"))


def fixed_fee_time(time: pl.DataFrame) -> pl.DataFrame:
    """Put billable time of a fixed fee under the fee: it is paid by the milestones.

    time     open entries joined with their projects
    Returns  parts: covered_by_fixed_fee, not approved (waiting, worth 0)
    """
    return _waiting(
        _whole(
            time.filter(pl.col("known") & pl.col("billable") & (pl.col("method") == "fixed_fee")),
            "covered_by_fixed_fee",
            "the fixed fee pays for it",
        )
    )


def unbilled_time(time: pl.DataFrame) -> pl.DataFrame:
    """Keep approved non-billable time in its own bucket.

    time     open entries joined with their projects
    Returns  parts: non_billable
    """
    return _whole(time.filter(~pl.col("billable")), "non_billable", "not billable")


def stray_time(time: pl.DataFrame) -> pl.DataFrame:
    """Hold billable time whose project, or whose project's billing method, billing does not know.

    time     open entries joined with their projects
    Returns  parts: held, not approved (waiting)
    """
    known_methods = pl.col("method").is_in([*_BY_RATE, "retainer", "fixed_fee"])
    stray = time.filter(pl.col("billable") & ~(pl.col("known") & known_methods))
    return _waiting(
        _whole(stray, "on_draft", "no known project").with_columns(hold_codes=codes(pl.lit("ENTITY_UNMAPPED")))
    )


def charged_expenses(spending: pl.DataFrame) -> pl.DataFrame:
    """Charge billable expenses on with the contract's markup.

    spending  open expense lines joined with their projects
    Returns   parts: bucket on_draft, without a needed receipt or project held, not approved (waiting)
    """
    charged = spending.filter(pl.col("billable") & (pl.col("pass_through").fill_null(value=True)))
    marked_up = rounded(product(pl.col("spent"), pl.col("markup_ppm") + MILLION), MILLION)
    needs_receipt = (pl.col("amount") > receipt_limits(pl.col("currency"))) & ~pl.col("has_receipt")
    return _waiting(
        charged.with_columns(
            trace=_trace("amount spent plus markup", "amount", "markup_ppm", "has_receipt"),
            bucket=pl.lit("on_draft"),
            hold_codes=codes(
                when(~pl.col("known"), "ENTITY_UNMAPPED"),
                _contract_inactive(),
                when(needs_receipt, "RECEIPT_MISSING"),
                _tax_undetermined(),
            ),
        ).with_columns(amount=marked_up.fill_null(0))
    )


def unbilled_expenses(spending: pl.DataFrame) -> pl.DataFrame:
    """Keep approved expenses the client does not pay for in their own bucket.

    spending  open expense lines joined with their projects
    Returns   parts: non_billable, worth 0
    """
    kept = pl.col("approved") & ~(pl.col("billable") & pl.col("pass_through").fill_null(value=True))
    return spending.filter(kept).with_columns(
        trace=_trace("not billable, or no line of the contract charges expenses on", "billable", "pass_through"),
        bucket=pl.lit("non_billable"),
        hold_codes=codes(pl.lit(None, pl.String)),
        amount=pl.lit(0, pl.Int64),
    )


def retainer_fees(projects: pl.DataFrame) -> pl.DataFrame:
    """Charge the fee of every month that is due: this month's, and those of earlier months that had to wait.

    projects  `PROJECTS` with their tax treatment
    Returns   parts: bucket on_draft
    """
    due = (
        projects.filter(
            (pl.col("method") == "retainer")
            & pl.col("contract_active")
            & (pl.col("fees_due").list.len() > 0)
            & (pl.col("monthly_fee") != 0)
        )
        .explode("fees_due")
        .rename({"fees_due": "fee_month"})
    )
    return due.with_columns(
        service_on=(pl.col("fee_month") + "-01").str.to_date("%Y-%m-%d").dt.month_end()
    ).with_columns(
        fact=pl.col("project"),
        fact_version=pl.lit(0, pl.Int32),
        facet=pl.format("fee-{}", "fee_month"),
        kind=pl.lit("fee"),
        contract_line=pl.col("line_key"),
        source_order=pl.lit(0, pl.Int64),
        amount=pl.col("monthly_fee"),
        bucket=pl.lit("on_draft"),
        trace=_trace("retainer fee of the month", "fee_month", "monthly_fee"),
        hold_codes=codes(_tax_undetermined()),
    )


def receipt_limits(currency: pl.Expr) -> pl.Expr:
    """Return the receipt limit in units of each row's currency.

    Raises    polars ComputeError for a currency money does not know.
    """
    return currency.map_batches(
        lambda seen: seen.replace_strict(
            {code: to_units(RECEIPT_LIMIT, code) for code in seen.unique() if code}, default=None, return_dtype=pl.Int64
        ),
        return_dtype=pl.Int64,
    )


def _ranged(parts: pl.DataFrame, start: pl.Expr, minutes: pl.Expr) -> pl.DataFrame:
    # The facet of time is the range of the entry's minutes it takes: the same minutes keep their key from run to run.
    return parts.with_columns(facet=pl.format("{}-{}", start, start + minutes), minutes=minutes)


def _whole(time: pl.DataFrame, bucket: str, rule: str) -> pl.DataFrame:
    traced = time.with_columns(trace=_trace(rule, "minutes"), kind=pl.lit("time"))
    start = pl.col("minutes") - pl.col("open_minutes")
    return _ranged(traced, start, pl.col("open_minutes")).with_columns(
        amount=pl.lit(0, pl.Int64), bucket=pl.lit(bucket), hold_codes=codes(pl.lit(None, pl.String))
    )


def _waiting(parts: pl.DataFrame) -> pl.DataFrame:
    # Not approved is reason enough: further reasons are looked for once the approval is there.
    unapproved = pl.concat_list(pl.lit("APPROVAL_MISSING"))
    return parts.with_columns(
        bucket=pl.when("approved").then("bucket").otherwise(pl.lit("waiting")),
        hold_codes=pl.when("approved").then("hold_codes").otherwise(unapproved),
    )


def _contract_inactive() -> pl.Expr:
    return when(~pl.col("contract_active"), "CONTRACT_INACTIVE")


def _tax_undetermined() -> pl.Expr:
    return when(pl.col("known") & pl.col("tax_treatment").is_null(), "TAX_UNDETERMINED")


def _trace(rule: str, *columns: str) -> pl.Expr:
    return pl.struct(
        pl.lit(rule).alias("rule"), "service_on", *columns, pl.lit(ROUNDING).alias("rounding")
    ).struct.json_encode()
