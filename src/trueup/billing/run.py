"""The billing run: everything worked and spent up to a day, priced, capped, held or put on one draft per project."""

from dataclasses import replace
from datetime import date

import polars as pl

from trueup.billing.charges import price_facts, with_outside_reasons
from trueup.billing.documents import addressed, top_ups
from trueup.billing.frames import RunFacts, RunPlan
from trueup.billing.grouping import assemble
from trueup.billing.orders import draw_on_orders
from trueup.billing.tax import OPTIONAL, with_treatment
from trueup.billing.warnings import warnings_of
from trueup.kernel.periods import last_day


def plan_run(facts: RunFacts, upto: date, period: str) -> RunPlan:
    """Plan the billing run of a month: the same facts give the same plan, and a second run after it gives nothing new.

    facts    entries, expenses, projects, rates (see `RunFacts`)
    upto     last service date to bill, normally the last day of the period
    period   the month the drafts belong to, 2026-08; drafts are dated its last day
    Returns  charges, invoices, invoice lines, holds, warnings (see `RunPlan`), such that
             - for every approved entry with open minutes, the minutes of its charges are its open minutes;
             - for every approved expense, the spent amounts of its charges are its open amount;
             - for every invoice line the net is the sum of its charges, for every invoice the sum of its lines.
    Raises   Broken when a frame lacks a column, ValueError when the period is not a month.
    """
    seen = facts.read()
    parts = price_facts(seen, upto, period)
    if seen.terms:
        treated = with_treatment(seen.projects).drop(OPTIONAL, strict=False).with_columns(known=pl.lit(value=True))
        parts = pl.concat([parts, top_ups(parts, treated, seen.terms, period)], how="diagonal")
    parts = draw_on_orders(with_outside_reasons(parts, seen), seen.terms)
    dated = addressed(parts, seen.projects, seen.terms, period, seen.paid).with_columns(
        invoice_date=pl.lit(last_day(period)),
        period=pl.lit(period),
        milestone_key=pl.lit(None, pl.String),
        milestone_name=pl.lit(None, pl.String),
    )
    if seen.closed:
        month = pl.col("service_on").dt.strftime("%Y-%m")
        dated = dated.with_columns(origin_period=pl.when(month.is_in(seen.closed)).then(month))
    plan = assemble(dated, seen.projects, seen.terms)
    return replace(plan, warnings=warnings_of(plan.charges, dated, seen))
