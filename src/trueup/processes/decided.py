"""What people decided, on the bill: write-downs, write-ups, courtesies and re-ratings become charges of a plan."""

from dataclasses import replace
from typing import Any

import polars as pl

from trueup.billing.frames import CHARGES, INVOICE_LINES, RunPlan
from trueup.billing.rounding import MILLION, product, rounded
from trueup.kernel.strict_json import write
from trueup.pipeline.house import Firm
from trueup.processes.facts import projects_of, terms_of
from trueup.store import adjustments
from trueup.store.database import Tx


def adjusted(tx: Tx, firm: Firm, plan: RunPlan, entity: str) -> RunPlan:
    """Return a plan with the decisions that change its bills: each its own charge on the line of what it adjusts.

    A write-down, write-up or courtesy stands on the line of its fact, a re-rating on a line of its own; a decision that
    would bring a document below zero waits for the next one, and so does what would bring a line above its cap.
    """
    waiting = adjustments.waiting(tx, entity)
    if not waiting:
        return plan
    room = _room(tx, firm, plan, entity)
    drafted = plan.charges.filter(pl.col("bucket") == "on_draft")
    of_fact = {row["fact"]: row for row in drafted.sort("key", descending=True).iter_rows(named=True)}
    of_project = {row["project"]: row for row in drafted.sort("invoice_code", "key").iter_rows(named=True)}
    value = dict(drafted.group_by("fact").agg(pl.col("amount").sum()).iter_rows())
    net = dict(plan.invoices.select("code", "net").iter_rows())
    made: list[dict[str, Any]] = []
    for row in waiting:
        delta = row["kind"] == "re_rate"
        beside = of_project.get(row["project"]) if delta else of_fact.get(row["fact"])
        if beside is None or not row["left_amount"]:
            continue
        amount = row["left_amount"]
        if not delta:  # what is billed now of the fact: never more than that
            amount = max(amount, -max(0, value[row["fact"]])) if amount < 0 else amount
            value[row["fact"]] += amount
        elif net[beside["invoice_code"]] + amount < 0:
            continue
        if row["project"] in room:
            amount = min(amount, max(0, room[row["project"]]))
            room[row["project"]] -= amount
        if not amount:
            continue
        net[beside["invoice_code"]] += amount
        made.append(_on_the_bill(row, beside, amount, delta))
    if not made:
        return plan
    extra = pl.DataFrame(made, schema={name: column.dtype for name, column in CHARGES.columns.items()})
    return _with(plan, extra)


def _room(tx: Tx, firm: Firm, plan: RunPlan, entity: str) -> dict[str, int]:
    """Return what each capped project may still bill once the plan is on documents, units.

    Raising a price is no way around a cap; what finds no room stays a decision that waits, until a change order or a
    credit gives cap back.

    Source    billing.md S04
    """
    months = plan.invoices["period"]
    if months.is_empty():
        return {}
    capped = projects_of(tx, firm, entity, months[0]).filter(pl.col("cap").is_not_null())
    if firm.terms:
        warned = [gid for gid, terms in terms_of(tx, firm, entity).items() if terms.cap_policy == "warn_only"]
        capped = capped.filter(~pl.col("project").is_in(warned))
    time = plan.charges.filter((pl.col("bucket") == "on_draft") & (pl.col("kind") == "time"))
    planned = time.group_by("project").agg(planned=pl.col("amount").sum())
    left = capped.join(planned, on="project", how="left").select(
        "project", pl.col("cap") - pl.col("cap_used") - pl.col("planned").fill_null(0)
    )
    return dict(left.iter_rows())


def _on_the_bill(row: dict[str, Any], beside: dict[str, Any], amount: int, delta: bool) -> dict[str, Any]:
    trace = {
        "rule": row["kind"], "adjustment": str(row["number"]), "charge": row["charge"], "reason": row["reason"],
        "old_amount": row["old_amount"], "new_amount": row["new_amount"], "rounding": "none: a difference of rounded amounts",
    }  # fmt: skip
    return {
        **beside, "key": f"{row['fact']}/adjustment-{row['number']}/{beside['invoice_code']}/{row['charge']}",
        "fact": row["fact"], "fact_version": row["fact_version"], "kind": "delta" if delta else "adjustment",
        "minutes": None, "spent": None, "quantity": 0, "amount": amount, "rate_line": row["rate_line"],
        "rate": row["rate"], "line_key": f"4-delta-{row['number']}" if delta else beside["line_key"],
        "trace": write(trace).decode(),
    }  # fmt: skip


def _with(plan: RunPlan, extra: pl.DataFrame) -> RunPlan:
    """Add charges to a plan's lines and documents; tax once, on the document's net."""
    keys = ["invoice_code", "line_key"]
    sums = extra.group_by(keys).agg(
        more=pl.col("amount").sum(), kind=pl.col("kind").first(), line=pl.col("contract_line").min()
    )
    old = plan.invoice_lines.join(sums, on=keys, how="left").with_columns(
        net=pl.col("net") + pl.col("more").fill_null(0)
    )
    new = sums.join(plan.invoice_lines, on=keys, how="anti").with_columns(
        description=pl.format("Correction of earlier work, re-rating {}", pl.col("line_key").str.split("-").list.last()),
        charge_kind=pl.lit("fee"), contract_line="line", quantity=pl.lit(1, pl.Int64), unit=pl.lit("count"), rate="more",
        net="more",
    )  # fmt: skip
    lines = pl.concat([INVOICE_LINES.write(old), INVOICE_LINES.write(new)]).sort(keys)
    nets = lines.group_by(pl.col("invoice_code").alias("code")).agg(fresh=pl.col("net").sum())
    invoices = (
        plan.invoices.join(nets, on="code", how="left", maintain_order="left")
        .with_columns(net="fresh", tax=rounded(product(pl.col("fresh"), pl.col("tax_rate_ppm")), MILLION))
        .with_columns(gross=pl.col("net") + pl.col("tax"))
        .drop("fresh")
    )
    return replace(plan, charges=pl.concat([plan.charges, extra]).sort("key"), invoices=invoices, invoice_lines=lines)
