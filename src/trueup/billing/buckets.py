"""The invariant: every approved minute and every approved expense is in exactly one bucket, and documents add up."""

from dataclasses import replace
from datetime import date

import polars as pl

from trueup.billing.charges import APPROVED_EXPENSE
from trueup.billing.frames import ENTRIES, EXPENSES, PROJECTS, RunFacts, RunPlan
from trueup.kernel.money import from_units

FINAL = ("on_draft", "covered_by_fixed_fee", "non_billable")
"""Buckets that a later run leaves alone; what is held or over the cap is looked at again."""


def broken_laws(facts: RunFacts, plan: RunPlan, upto: date) -> list[str]:
    """Name every law the plan breaks; an empty list is a sound plan.

    facts    what the run looked at
    plan     what it decided
    upto     last service date it looked at
    Returns  one sentence per broken law
    """
    entries = facts.entries.filter(
        (pl.col("worked_on") <= upto) & (pl.col("status") == "approved") & (pl.col("open_minutes") != 0)
    )
    expenses = facts.expenses.filter(
        (pl.col("spent_on") <= upto) & pl.col("status").is_in(APPROVED_EXPENSE) & (pl.col("open_amount") != 0)
    )
    time = plan.charges.filter(pl.col("kind").is_in(["time", "overage"]))
    spending = plan.charges.filter(pl.col("kind") == "expense")
    drafted = plan.charges.filter(pl.col("bucket") == "on_draft")
    invoices = plan.invoices.select("code", "net")
    lines = plan.invoice_lines
    checks = {
        "the minutes of an entry's charges are its open minutes": _differs(
            entries.select(of="gid", total="open_minutes"), time.select(of="fact", total="minutes")
        ),
        "the spent amounts of an expense's charges are its open amount": _differs(
            expenses.select(of="gid", total="open_amount"), spending.select(of="fact", total="spent")
        ),
        "a line's net is the sum of its charges": _differs(
            lines.select(of=pl.concat_str("invoice_code", "line_key", separator=" "), total="net"),
            drafted.select(of=pl.concat_str("invoice_code", "line_key", separator=" "), total="amount"),
        ),
        "an invoice's net is the sum of its lines": _differs(
            invoices.select(of="code", total="net"), lines.select(of="invoice_code", total="net")
        ),
        "every charge has a key of its own": not plan.charges["key"].is_unique().all(),
        "every charge says how it came about": plan.charges["trace"].null_count() > 0,
        "what is not on a draft is held for a reason or not to be billed": not _reasons_fit(plan.charges),
        "no draft is below zero": (plan.invoices["net"] < 0).any(),
    }
    return [law for law, broken in checks.items() if broken]


def settle(facts: RunFacts, plan: RunPlan) -> RunFacts:
    """Return the facts as they stand once the plan is carried out: what is in a final bucket is no longer open.

    facts    what the run looked at
    plan     what it decided
    Returns  the same facts with open and allocated amounts, used caps, covered minutes and billed fees moved on
    """
    final = plan.charges.filter(pl.col("bucket").is_in(FINAL))
    moved = final.group_by(gid="fact").agg(
        moved_minutes=pl.col("minutes").sum(), moved_spent=pl.col("spent").sum(), moved_amount=pl.col("amount").sum()
    )
    time = final.filter(pl.col("kind").is_in(["time", "overage"]))
    used = time.group_by("project").agg(
        used=pl.col("amount").filter(pl.col("kind") == "time").sum(),
        covered=pl.col("minutes").filter(pl.col("bucket") == "covered_by_fixed_fee").sum(),
    )
    fees = (
        final.filter(pl.col("kind") == "fee")
        .group_by("project")
        .agg(fees_billed=pl.col("service_on").dt.strftime("%Y-%m"))
    )
    entries = facts.entries.join(moved, on="gid", how="left").with_columns(
        open_minutes=pl.col("open_minutes") - pl.col("moved_minutes").fill_null(0),
        allocated_amount=pl.col("allocated_amount") + pl.col("moved_amount").fill_null(0),
    )
    paid = ["allocated_amount"] if "allocated_amount" in facts.expenses.columns else []
    expenses = facts.expenses.join(moved, on="gid", how="left").with_columns(
        *(pl.col(name).fill_null(0) + pl.col("moved_amount").fill_null(0) for name in paid),
        open_amount=pl.col("open_amount") - pl.col("moved_spent").fill_null(0),
    )
    # A refund takes an order and uses none of it, see `orders`: it gives none back either.
    ordered = final.filter(pl.col("purchase_order").is_not_null() & (pl.col("amount") > 0)).group_by(
        "project", "purchase_order"
    )
    drawn = {(project, order): amount for project, order, amount in ordered.agg(pl.col("amount").sum()).iter_rows()}
    tasks = _by_task(facts, time)
    currencies = dict(facts.projects.select("project", "currency").iter_rows())
    month = plan.invoices["period"].max() or ""
    counting = ["period_billed"] if "period_billed" in facts.projects.columns else []
    of_month = (
        final.filter(
            pl.col("kind").is_in(["time", "overage", "minimum"]) & (pl.col("service_on").dt.strftime("%Y-%m") == month)
        )
        .group_by("project")
        .agg(billed_now=pl.col("amount").sum())
    )
    projects = (
        facts.projects.join(used, on="project", how="left")
        .join(fees, on="project", how="left")
        .join(of_month, on="project", how="left")
        .with_columns(
            *(pl.col(name).fill_null(0) + pl.col("billed_now").fill_null(0) for name in counting),
            cap_used=pl.col("cap_used") + pl.col("used").fill_null(0),
            period_included_used=pl.col("period_included_used") + pl.col("covered").fill_null(0),
            fees_due=pl.col("fees_due").list.set_difference(pl.col("fees_billed").fill_null([])),
        )
    )
    return replace(
        facts,
        entries=ENTRIES.read(entries),
        expenses=EXPENSES.read(expenses),
        projects=PROJECTS.read(projects),
        terms={
            project: replace(
                terms,
                purchase_orders=tuple(
                    replace(order, amount=order.amount - from_units(taken, currencies[project]))
                    for order in terms.purchase_orders
                    for taken in [drawn.get((project, order.number), 0)]
                ),
                task_caps=tuple(
                    replace(cap, used=cap.used + from_units(tasks.get((project, cap.task), 0), currencies[project]))
                    for cap in terms.task_caps
                ),
            )
            for project, terms in facts.terms.items()
            if project in currencies
        },
    )


def _by_task(facts: RunFacts, time: pl.DataFrame) -> dict[tuple[str, str], int]:
    if "task" not in facts.entries.columns:
        return {}
    worked = time.filter(pl.col("kind") == "time").join(facts.entries.select(fact="gid", task="task"), on="fact")
    sums = worked.group_by("project", "task").agg(pl.col("amount").sum())
    return {(project, task): amount for project, task, amount in sums.iter_rows()}


def _differs(wanted: pl.DataFrame, parts: pl.DataFrame) -> bool:
    given = parts.group_by("of").agg(pl.col("total").sum().alias("given"))
    both = wanted.join(given, on="of", how="full", coalesce=True)
    return not both.select((pl.col("total") == pl.col("given")).fill_null(value=False).all()).item()


def _reasons_fit(charges: pl.DataFrame) -> bool:
    waits = pl.col("bucket").is_in(["held", "over_cap"])
    return bool(charges.select((waits == pl.col("hold_code").is_not_null()).all()).item())
