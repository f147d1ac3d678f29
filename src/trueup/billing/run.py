"""The billing run: everything worked and spent up to a day, priced, capped, held or put on one draft per project."""

from datetime import date

import polars as pl

from trueup.billing.charges import price_facts, with_outside_reasons
from trueup.billing.frames import RunFacts, RunPlan
from trueup.billing.grouping import assemble
from trueup.kernel.periods import last_day


def plan_run(facts: RunFacts, upto: date, period: str) -> RunPlan:
    """Plan the billing run of a month: the same facts give the same plan, and a second run after it gives nothing new.

    facts    entries, expenses, projects, rates (see `RunFacts`)
    upto     last service date to bill, normally the last day of the period
    period   the month the drafts belong to, 2026-08; drafts are dated its last day
    Returns  charges, invoices, invoice lines, holds (see `RunPlan`), such that
             - for every approved entry with open minutes, the minutes of its charges are its open minutes;
             - for every approved expense, the spent amounts of its charges are its open amount;
             - for every invoice line the net is the sum of its charges, for every invoice the sum of its lines.
    Raises   Broken when a frame lacks a column, ValueError when the period is not a month.
    """
    seen = facts.read()
    parts = with_outside_reasons(price_facts(seen, upto, period), seen)
    addressed = parts.with_columns(
        invoice_code=pl.format("{}-{}", "code", pl.lit(period)),
        invoice_date=pl.lit(last_day(period)),
        period=pl.lit(period),
        milestone_key=pl.lit(None, pl.String),
        milestone_name=pl.lit(None, pl.String),
    )
    return assemble(addressed, seen.projects)
