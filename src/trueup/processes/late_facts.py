"""What is billed late: a document whose month is closed is dated into the next open one, its service dates stay."""

from dataclasses import replace
from datetime import date

import polars as pl

from trueup.billing.frames import RunPlan
from trueup.kernel.periods import first_day
from trueup.store import periods
from trueup.store.database import Tx


def in_open_month(tx: Tx, plan: RunPlan, entity: str) -> RunPlan:
    """Return a plan whose invoices all lie in open months: those of a closed one move to the next that is open.

    Invoice date and due date move by the same days, so that the customer keeps the time to pay; the charges keep the
    days on which the work was done.

    Source    billing.md S26
    """
    opened = {month: periods.next_open(tx, entity, month) for month in plan.invoices["period"].unique().sort()}
    late = {month: later for month, later in opened.items() if later != month}
    if not late:
        return plan
    begins: dict[str, date] = {month: first_day(later) for month, later in late.items()}
    start = pl.col("period").replace_strict(begins, default=None, return_dtype=pl.Date)
    shift = pl.when(start.is_not_null()).then(start - pl.col("invoice_date")).otherwise(pl.duration(days=0))
    moved = plan.invoices.with_columns(
        invoice_date=pl.col("invoice_date") + shift,
        due_on=pl.col("due_on") + shift,
        period=pl.col("period").replace(late),
    )
    return replace(plan, invoices=moved)
